#include "compare.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <complex>
#include <cstring>
#include <optional>
#include <vector>

#include "array/dispatch.hpp"

namespace perigee::grader {
namespace {

using wire::Kind;
using wire::Value;

// Lua's spelling: whole numbers without ".0", else the shortest text that reads back as the same number.
std::string number_text(double n) {
  if (std::isnan(n))
    return "NaN";
  if (std::isinf(n))
    return n > 0 ? "inf" : "-inf";
  std::array<char, 64> buffer;
  auto format = n == std::floor(n) && std::fabs(n) < 1e15 ? std::chars_format::fixed : std::chars_format::general;
  return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), n, format).ptr};
}

// For sizes of differences: three digits tell enough.
std::string rough_text(double n) {
  std::array<char, 64> buffer;
  return {buffer.data(),
          std::to_chars(buffer.data(), buffer.data() + buffer.size(), n, std::chars_format::general, 3).ptr};
}

std::string quoted(std::string_view text, std::size_t width) {
  std::string out = "\"";
  for (unsigned char c : text) {
    if (out.size() + 1 >= width)
      return out + "...\"";
    if (c == '"' || c == '\\')
      (out += '\\') += char(c);
    else if (c == '\n')
      out += "\\n";
    else if (c < 32 || c >= 127)
      out += "\\" + std::to_string(int(c));
    else
      out += char(c);
  }
  return out + '"';
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string out = "(";
  for (std::size_t i = 0; i < shape.size(); ++i)
    out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + (shape.size() == 1 ? ",)" : ")");
}

std::string kind_text(const Value &value) {
  switch (value.kind) {
  case Kind::nil:
    return "nil";
  case Kind::boolean:
    return "a boolean";
  case Kind::number:
    return "a number";
  case Kind::string:
    return "a string";
  case Kind::array:
    return "an array";
  case Kind::table:
    return "a table";
  }
  return "";
}

// Numbers in row-major order: an array's elements, or those of a list of numbers, or of a list of such lists of equal
// length. What patterns are looked for in.
struct Block {
  std::vector<int64_t> shape;
  int32_t dtype = PG_FLOAT64;
  const std::byte *data = nullptr;
  std::size_t size = 0;
  std::vector<double> gathered; // of nested lists

  template <class T> T load(std::size_t i) const {
    T value;
    std::memcpy(&value, data + i * sizeof(T), sizeof(T));
    return value;
  }
  bool is_complex() const { return array::is_complex(dtype); }
  // Of a complex element, the real part.
  double at(std::size_t i) const {
    return array::visit(dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_arithmetic_v<T>)
        return double(load<T>(i));
      else
        return double(load<T>(i).real());
    });
  }
  std::complex<double> complex_at(std::size_t i) const {
    return dtype == PG_COMPLEX64 ? std::complex<double>(load<std::complex<float>>(i)) : load<std::complex<double>>(i);
  }
  std::string text(std::size_t i) const {
    if (dtype == PG_INT64)
      return std::to_string(load<int64_t>(i));
    if (dtype == PG_UINT64)
      return std::to_string(load<uint64_t>(i));
    if (is_complex()) {
      const std::complex<double> z = complex_at(i);
      const std::string imaginary = number_text(z.imag());
      return number_text(z.real()) + (imaginary[0] == '-' ? "" : "+") + imaginary + "i";
    }
    if (dtype == PG_BOOL)
      return at(i) != 0 ? "true" : "false";
    return number_text(at(i));
  }
  // "[3][5]", 1-based.
  std::string index(std::size_t i) const {
    std::string out;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      auto extent = std::size_t(shape[axis]);
      out = "[" + std::to_string(i % extent + 1) + "]" + out;
      i /= extent;
    }
    return out;
  }
};

