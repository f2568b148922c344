// Arrays as text, in NumPy's manner: aligned columns, and only the edges of arrays of more than 1000 elements.
#include "array/dispatch.hpp"
#include "array/iterate.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t threshold = 1000, edge = 3;
constexpr std::size_t line_width = 75;
constexpr int precision = 8; // digits after the point, at most

// A column of floats: how they are written depends on all of them.
class Floats {
 public:
  template <class T> void measure(T x) {
    x = std::abs(x);
    if (x == 0 || !std::isfinite(x))
      return;
    any_ = true;
    largest_ = std::max<double>(largest_, x);
    smallest_ = std::min<double>(smallest_, x);
    // 1 to 2000, and prices from 0.25 to 1234.5, read better without exponents, where NumPy has them.
    long_ = long_ || !is_short(x);
  }
  void choose() {
    scientific_ = any_ && (largest_ >= 1e8 || smallest_ < 1e-4 || (long_ && largest_ / smallest_ > 1e3));
  }

  // T is float for float32: it needs fewer digits.
  template <class T> std::string text(T x) const {
    if (!std::isfinite(x))
      return std::isnan(x) ? "nan" : x < 0 ? "-inf" : "inf";
    return shortest(x);
  }

  // Points under points, ends under ends; exponents follow mantissas of one length.
  void align(std::vector<std::string> &cells) const {
    if (scientific_) {
      std::size_t longest = 0;
      for (const std::string &cell : cells)
        if (const auto point = cell.find('.'); point != std::string::npos)
          longest = std::max(longest, cell.find('e') - point);
      for (std::string &cell : cells)
        if (const auto point = cell.find('.'); point != std::string::npos)
          cell.insert(cell.find('e'), longest - (cell.find('e') - point), '0');
    }
    std::size_t left = 0, right = 0;
    for (const std::string &cell : cells) {
      const auto point = cell.find('.');
      if (point == std::string::npos)
        continue;
      left = std::max(left, point);
      right = std::max(right, cell.size() - point);
    }
    std::size_t width = left + right;
    for (const std::string &cell : cells)
      width = std::max(width, cell.size());
    for (std::string &cell : cells) {
      if (const auto point = cell.find('.'); point != std::string::npos && !scientific_)
        cell.append(right - (cell.size() - point), ' ');
      cell.insert(0, width - cell.size(), ' ');
    }
  }

 private:
  // The shortest text that reads back as x, but with at most `precision` digits after the point.
  template <class T> std::string shortest(T x) const {
    const auto format = scientific_ ? std::chars_format::scientific : std::chars_format::fixed;
    char buffer[512];
    auto end = std::to_chars(buffer, buffer + sizeof buffer, x, format).ptr;
    std::string text(buffer, end);
    auto point = text.find('.'), exponent = std::min(text.find('e'), text.size());
    if (point != std::string::npos && exponent - point - 1 > precision) {
      end = std::to_chars(buffer, buffer + sizeof buffer, x, format, precision).ptr;
      text.assign(buffer, end);
      exponent = std::min(text.find('e'), text.size());
      auto last = text.find_last_not_of('0', exponent - 1);
      text.erase(last + 1, exponent - last - 1);
    } else if (point == std::string::npos) {
      text.insert(exponent, ".");
    }
    return text;
  }

  // Whether four digits after the point say all of x.
  template <class T> static bool is_short(T x) {
    if (x == std::floor(x))
      return true;
    char buffer[64];
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::fixed);
    return error == std::errc() && end - std::find(buffer, end, '.') - 1 <= 4;
  }

  bool any_ = false, long_ = false, scientific_ = false;
  double largest_ = 0, smallest_ = INFINITY;
};

class Formatter {
 public:
  explicit Formatter(const pg_array &a) : a_(a), shorten_(a._size > threshold) {}

  std::string text() {
    if (a_._size == 0)
      return "[]  (" + std::string(dtype_name(a_._dtype)) + ", shape " + shape_text(a_) + ")";
    array::visit(a_._dtype, [this]<class T>(std::type_identity<T>) { write_cells<T>(); });
    return a_._ndim == 0 ? cells_[0] : nest(0);
  }

