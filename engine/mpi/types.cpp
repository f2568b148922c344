// Arrays and operators in MPI's terms, and the checks of arguments that every call needs.
#include "mpi/mpi.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <map>

namespace perigee::mpi {
namespace {

struct Key {
  std::array<int64_t, 18> words{};
  bool operator<(const Key &other) const { return words < other.words; }
};
// Those made last, and those before: one call needs several at once.
std::map<Key, MPI_Datatype> types, older_types;
constexpr std::size_t most_types = 64;

void forget(std::map<Key, MPI_Datatype> &all) {
  for (auto &[key, type] : all)
    MPI_Type_free(&type);
  all.clear();
}

// The type of a key, made once. MPI keeps those that are in use when they are freed.
template <class Make> MPI_Datatype cached(const Key &key, Make &&make) {
  for (const auto *all : {&types, &older_types}) {
    const auto found = all->find(key);
    if (found != all->end())
      return found->second;
  }
  if (types.size() >= most_types) {
    forget(older_types);
    std::swap(types, older_types);
  }
  MPI_Datatype type = make();
  require(MPI_Type_commit(&type), "MPI_Type_commit");
  types.emplace(key, type);
  return type;
}

int64_t size_of(MPI_Datatype type) {
  int size = 0;
  MPI_Type_size(type, &size);
  return size;
}

// n elements in a row, as one of a derived type.
MPI_Datatype row_type(int64_t n, MPI_Datatype basic) {
  MPI_Datatype row;
  if (n <= most_elements) {
    require(MPI_Type_contiguous(static_cast<int>(n), basic, &row), "MPI_Type_contiguous");
    return row;
  }
  const int64_t piece = most_elements / 2 + 1;
  MPI_Datatype block;
  require(MPI_Type_contiguous(static_cast<int>(piece), basic, &block), "MPI_Type_contiguous");
  int counts[2] = {static_cast<int>(n / piece), static_cast<int>(n % piece)};
  MPI_Aint places[2] = {0, static_cast<MPI_Aint>((n / piece) * piece * size_of(basic))};
  MPI_Datatype parts[2] = {block, basic};
  const int result = MPI_Type_create_struct(counts[1] ? 2 : 1, counts, places, parts, &row);
  MPI_Type_free(&block);
  require(result, "MPI_Type_create_struct");
  return row;
}

MPI_Datatype strided_type(const char *name, const pg_array &a) {
  const MPI_Datatype basic = basic_type(a._dtype);
  const int64_t size = size_of(basic);
  int axis = a._ndim - 1;
  int64_t run = 1;
  for (; axis >= 0 && a._strides[axis] == run; --axis)
    run *= a._shape[axis];
  MPI_Datatype type = row_type(run, basic);
  for (; axis >= 0; --axis) {
    if (a._shape[axis] == 1)
      continue;
    MPI_Datatype outer;
    if (a._shape[axis] > INT_MAX)
      throw UnsupportedError(std::string(name) +
                             ": a view with more than 2^31 - 1 separate pieces along one axis; send a "
                             "copy of it (a:copy())");
    const int result = MPI_Type_create_hvector(static_cast<int>(a._shape[axis]), 1,
                                               static_cast<MPI_Aint>(a._strides[axis] * size), type, &outer);
    MPI_Type_free(&type);
    require(result, "MPI_Type_create_hvector");
    type = outer;
  }
  return type;
}

bool plain(const pg_array &a) {
  int64_t run = 1;
  for (int axis = a._ndim - 1; axis >= 0; --axis) {
    if (a._shape[axis] != 1 && a._strides[axis] != run)
      return false;
    run *= a._shape[axis];
  }
  return true;
}

std::string number_text(double x) {
  if (std::isnan(x))
    return "nan"; // without a sign
  char text[40];
  std::snprintf(text, sizeof text, "%.14g", x);
  return text;
}

} // namespace

Tags tags{0, 0};
int64_t most_elements = INT_MAX;
MPI_Request over = MPI_REQUEST_NULL;
MPI_Datatype basic_types[array::dtype_count];

void prepare_types() {
  const MPI_Datatype all[] = {MPI_C_BOOL,   MPI_UINT8_T,         MPI_INT32_T,         MPI_INT64_T,  MPI_FLOAT,
                              MPI_DOUBLE,   MPI_INT8_T,          MPI_INT16_T,         MPI_UINT16_T, MPI_UINT32_T,
                              MPI_UINT64_T, MPI_C_FLOAT_COMPLEX, MPI_C_DOUBLE_COMPLEX};
  std::copy(std::begin(all), std::end(all), basic_types);
  int there = 0;
  void *value = nullptr;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &there);
  const int64_t most = there ? *static_cast<int *>(value) : 32767;
  int wide = 0;
  while ((int64_t(1) << (wide + 1)) - 1 <= most)
    ++wide;
  tags.bits = wide - 4;
  tags.most = (1 << tags.bits) - 1;
  // Open MPI has one request for all sends that were over at once, small ones: nothing need be asked about it.
  MPI_Request seen[2];
  for (MPI_Request &request : seen)
    require(MPI_Isend(nullptr, 0, MPI_BYTE, MPI_PROC_NULL, 0, MPI_COMM_SELF, &request), "MPI_Isend");
  if (seen[0] == seen[1])
    over = seen[0];
  for (MPI_Request &request : seen)
    require(MPI_Wait(&request, MPI_STATUS_IGNORE), "MPI_Wait");
}