std::optional<Block> block_of(const Value &value) {
  Block block;
  if (value.kind == Kind::array) {
    block.shape.assign(value.array->shape, value.array->shape + value.array->ndim);
    block.dtype = value.array->dtype;
    block.data = value.data;
    block.size = std::size_t(value.array->size());
    return block;
  }
  if (value.kind != Kind::table || !value.fields.empty() || value.list_size() == 0)
    return std::nullopt;
  if (value.run) {
    block.shape = {int64_t(value.run_size)};
    block.data = reinterpret_cast<const std::byte *>(value.run);
    block.size = value.run_size;
    return block;
  }
  std::size_t columns = value.list[0].run_size;
  for (const Value &row : value.list)
    if (row.kind != Kind::table || !row.run || row.run_size != columns || !row.fields.empty())
      return std::nullopt;
  block.shape = {int64_t(value.list.size()), int64_t(columns)};
  for (const Value &row : value.list)
    block.gathered.insert(block.gathered.end(), row.run, row.run + columns);
  block.data = reinterpret_cast<const std::byte *>(block.gathered.data());
  block.size = block.gathered.size();
  return block;
}

struct Close {
  Tolerance tolerance;
  // Complex numbers by the distance, as allclose does.
  bool operator()(std::complex<double> got, std::complex<double> expected) const {
    if (got == expected)
      return true;
    auto is_nan = [](std::complex<double> z) { return std::isnan(z.real()) || std::isnan(z.imag()); };
    if (is_nan(got) || is_nan(expected))
      return tolerance.nan_equal && is_nan(got) && is_nan(expected);
    if (!std::isfinite(got.real()) || !std::isfinite(got.imag()) || !std::isfinite(expected.real()) ||
        !std::isfinite(expected.imag()))
      return false;
    return std::abs(got - expected) <= tolerance.absolute + tolerance.relative * std::abs(expected);
  }
  bool operator()(double got, double expected) const {
    if (got == expected)
      return true;
    if (std::isnan(got) || std::isnan(expected))
      return tolerance.nan_equal && std::isnan(got) && std::isnan(expected);
    if (std::isinf(got) || std::isinf(expected))
      return false;
    return std::fabs(got - expected) <= tolerance.absolute + tolerance.relative * std::fabs(expected);
  }
};

// Whether all elements agree, for the common case that they do: without branches on the dtype in the loop.
template <class T> bool all_close(const Block &got, const Block &expected, const Close &close) {
  for (std::size_t i = 0; i < got.size; ++i) {
    T a = got.load<T>(i), b = expected.load<T>(i);
    if (a != b && !close(double(a), double(b)))
      return false;
  }
  return true;
}

bool all_close(const Block &got, const Block &expected, const Close &close) {
  switch (got.dtype) {
  case PG_FLOAT64:
    return all_close<double>(got, expected, close);
  case PG_FLOAT32:
    return all_close<float>(got, expected, close);
  default:
    return got.size == 0 || std::memcmp(got.data, expected.data, got.size * array::element_size(got.dtype)) == 0;
  }
}

// Marks what differs; both have one dtype and shape. 64-bit integers compare exactly beyond 2^53 too, unless a
// tolerance is given.
std::vector<bool> differences(const Block &got, const Block &expected, const Close &close) {
  std::vector<bool> wrong;
  if (all_close(got, expected, close))
    return wrong;
  bool exact = close.tolerance.relative == 0 && close.tolerance.absolute == 0;
  for (std::size_t i = 0; i < got.size; ++i) {
    bool same;
    if (got.is_complex())
      same = close(got.complex_at(i), expected.complex_at(i));
    else if (exact && got.dtype == expected.dtype && (got.dtype == PG_INT64 || got.dtype == PG_UINT64))
      same = got.load<uint64_t>(i) == expected.load<uint64_t>(i);
    else
      same = close(got.at(i), expected.at(i));
    if (!same) {
      if (wrong.empty())
        wrong.resize(got.size);
      wrong[i] = true;
    }
  }
  return wrong;
}

// For patterns, which must hold up to rounding: got is what expected should be changed into.
bool nearly(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= 1e-9 * std::max(std::fabs(a), std::fabs(b));
}