 private:
  // Which positions of an axis are shown; -1 stands for the dots.
  std::vector<int64_t> shown(int axis) const {
    std::vector<int64_t> positions;
    const int64_t n = a_._shape[axis];
    for (int64_t i = 0; i < n; ++i) {
      if (shorten_ && n > 2 * edge && i == edge) {
        positions.push_back(-1);
        i = n - edge;
      }
      positions.push_back(i);
    }
    return positions;
  }

  template <class T, class Body> void each(int axis, const char *p, Body &&body) const {
    if (axis == a_._ndim) {
      body(*reinterpret_cast<const T *>(p));
      return;
    }
    for (int64_t i : shown(axis))
      if (i >= 0)
        each<T>(axis + 1, p + i * a_._strides[axis] * static_cast<int64_t>(sizeof(T)), body);
  }

  template <class T> void write_cells() {
    const auto *data = static_cast<const char *>(a_._data);
    if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
      Floats re, im;
      each<T>(0, data, [&](const T &z) {
        re.measure(z.real());
        im.measure(z.imag());
      });
      re.choose();
      im.choose();
      std::vector<std::string> imaginary;
      each<T>(0, data, [&](const T &z) {
        cells_.push_back(re.text(z.real()));
        const std::string text = im.text(z.imag());
        imaginary.push_back(text[0] == '-' ? text : "+" + text);
      });
      if (a_._ndim > 0) {
        re.align(cells_);
        im.align(imaginary);
      }
      for (std::size_t i = 0; i < cells_.size(); ++i) {
        // The letter follows the number; what the column is wider goes after it.
        const auto last = imaginary[i].find_last_not_of(' ') + 1;
        cells_[i] += imaginary[i].insert(last, "i");
      }
    } else if constexpr (std::is_floating_point_v<T>) {
      Floats floats;
      each<T>(0, data, [&](T x) { floats.measure(x); });
      floats.choose();
      each<T>(0, data, [&](T x) { cells_.push_back(floats.text(x)); });
      if (a_._ndim > 0)
        floats.align(cells_);
    } else {
      each<T>(0, data,
              [&](T x) { cells_.push_back(std::is_same_v<T, bool> ? x ? "true" : "false" : std::to_string(x)); });
      std::size_t width = 0;
      for (const std::string &cell : cells_)
        width = std::max(width, cell.size());
      for (std::string &cell : cells_)
        cell.insert(0, a_._ndim > 0 ? width - cell.size() : 0, ' ');
    }
  }

  std::string nest(int axis) {
    std::string text = "[";
    const std::string indent(static_cast<std::size_t>(axis) + 1, ' ');
    std::size_t line = indent.size();
    bool first = true;
    for (int64_t i : shown(axis)) {
      std::string part = i < 0 ? "..." : axis + 1 == a_._ndim ? cells_[next_++] : nest(axis + 1);
      if (axis + 1 < a_._ndim) {
        if (!first)
          text += std::string(static_cast<std::size_t>(a_._ndim - axis - 1), '\n') + indent;
      } else if (!first && line + 1 + part.size() > line_width) {
        text.erase(text.find_last_not_of(' ') + 1); // numbers end in spaces where others have more digits
        text += "\n" + indent;
        line = indent.size();
      } else if (!first) {
        text += " ";
        ++line;
      }
      line += part.size();
      text += part;
      first = false;
    }
    return text + "]";
  }

  const pg_array &a_;
  bool shorten_;
  std::vector<std::string> cells_;
  std::size_t next_ = 0;
};

} // namespace
} // namespace perigee::array

extern "C" int32_t pg_array_format(const pg_array *a, const char **text, int64_t *length) {
  return perigee::guard([&] {
    thread_local std::string kept;
    perigee::array::require_alive(*a);
    kept = perigee::array::Formatter(*a).text();
    *text = kept.c_str();
    *length = static_cast<int64_t>(kept.size());
  });
}