Layout layout_of(void *data, int64_t count, MPI_Datatype basic) {
  if (count <= most_elements) [[likely]]
    return {data, static_cast<int>(count), basic};
  Key key;
  key.words[0] = static_cast<int64_t>(size_of(basic)) << 32 | 0x100;
  key.words[1] = count;
  // Of equal size, bytes and numbers are different types; messages tell them apart (and complex from two reals).
  std::memcpy(&key.words[2], &basic, sizeof basic);
  return {data, 1, cached(key, [&] { return row_type(count, basic); })};
}

MPI_Datatype placed_type(int64_t offset, int64_t count, MPI_Datatype basic) {
  MPI_Datatype row = row_type(count, basic), placed;
  const int one = 1;
  const auto place = static_cast<MPI_Aint>(offset * size_of(basic));
  int result = MPI_Type_create_hindexed(1, &one, &place, row, &placed);
  MPI_Type_free(&row);
  require(result, "MPI_Type_create_hindexed");
  result = MPI_Type_commit(&placed);
  require(result, "MPI_Type_commit");
  return placed;
}

Layout layout_of_view(const char *name, const pg_array &a, bool write) {
  if (plain(a)) [[likely]]
    return layout_of(a._data, a._size, basic_type(a._dtype));
  if (a._size == 0)
    return {a._data, 0, basic_type(a._dtype)};
  Key key;
  key.words[0] = a._dtype;
  key.words[1] = a._ndim;
  for (int i = 0; i < a._ndim; ++i) {
    if (write && a._strides[i] == 0 && a._shape[i] > 1)
      throw ArgumentError(std::string(name) +
                          ": elements of this array share memory (it was broadcast), so nothing can be "
                          "received into it");
    key.words[static_cast<std::size_t>(2 + i)] = a._shape[i];
    key.words[static_cast<std::size_t>(10 + i)] = a._strides[i];
  }
  return {a._data, 1, cached(key, [&] { return strided_type(name, a); })};
}

void forget_types() {
  forget(types);
  forget(older_types);
}

// ------------------------------------------------------------------------------------------------------ operators ----
namespace {
struct Operator {
  const char *name;
  MPI_Op op;
  const char *legal; // kinds of dtypes: b bool, i integers, f floats, c complex
};
const Operator &operator_of(int32_t op) {
  static const Operator all[] = {
      {"sum", MPI_SUM, "ifc"},  {"prod", MPI_PROD, "ifc"},        {"max", MPI_MAX, "if"},
      {"min", MPI_MIN, "if"},   {"land", MPI_LAND, "bi"},         {"lor", MPI_LOR, "bi"},
      {"lxor", MPI_LXOR, "bi"}, {"band", MPI_BAND, "i"},          {"bor", MPI_BOR, "i"},
      {"bxor", MPI_BXOR, "i"},  {"replace", MPI_REPLACE, "bifc"}, {"no_op", MPI_NO_OP, "bifc"}};
  return all[op];
}
} // namespace

const char *operation_name(int32_t op) {
  return operator_of(op).name;
}

MPI_Op operation(const char *name, int32_t op, int32_t dtype) {
  const Operator &o = operator_of(op);
  const char kind = dtype == PG_BOOL                                  ? 'b'
                    : dtype == PG_FLOAT32 || dtype == PG_FLOAT64      ? 'f'
                    : dtype == PG_COMPLEX64 || dtype == PG_COMPLEX128 ? 'c'
                                                                      : 'i';
  if (!std::strchr(o.legal, kind))
    throw ArgumentError(std::string(name) + ": the operator '" + o.name + "' is not defined for " +
                        array::dtype_name(dtype) +
                        (kind == 'b'   ? "; land, lor and lxor are"
                         : kind == 'c' ? "; sum and prod are"
                                       : "; sum, prod, max and min are"));
  return o.op;
}

// ------------------------------------------------------------------------------------------------------ arguments ----
void refuse_array(const char *name, const pg_array &a) {
  if (!a._data && !a._block)
    throw ArgumentError(std::string(name) + ": this array was released");
  if (a._device != 0)
    throw UnsupportedError(std::string(name) + ": the array is in a device's memory; copy it to the host first");
  throw ArgumentError(std::string(name) + ": this array is read-only, so nothing can be received into it");
}

int32_t check_other_rank(const char *name, const Comm &comm, double rank, const char *what, bool any, bool none) {
  if (any && rank == double(PG_MPI_ANY))
    return MPI_ANY_SOURCE;
  if (none && rank == double(PG_MPI_PROC_NULL))
    return MPI_PROC_NULL;
  throw ArgumentError(std::string(name) + ": " + what + " " + number_text(rank) + " is no rank of " +
                      (comm.name == "world" ? "the world" : comm.name) + ", which has " +
                      (comm.size == 1 ? "only rank 0" : "ranks 0 to " + std::to_string(comm.size - 1)));
}

int32_t check_other_tag(const char *name, double tag, bool any) {
  if (any && tag == double(PG_MPI_ANY))
    return MPI_ANY_TAG;
  throw ArgumentError(std::string(name) + ": a tag is an integer from 0 to " + std::to_string(tags.most) +
                      (any ? " (or mpi.ANY_TAG)" : "") + ", got " + number_text(tag));
}

} // namespace perigee::mpi