std::string ordinal(std::size_t n) {
  const char *suffix = n % 100 / 10 == 1 ? "th" : n % 10 == 1 ? "st" : n % 10 == 2 ? "nd" : n % 10 == 3 ? "rd" : "th";
  return std::to_string(n) + suffix;
}

// What relates the values of two blocks of complex numbers of one shape, where something does.
std::string complex_pattern(const Block &got, const Block &expected) {
  auto everywhere = [&](auto &&change) {
    for (std::size_t i = 0; i < got.size; ++i) {
      const std::complex<double> g = got.complex_at(i), e = change(expected.complex_at(i));
      if (!(std::abs(g - e) <= 1e-9 * std::abs(e)))
        return false;
    }
    return true;
  };
  const std::string every = got.size > 1 ? "every element is " : "it is ";
  if (everywhere([](auto z) { return std::conj(z); }))
    return every + "the complex conjugate of what it should be: the sign of an exponent?";
  if (everywhere([](auto z) { return -z; }))
    return got.size > 1 ? "every element has the wrong sign" : "it has the wrong sign";
  if (everywhere([](auto) { return std::complex<double>(); }))
    return every + "0: is the result ever filled in?";
  if (everywhere([](auto z) { return std::complex<double>(z.real()); }))
    return "the imaginary parts are missing";
  std::complex<double> factor;
  for (std::size_t i = 0; i < got.size && factor == 0.0; ++i)
    if (expected.complex_at(i) != 0.0)
      factor = got.complex_at(i) / expected.complex_at(i);
  if (got.size > 1 && std::fabs(factor.imag()) <= 1e-9 * std::fabs(factor.real()) &&
      everywhere([&](auto z) { return z * factor.real(); })) {
    const double inverse = 1 / factor.real();
    return every + (std::fabs(factor.real()) < 1 && nearly(inverse, std::round(inverse))
                        ? "1/" + number_text(std::round(inverse)) + " of what it should be"
                        : rough_text(factor.real()) + " times what it should be");
  }
  return "";
}

// What relates the values of two blocks of one shape, where something does.
std::string value_pattern(const Block &got, const Block &expected, const std::vector<bool> &wrong, std::size_t count) {
  std::size_t n = got.size;
  auto everywhere = [&](auto &&holds) {
    for (std::size_t i = 0; i < n; ++i)
      if (!holds(got.at(i), expected.at(i)))
        return false;
    return true;
  };
  if (got.is_complex())
    return complex_pattern(got, expected);
  std::size_t nans = 0, nan_expected = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (wrong[i]) {
      nans += std::isnan(got.at(i));
      nan_expected += std::isnan(expected.at(i));
    }
  if (nan_expected == count && nans < count)
    return "NaN is expected there";
  if (nan_expected == count)
    return "NaN equals nothing, not even NaN";
  if (nans == count)
    return std::string(count == n ? "every element is NaN" : "all of the wrong elements are NaN") +
           ", which comes of 0/0, inf - inf, or the root or logarithm of a negative number";
  if (nans > 0)
    return std::to_string(nans) + " of the wrong elements are NaN";
  bool is_bool = got.dtype == PG_BOOL;
  if (is_bool)
    return count == n && n > 1 ? "every element is the opposite of what it should be" : "";
  if (n > 1 && everywhere([](double g, double) { return g == 0; }))
    return "every element is 0: is the result ever filled in?";
  if (everywhere([](double g, double e) { return nearly(g, -e); }))
    return n > 1 ? "every element has the wrong sign" : "it has the wrong sign";

  // One factor or one offset for all. The first non-zero expected element suggests the factor.
  double offset = got.at(0) - expected.at(0);
  if ((n > 1 ? offset != 0 : std::fabs(offset) == 1) && everywhere([&](double g, double e) {
        return std::fabs(g - e - offset) <= 1e-9 * std::max({std::fabs(g), std::fabs(e), std::fabs(offset)});
      })) {
    std::string by = number_text(std::fabs(offset)) + (offset > 0 ? " too large" : " too small");
    return (n > 1 ? "every element is " : "it is ") + by + (std::fabs(offset) == 1 ? ": off by one?" : "");
  }
  double factor = 0;
  for (std::size_t i = 0; i < n && factor == 0; ++i)
    if (expected.at(i) != 0)
      factor = got.at(i) / expected.at(i);
  if (factor != 0 && std::isfinite(factor) && everywhere([&](double g, double e) { return nearly(g, e * factor); })) {
    bool fraction = std::fabs(factor) < 1 && nearly(1 / factor, std::round(1 / factor));
    if (n > 1 || fraction || nearly(factor, std::round(factor)))
      return (n > 1 ? "every element is " : "it is ") +
             (fraction ? "1/" + number_text(std::round(1 / factor)) + " of what it should be"
                       : rough_text(factor) + " times what it should be");
  }
  if (everywhere([](double g, double e) { return g == std::trunc(e); }))
    return n > 1 ? "every element is the right value with its fraction cut off"
                 : "it is the right value with its fraction cut off";
  // Against the largest element, not each one: sums that pass near zero have large relative errors there.
  double largest = 0;
  for (std::size_t i = 0; i < expected.size; ++i)
    largest = std::max(largest, std::fabs(expected.at(i)));
  if (expected.dtype == PG_FLOAT64 &&
      everywhere([&](double g, double e) { return g == e || std::fabs(g - e) <= 4e-6 * largest; }) &&
      !everywhere([](double g, double e) { return std::fabs(g - e) <= 1e-13 * std::fabs(e); }))
    return "the differences are as small as float32 rounding: was something computed in less than float64 precision?";
  return "";
}

