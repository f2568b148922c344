#include "kernel/cuda_writer.hpp"

#include <cmath>
#include <cstdio>
#include <iterator>
#include <sstream>

namespace perigee::kernel::cuda {

namespace {

// Names that a kernel's own must not take.
const std::set<std::string> &reserved() {
  static const std::set<std::string> names = [] {
    std::istringstream words(
        R"(alignas alignof and asm auto bool break case catch char class const constexpr continue decltype default delete
      do double else enum explicit export extern false float for friend goto if inline int long mutable namespace
      new not operator or private protected public register return short signed sizeof static struct switch template
      this throw true try typedef typeid typename union unsigned using virtual void volatile while xor compl bitand
      bitor threadIdx blockIdx blockDim gridDim warpSize int64 index_t complex complex64 complex128 narrow Array
      Strided wrap_add wrap_subtract wrap_multiply to_int64 floor_mod minimum maximum lane pow2 pow3 pow4 pow0_5
      pow1_5 pow2_5 dynamic_shared dynamic_shared_bytes INFINITY NAN abs fabs sqrt floor ceil sin cos tan asin acos
      atan sinh cosh tanh exp log log10 log2 atan2 fmod pow hypot min max rint y0 y1 j0 j1 yn jn gamma main linux
      unix signbit isnan isinf round trunc div exp2 erf int8_t partial)");
    return std::set<std::string>(std::istream_iterator<std::string>(words), {});
  }();
  return names;
}

} // namespace

std::string identifier(const std::string &name) {
  std::string out;
  for (const char c : name)
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')
      out += c;
    else if (!out.empty() && out.back() != '_')
      out += '_';
  while (!out.empty() && out.back() == '_')
    out.pop_back();
  if (out.empty() || (out[0] >= '0' && out[0] <= '9'))
    out = "v" + out;
  if (out.rfind("__", 0) == 0 || reserved().count(out) || out.rfind("atomic", 0) == 0)
    out += "_";
  return out;
}

std::string unused(const std::string &wish, std::set<std::string> &taken) {
  std::string name = wish;
  for (int n = 2; !taken.insert(name).second; ++n)
    name = wish + "_" + std::to_string(n);
  return name;
}

const char *element_name(std::int32_t dtype) {
  switch (dtype) {
  case PG_BOOL:
    return "bool";
  case PG_INT8:
    return "signed char";
  case PG_UINT8:
    return "unsigned char";
  case PG_INT16:
    return "short";
  case PG_UINT16:
    return "unsigned short";
  case PG_INT32:
    return "int";
  case PG_UINT32:
    return "unsigned";
  case PG_INT64:
    return "int64";
  case PG_UINT64:
    return "unsigned long long";
  case PG_FLOAT32:
    return "float";
  case PG_COMPLEX64:
    return "complex64";
  case PG_COMPLEX128:
    return "complex128";
  default:
    return "double";
  }
}
bool is_integer(std::int32_t dtype) {
  return dtype != PG_BOOL && dtype != PG_FLOAT32 && dtype != PG_FLOAT64 && dtype < PG_COMPLEX64;
}

std::string type_text(Type t) {
  switch (t) {
  case Type::boolean:
    return "bool";
  case Type::float32:
    return "float";
  case Type::float64:
    return "double";
  case Type::complex128:
    return "complex128";
  default:
    return "int64";
  }
}

std::string number_text(double x, bool single) {
  if (std::isnan(x))
    return single ? "float(NAN)" : "double(NAN)";
  if (std::isinf(x))
    return std::string(x < 0 ? "-" : "") + (single ? "float(INFINITY)" : "double(INFINITY)");
  char text[40];
  for (int digits = 1; digits <= 17; ++digits) { // the shortest that is read as the same
    std::snprintf(text, sizeof text, "%.*g", digits, x);
    if (single ? std::strtof(text, nullptr) == float(x) : std::strtod(text, nullptr) == x)
      break;
  }
  std::string out = text;
  if (out.find_first_of(".en") == std::string::npos)
    out += ".0";
  return single ? out + "f" : out;
}

} // namespace perigee::kernel::cuda