// Whether got[i] is expected[source(i)] wherever source gives an index (-1: not compared).
template <class Source> bool moved(const Block &got, const Block &expected, Source &&source) {
  bool differs = false;
  for (std::size_t i = 0; i < got.size; ++i) {
    int64_t from = source(i);
    if (from < 0)
      continue;
    if (!nearly(got.at(i), expected.at(std::size_t(from))))
      return false;
    differs = differs || !nearly(got.at(i), got.at(0)); // a constant block is its own shift
  }
  return differs;
}

// Right values in wrong places.
std::string place_pattern(const Block &got, const Block &expected) {
  auto n = int64_t(got.size);
  if (n < 3 || got.is_complex())
    return "";
  int64_t stride = 1;
  for (std::size_t axis = got.shape.size(); axis-- > 0;) {
    int64_t extent = got.shape[axis];
    std::string where = got.shape.size() > 1 ? " along axis " + std::to_string(axis + 1) : "";
    auto place = [&](std::size_t i) { return int64_t(i) / stride % extent; };
    if (extent > 2) {
      if (moved(got, expected, [&](std::size_t i) { return place(i) + 1 < extent ? int64_t(i) + stride : -1; }))
        return "shifted by one" + where + ": each element is the one expected after it; off by one?";
      if (moved(got, expected, [&](std::size_t i) { return place(i) > 0 ? int64_t(i) - stride : -1; }))
        return "shifted by one" + where + ": each element is the one expected before it; off by one?";
    }
    if (extent > 1 &&
        moved(got, expected, [&](std::size_t i) { return int64_t(i) + (extent - 1 - 2 * place(i)) * stride; }))
      return "in reverse order" + where;
    stride *= extent;
  }
  if (got.shape.size() == 2 && got.shape[0] == got.shape[1]) {
    int64_t m = got.shape[0];
    if (moved(got, expected, [&](std::size_t i) { return int64_t(i) % m * m + int64_t(i) / m; }))
      return "rows and columns are exchanged (transposed)";
  }
  std::vector<double> a(got.size), b(got.size);
  for (std::size_t i = 0; i < got.size; ++i) {
    a[i] = got.at(i);
    b[i] = expected.at(i);
    if (std::isnan(a[i]) || std::isnan(b[i]))
      return "";
  }
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  if (std::equal(a.begin(), a.end(), b.begin(), nearly))
    return "the values are right, but in a different order";
  return "";
}

// Where the wrong elements lie, if that says something.
std::string region_pattern(const Block &block, const std::vector<bool> &wrong, std::size_t count) {
  std::size_t n = block.size;
  if (count == n)
    return n > 1 ? "no element is right" : "";
  std::size_t first = std::size_t(std::find(wrong.begin(), wrong.end(), true) - wrong.begin());
  if (count == 1)
    return first == 0 ? "only the first element is wrong" : first == n - 1 ? "only the last element is wrong" : "";

  if (block.shape.size() == 2) {
    auto rows = std::size_t(block.shape[0]), columns = std::size_t(block.shape[1]);
    std::vector<std::size_t> in_row(rows), in_column(columns);
    for (std::size_t i = 0; i < n; ++i)
      if (wrong[i]) {
        ++in_row[i / columns];
        ++in_column[i % columns];
      }
    auto line = [&](const std::vector<std::size_t> &counts, std::size_t length, const char *name) -> std::string {
      std::size_t hit = 0, at = 0;
      for (std::size_t k = 0; k < counts.size(); ++k)
        if (counts[k]) {
          ++hit;
          at = k;
        }
      if (hit != 1)
        return "";
      return std::string(count == length ? "all of " : "only in ") + name + " " + std::to_string(at + 1) +
             (at + 1 == counts.size() ? ", the last" : "") + ", and nothing else";
    };
    if (std::string text = line(in_row, columns, "row"); !text.empty())
      return text;
    if (std::string text = line(in_column, rows, "column"); !text.empty())
      return text;
    if (rows > 2 && columns > 2) {
      bool inner = false, diagonal = rows == columns;
      for (std::size_t i = 0; i < n; ++i)
        if (wrong[i]) {
          std::size_t r = i / columns, c = i % columns;
          inner = inner || (r > 0 && r + 1 < rows && c > 0 && c + 1 < columns);
          diagonal = diagonal && r == c;
        }
      if (diagonal)
        return "only on the diagonal";
      if (!inner)
        return "only at the edges; the inside is right";
    }
  }
  if (count == 2 && wrong[0] && wrong[n - 1])
    return "only the first and the last element are wrong: how are the ends treated?";
  std::size_t last = n - 1 - std::size_t(std::find(wrong.rbegin(), wrong.rend(), true) - wrong.rbegin());
  if (last - first + 1 == count && last == n - 1)
    return "everything from " + block.index(first) + " on is wrong, everything before it right";
  if (last - first + 1 == count && first == 0)
    return "everything up to " + block.index(last) + " is wrong, everything after it right";
  if (last - first + 1 == count)
    return "wrong from " + block.index(first) + " to " + block.index(last) + ", and right elsewhere";
  // Every s-th element: a step or a remainder that is handled differently.
  std::size_t second = first + 1;
  while (!wrong[second])
    ++second;
  std::size_t step = second - first;
  if (step > 1 && count == (n - 1 - first) / step + 1) {
    bool regular = first < step;
    for (std::size_t i = first; i < n && regular; i += step)
      regular = wrong[i];
    if (regular)
      return "every " + ordinal(step) + " element is wrong, from " + block.index(first) + " on";
  }
  return "";
}

class Comparer {
 public:
  explicit Comparer(const Tolerance &tolerance) : close_{tolerance} {}

  // True if equal; else the message says why not. `path` leads to the value: "[3].name".
  bool same(const Value &got, const Value &expected, const std::string &path) {
    if (got.kind != expected.kind)
      return kinds_differ(got, expected, path);
    switch (expected.kind) {
    case Kind::nil:
      return true;
    case Kind::boolean:
      return got.boolean == expected.boolean || scalar(got, expected, path);
    case Kind::number:
      return close_(got.number, expected.number) || scalar(got, expected, path);
    case Kind::string:
      return got.string == expected.string || strings(got, expected, path);
    case Kind::array:
      return array(got, expected, path);
    case Kind::table:
      return table(got, expected, path);
    }
    return false;
  }

  std::string message;

 private:
  static std::string at(const std::string &path) { return path.empty() ? "the result" : "result" + path; }

  bool fail(std::string text) {
    message = std::move(text);
    return false;
  }

  bool kinds_differ(const Value &got, const Value &expected, const std::string &path) {
    std::string text = at(path) + ": expected " + kind_text(expected) + ", " + describe(expected) + "; got " +
                       kind_text(got) + (got.kind == Kind::nil ? "" : ", " + describe(got));
    if (expected.kind == Kind::array && got.kind == Kind::table)
      text += "\nreturn an array: array.from makes one of a table";
    else if (expected.kind == Kind::table && got.kind == Kind::array)
      text += "\nreturn a table: a:totable() makes one of an array";
    else if (expected.kind == Kind::number && got.kind == Kind::string)
      text += "\nreturn the number itself: tonumber makes one of a string";
    return fail(text);
  }

  bool scalar(const Value &got, const Value &expected, const std::string &path) {
    std::string text = at(path) + ": expected " + describe(expected) + ", got " + describe(got);
    if (expected.kind == Kind::number) {
      Block a, b;
      a.shape = b.shape = {1};
      a.size = b.size = 1;
      a.data = reinterpret_cast<const std::byte *>(&got.number);
      b.data = reinterpret_cast<const std::byte *>(&expected.number);
      if (std::string pattern = value_pattern(a, b, {true}, 1); !pattern.empty())
        text += "\n" + pattern;
      else if (std::isfinite(got.number) && std::isfinite(expected.number) && expected.number != 0)
        text +=
            "\nthe relative difference is " + rough_text(std::fabs((got.number - expected.number) / expected.number));
    }
    return fail(text);
  }

  bool strings(const Value &got, const Value &expected, const std::string &path) {
    auto [a, b] = std::mismatch(got.string.begin(), got.string.end(), expected.string.begin(), expected.string.end());
    auto where = std::size_t(a - got.string.begin());
    std::string text = at(path) + ": expected " + quoted(expected.string, 60) + ", got " + quoted(got.string, 60);
    if (where == got.string.size() || where == expected.string.size())
      text += "\n" + std::string(where == got.string.size() ? "yours ends early: " : "yours goes on too long: ") +
              std::to_string(expected.string.size()) + " characters are expected, got " +
              std::to_string(got.string.size());
    else
      text += "\nthey first differ at character " + std::to_string(where + 1) + ": expected " +
              quoted(expected.string.substr(where, 1), 8) + ", got " + quoted(got.string.substr(where, 1), 8);
    return fail(text);
  }

  bool array(const Value &got, const Value &expected, const std::string &path) {
    if (got.array->dtype != expected.array->dtype)
      return fail(at(path) + ": expected an array of dtype " + array::dtype_name(expected.array->dtype) + ", got " +
                  array::dtype_name(got.array->dtype));
    Block a = *block_of(got), b = *block_of(expected);
    if (a.shape != b.shape)
      return shapes_differ(a, b, path, "array of shape ");
    return blocks(a, b, path);
  }

  bool shapes_differ(const Block &got, const Block &expected, const std::string &path, const char *what) {
    std::string text =
        at(path) + ": expected an " + what + shape_text(expected.shape) + ", got " + shape_text(got.shape);
    if (got.shape.size() != expected.shape.size())
      return fail(text + "\nit has " + std::to_string(got.shape.size()) + " dimension" +
                  (got.shape.size() == 1 ? "" : "s") + " instead of " + std::to_string(expected.shape.size()));
    if (got.shape.size() == 2 && got.shape[0] == expected.shape[1] && got.shape[1] == expected.shape[0]) {
      int64_t rows = got.shape[0], columns = got.shape[1];
      bool transposed =
          moved(got, expected, [&](std::size_t i) { return int64_t(i) % columns * rows + int64_t(i) / columns; });
      return fail(text + (transposed ? "\nrows and columns are exchanged; otherwise it is right"
                                     : "\nrows and columns seem to be exchanged"));
    }
    if (got.shape.size() == 1)
      text += length_pattern(got, expected);
    return fail(text);
  }

  // Of two lists of different length: whether only one end is missing.
  std::string length_pattern(const Block &got, const Block &expected) {
    auto match = [&](std::size_t got_from, std::size_t expected_from) {
      std::size_t n = std::min(got.size, expected.size);
      for (std::size_t i = 0; i < n; ++i)
        if (!close_(got.at(got_from + i), expected.at(expected_from + i)))
          return false;
      return n > 0;
    };
    bool fewer = got.size < expected.size;
    std::size_t by = fewer ? expected.size - got.size : got.size - expected.size;
    std::string text = "\n" + std::to_string(by) + (fewer ? " too few" : " too many");
    bool last = match(0, 0), first = !last && (fewer ? match(0, by) : match(by, 0));
    if (!last && !first)
      return text;
    text +=
        std::string(": the ") + (last ? "last " : "first ") + (by == 1 ? "element" : std::to_string(by) + " elements");
    return text + (!fewer    ? " should not be there"
                   : by == 1 ? " is missing, the rest is right"
                             : " are missing, the rest is right");
  }

  bool blocks(const Block &got, const Block &expected, const std::string &path) {
    std::vector<bool> wrong = differences(got, expected, close_);
    if (wrong.empty())
      return true;
    auto count = std::size_t(std::count(wrong.begin(), wrong.end(), true));
    auto first = std::size_t(std::find(wrong.begin(), wrong.end(), true) - wrong.begin());
    std::string text =
        "result" + path + got.index(first) + ": expected " + expected.text(first) + ", got " + got.text(first);
    if (got.size > 1) {
      text += "\n" + std::to_string(count) + " of " + std::to_string(got.size) + " elements differ";
      double largest = -1;
      std::size_t where = 0;
      for (std::size_t i = 0; i < got.size; ++i)
        if (double d = got.is_complex() ? std::abs(got.complex_at(i) - expected.complex_at(i))
                                        : std::fabs(got.at(i) - expected.at(i));
            wrong[i] && std::isfinite(d) && d > largest) {
          largest = d;
          where = i;
        }
      if (largest >= 0 && got.dtype != PG_BOOL)
        text += "; the largest difference is " + rough_text(largest) + " at " + got.index(where);
    }
    std::string pattern = value_pattern(got, expected, wrong, count);
    if (pattern.empty())
      pattern = place_pattern(got, expected);
    if (pattern.empty() || (count < got.size && pattern.find("every") == std::string::npos)) {
      std::string region = region_pattern(got, wrong, count);
      if (!region.empty())
        pattern += (pattern.empty() ? "" : "; ") + region;
    }
    return fail(pattern.empty() ? text : text + "\n" + pattern);
  }

  bool table(const Value &got, const Value &expected, const std::string &path) {
    if (got.fields.empty() && expected.fields.empty()) {
      // Lists of numbers, flat or nested, are compared as blocks, which is fast and finds patterns.
      auto a = block_of(got), b = block_of(expected);
      if (a && b && a->shape == b->shape)
        return blocks(*a, *b, path);
      if (a && b && a->shape.size() == 1 && b->shape.size() == 1)
        return fail(at(path) + ": expected a list of " + std::to_string(b->size) + " numbers, got " +
                    std::to_string(a->size) + length_pattern(*a, *b));
    }
    std::size_t n = std::min(got.list_size(), expected.list_size());
    Value a, b;
    for (std::size_t i = 0; i < n; ++i)
      if (!same(element(got, i, a), element(expected, i, b), path + "[" + std::to_string(i + 1) + "]"))
        return false;
    if (got.list_size() != expected.list_size())
      return fail(at(path) + ": expected a list of " + std::to_string(expected.list_size()) + ", got " +
                  std::to_string(got.list_size()) +
                  (n ? "\nthe first " + std::to_string(n) + (n == 1 ? " is" : " are") + " right" : ""));
    // Fields are sorted by key.
    auto key = [](const Value &k) {
      bool name =
          k.kind == Kind::string && !k.string.empty() && k.string.size() < 30 &&
          std::all_of(k.string.begin(), k.string.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
      return name ? "." + std::string(k.string) : "[" + describe(k, 30) + "]";
    };
    auto equal_keys = [](const Value &a, const Value &b) {
      return a.kind == b.kind && a.number == b.number && a.string == b.string && a.boolean == b.boolean;
    };
    auto find = [&](const Value &table, const Value &k) -> const Value * {
      // Linear in the common case that both tables have the same keys, where it is never called.
      for (const auto &[other, value] : table.fields)
        if (equal_keys(other, k))
          return &value;
      return nullptr;
    };
    std::size_t fields = std::min(got.fields.size(), expected.fields.size());
    for (std::size_t i = 0; i < fields; ++i) {
      const auto &[k, value] = expected.fields[i];
      if (!equal_keys(got.fields[i].first, k)) {
        if (!find(got, k))
          return fail(at(path) + ": it lacks " + key(k) + ", which should be " + describe(value));
        return fail(at(path) + ": it has " + key(got.fields[i].first) + ", which should not be there");
      }
      if (!same(got.fields[i].second, value, path + key(k)))
        return false;
    }
    if (got.fields.size() < expected.fields.size())
      return fail(at(path) + ": it lacks " + key(expected.fields[fields].first) + ", which should be " +
                  describe(expected.fields[fields].second));
    if (got.fields.size() > expected.fields.size())
      return fail(at(path) + ": it has " + key(got.fields[fields].first) + ", which should not be there");
    return true;
  }

  // Element i of a list; a number of a run is put into `number`.
  static const Value &element(const Value &table, std::size_t i, Value &number) {
    if (!table.run)
      return table.list[i];
    number.kind = Kind::number;
    number.number = table.run[i];
    return number;
  }

  Close close_;
};

} // namespace

Comparison compare(const wire::Value &got, const wire::Value &expected, const Tolerance &tolerance) {
  Comparer comparer(tolerance);
  bool equal = comparer.same(got, expected, "");
  return {equal, std::move(comparer.message)};
}

std::string describe(const wire::Value &value, std::size_t width) {
  switch (value.kind) {
  case Kind::nil:
    return "nil";
  case Kind::boolean:
    return value.boolean ? "true" : "false";
  case Kind::number:
    return number_text(value.number);
  case Kind::string:
    return quoted(value.string, width);
  case Kind::array: {
    std::string text = std::string(array::dtype_name(value.array->dtype)) + " " +
                       shape_text({value.array->shape, std::size_t(value.array->ndim)});
    Block block = *block_of(value);
    if (value.data && block.size <= 4 && block.shape.size() == 1) {
      text += " {";
      for (std::size_t i = 0; i < block.size; ++i)
        text += (i ? ", " : "") + block.text(i);
      text += "}";
    }
    return text;
  }
  case Kind::table: {
    std::string text = "{";
    auto add = [&](const std::string &part) {
      if (text.size() + part.size() > width)
        return false;
      text += (text.size() > 1 ? ", " : "") + part;
      return true;
    };
    for (std::size_t i = 0; i < value.list_size(); ++i)
      if (!add(value.run ? number_text(value.run[i]) : describe(value.list[i], width / 2)))
        return text + (text.size() > 1 ? ", ...}" : "...}");
    for (const auto &[key, field] : value.fields)
      if (!add((key.kind == Kind::string ? quoted(key.string, 30) : describe(key)) + " = " +
               describe(field, width / 2)))
        return text + (text.size() > 1 ? ", ...}" : "...}");
    return text + "}";
  }
  }
  return "";
}

} // namespace perigee::grader
