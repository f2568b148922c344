// Searching sorted arrays, distinct values, interpolation.
#include "array/statistics.hpp"

#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "array/order.hpp"
#include "array/sort.hpp"
#include "core/threads.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t search_grain = 1 << 14; // searches in one piece of parallel work

/// How many of n sorted elements come before each value; with Right those that are equal too. No element is NaN.
/// Without branches, and several searches at a time, so that their loads overlap: the nearest caches answer after 4 or
/// 14 cycles, memory after 300.
template <bool Right, class T> void search(const T *sorted, int64_t n, const T *values, int64_t count, int64_t *out) {
  constexpr int lanes = 8;
  auto before = [](T element, T value) {
    if constexpr (std::is_arithmetic_v<T>)
      return Right ? element <= value : element < value;
    else
      return Right ? !less(value, element) : less(element, value);
  };
  int64_t i = 0;
  for (; n > 0 && i + lanes <= count; i += lanes) {
    const T *at[lanes];
    T value[lanes];
    for (int k = 0; k < lanes; ++k) {
      at[k] = sorted;
      value[k] = values[i + k];
    }
    for (int64_t length = n; length > 1;) {
      const int64_t half = length / 2;
      for (int k = 0; k < lanes; ++k)
        at[k] += half & -static_cast<int64_t>(before(at[k][half - 1], value[k])); // GCC makes branches of ?:
      length -= half;
    }
    for (int k = 0; k < lanes; ++k)
      out[i + k] = (at[k] - sorted) + before(*at[k], value[k]);
  }
  for (; i < count; ++i) {
    const T *end = sorted + n;
    if constexpr (Right)
      out[i] = std::upper_bound(sorted, end, values[i], less<T>) - sorted;
    else
      out[i] = std::lower_bound(sorted, end, values[i], less<T>) - sorted;
  }
}

/// The same, faster for values that ascend, as when two sorted arrays are matched: they are counted along.
template <bool Right, class T>
void search_pieces(const T *sorted, int64_t n, const T *values, int64_t count, int64_t *out) {
  constexpr int64_t piece = 256;
  for (int64_t i = 0; i < count; i += piece) {
    const int64_t size = std::min(piece, count - i);
    const T *from = values + i;
    bool ascending = size > 8 && !is_nan(from[0]);
    for (int64_t k = 1; ascending && k < size; ++k)
      ascending = !less(from[k], from[k - 1]) && !is_nan(from[k]);
    if (!ascending) {
      search<Right>(sorted, n, from, size, out + i);
      continue;
    }
    int64_t low, high;
    search<Right>(sorted, n, from, 1, &low);
    search<Right>(sorted, n, from + size - 1, 1, &high);
    if (high - low > 4 * size) {
      search<Right>(sorted + low, high - low, from, size, out + i);
      for (int64_t k = 0; k < size; ++k)
        out[i + k] += low;
      continue;
    }
    for (int64_t k = 0; k < size; ++k) {
      while (low < high && (Right ? !less(from[k], sorted[low]) : less(sorted[low], from[k])))
        ++low;
      out[i + k] = low;
    }
  }
}

/// The same where elements and values may be NaN.
template <class T>
void search_any(const T *sorted, int64_t n, const T *values, int64_t count, bool right, int64_t *out) {
  int64_t numbers = n;
  if constexpr (!std::is_integral_v<T>)
    numbers = std::partition_point(sorted, sorted + n, [](T x) { return !is_nan(x); }) - sorted;
  if (right)
    search_pieces<true>(sorted, numbers, values, count, out);
  else
    search_pieces<false>(sorted, numbers, values, count, out);
  if constexpr (!std::is_integral_v<T>)
    for (int64_t i = 0; i < count; ++i)
      if (is_nan(values[i])) {
        const auto range = std::equal_range(sorted + numbers, sorted + n, values[i], less<T>);
        out[i] = (right ? range.second : range.first) - sorted;
      }
}

Array as_dtype(const pg_array &a, int32_t dtype, int32_t *collect) {
  return a._dtype == dtype ? contiguous(a) : copy(a, dtype, collect);
}

Array like(const pg_array &a, int32_t dtype, int32_t *collect) {
  return create(dtype, {a._shape, static_cast<std::size_t>(a._ndim)}, false, collect);
}

Array searchsorted(const pg_array &sorted, const pg_array &values, bool right, int32_t *collect) {
  const int32_t dtype = promote(sorted._dtype, values._dtype);
  const Array s = as_dtype(sorted, dtype, collect), v = as_dtype(values, dtype, collect);
  Array out = like(values, PG_INT64, collect);
  visit(dtype, [&]<class T>(std::type_identity<T>) {
    core::parallel_ranges(v->_size, search_grain, [&](int64_t begin, int64_t end) {
      int64_t *to = out.data<int64_t>();
      search_any(s.data<T>(), s->_size, v.data<T>() + begin, end - begin, right, to + begin);
      for (int64_t i = begin; i < end; ++i)
        ++to[i];
    });
  });
  return out;
}

// ---------------------------------------------------------------------------------------------------- small ranges
// ----
/// The smallest of integers and how many lie from it to the largest, if a table of that size is worth its memory.
struct Range {
  int64_t low = 0, length = 0; // length 0: no table
};
template <class T> Range small_range(const T *x, int64_t n, int64_t most) {
  if constexpr (std::is_integral_v<T>) {
    if (n == 0)
      return {};
    T low = x[0], high = x[0];
    for (int64_t i = 1; i < n; ++i) {
      low = std::min(low, x[i]);
      high = std::max(high, x[i]);
    }
    const auto width = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
    if (width < static_cast<uint64_t>(most) && static_cast<uint64_t>(high) < (uint64_t{1} << 62))
      return {static_cast<int64_t>(low), static_cast<int64_t>(width) + 1};
  }
  return {};
}

// Of uint64 and signed integers, which meet in float64, only the values that `a` can hold count, compared as integers.
Array holdable(const pg_array &values, int32_t dtype, int32_t *collect) {
  const Array from = copy(values, -1, collect);
  const Array wide = from->_dtype == PG_UINT64 ? share(*from) : copy(*from, PG_INT64, collect);
  const auto *bits = wide.data<const int64_t>(); // of both: what is not negative looks the same
  const int64_t count = std::count_if(bits, bits + wide->_size, [](int64_t x) { return x >= 0; });
  Array to = create(dtype, std::array{count}, false, collect);
  std::copy_if(bits, bits + wide->_size, to.data<int64_t>(), [](int64_t x) { return x >= 0; });
  return to;
}

Array isin(const pg_array &a, const pg_array &values, bool invert, int32_t *collect) {
  int32_t dtype = promote(a._dtype, values._dtype);
  Array v;
  auto is_integer = [](int32_t d) { return !is_float(d) && !is_complex(d); };
  if (dtype == PG_FLOAT64 && is_integer(a._dtype) && is_integer(values._dtype)) {
    dtype = a._dtype == PG_UINT64 ? PG_UINT64 : PG_INT64;
    v = holdable(values, dtype, collect);
  } else {
    v = copy(values, dtype, collect);
  }
  const Array x = as_dtype(a, dtype, collect);
  Array out = like(a, PG_BOOL, collect);
  auto *to = out.data<uint8_t>();
  const uint8_t found = !invert;
  visit(dtype, [&]<class T>(std::type_identity<T>) {
    const T *from = x.data<const T>();
    const int64_t n = x->_size, m = v->_size;
    if constexpr (std::is_integral_v<T>) {
      const Range range = small_range<T>(v.data<T>(), m, 6 * (n + m));
      if (range.length > 0) {
        std::vector<uint8_t> table(range.length + 1, !found); // and one for what is outside
        for (int64_t i = 0; i < m; ++i)
          table[static_cast<uint64_t>(v.data<T>()[i]) - static_cast<uint64_t>(range.low)] = found;
        const auto length = static_cast<uint64_t>(range.length);
        for (int64_t i = 0; i < n; ++i)
          to[i] = table[std::min(static_cast<uint64_t>(from[i]) - static_cast<uint64_t>(range.low), length)];
        return;
      }
    }
    T *sorted = v.data<T>();
    sort_adjacent(v->_dtype, sorted, m);
    const int64_t numbers = std::partition_point(sorted, sorted + m, [](T e) { return !is_nan(e); }) - sorted;
    core::parallel_ranges(n, search_grain, [&](int64_t begin, int64_t end) {
      std::array<int64_t, 256> at;
      for (int64_t i = begin; i < end; i += at.size()) {
        const int64_t count = std::min<int64_t>(at.size(), end - i);
        search<false>(sorted, numbers, from + i, count, at.data());
        for (int64_t k = 0; k < count; ++k)
          to[i + k] = (at[k] < numbers && sorted[at[k]] == from[i + k]) == (found != 0);
      }
    });
  });
  return out;
}

// ------------------------------------------------------------------------------------------------- distinct values
// ----
struct Wanted {
  pg_array *index, *inverse, *counts;
  bool order() const { return index || inverse; }
};

Array vector(int32_t dtype, int64_t n, int32_t *collect) {
  return create(dtype, std::array{n}, false, collect);
}

// Distinct integers of a small range by a table of the first position, or the count, of each.
template <class T> Array unique_small(const Array &x, Range range, int32_t dtype, Wanted want, int32_t *collect) {
  const T *from = x.data<const T>();
  const int64_t n = x->_size;
  const auto low = static_cast<uint64_t>(range.low);
  Array first = create(PG_INT64, std::array{range.length}, true, collect); // 0: never, else a position from 1
  auto *table = first.data<int64_t>();
  for (int64_t i = n; i-- > 0;)
    table[static_cast<uint64_t>(from[i]) - low] = i + 1;
  const int64_t distinct = std::count_if(table, table + range.length, [](int64_t at) { return at != 0; });
  Array out = vector(dtype, distinct, collect);
  Array index = want.index ? vector(PG_INT64, distinct, collect) : Array();
  int64_t k = 0;
  for (int64_t i = 0; i < range.length; ++i)
    if (table[i] != 0) {
      out.data<T>()[k] = static_cast<T>(low + i);
      if (want.index)
        index.data<int64_t>()[k] = table[i];
      table[i] = ++k; // from here on: the position of the value
    }
  if (want.counts) {
    Array counts = create(PG_INT64, std::array{distinct}, true, collect);
    for (int64_t i = 0; i < n; ++i)
      ++counts.data<int64_t>()[table[static_cast<uint64_t>(from[i]) - low] - 1];
    *want.counts = counts.detach();
  }
  if (want.inverse) {
    Array inverse = vector(PG_INT64, n, collect);
    for (int64_t i = 0; i < n; ++i)
      inverse.data<int64_t>()[i] = table[static_cast<uint64_t>(from[i]) - low];
    *want.inverse = inverse.detach();
  }
  if (want.index)
    *want.index = index.detach();
  return out;
}

template <class T> Array unique_sorted(Array x, int32_t dtype, Wanted want, int32_t *collect) {
  const int64_t n = x->_size;
  auto same = [](T p, T q) { return p == q || (is_nan(p) && is_nan(q)); };
  Array order; // positions from 1
  if (want.order()) {
    pg_array flat = *x;
    flat._ndim = 1;
    flat._shape[0] = n;
    flat._strides[0] = 1;
    if (const int32_t status = pg_array_argsort(order.get(), collect, &flat, 0, 0); status != PG_OK)
      throw Error(static_cast<pg_status>(status), pg_last_message());
    const T *from = x.data<T>();
    Array sorted = vector(dtype, n, collect);
    for (int64_t i = 0; i < n; ++i)
      sorted.data<T>()[i] = from[order.data<int64_t>()[i] - 1];
    x = std::move(sorted);
  } else {
    sort_adjacent(x->_dtype, x.data<T>(), n);
  }
  T *values = x.data<T>();
  int64_t distinct = n > 0;
  for (int64_t i = 1; i < n; ++i)
    distinct += !same(values[i], values[i - 1]);
  Array out = vector(dtype, distinct, collect);
  Array index = want.index ? vector(PG_INT64, distinct, collect) : Array();
  Array inverse = want.inverse ? vector(PG_INT64, n, collect) : Array();
  Array counts = want.counts ? create(PG_INT64, std::array{distinct}, true, collect) : Array();
  int64_t k = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (i == 0 || !same(values[i], values[i - 1])) {
      out.data<T>()[++k] = values[i];
      if (want.index)
        index.data<int64_t>()[k] = order.data<int64_t>()[i];
    }
    if (want.counts)
      ++counts.data<int64_t>()[k];
    if (want.inverse)
      inverse.data<int64_t>()[order.data<int64_t>()[i] - 1] = k + 1;
  }
  if (want.index)
    *want.index = index.detach();
  if (want.inverse)
    *want.inverse = inverse.detach();
  if (want.counts)
    *want.counts = counts.detach();
  return out;
}

Array unique(const pg_array &a, Wanted want, int32_t *collect) {
  Array out;
  visit(a._dtype, [&]<class T>(std::type_identity<T>) {
    const Array x = contiguous(a);
    if constexpr (std::is_integral_v<T>) {
      const Range range = small_range<T>(x.data<T>(), x->_size, 2 * x->_size + 1024);
      if (range.length > 0) {
        out = unique_small<T>(x, range, a._dtype, want, collect);
        return;
      }
    }
    out = unique_sorted<T>(want.order() ? share(*x) : copy(*x, -1, collect), a._dtype, want, collect);
  });
  return out;
}

// --------------------------------------------------------------------------------------------------- interpolation
// ----
void interpolate(const double *xp, const double *fp, int64_t n, const double *slopes, double left, double right,
                 const double *x, int64_t count, double *out) {
  std::array<int64_t, 256> at;
  for (int64_t i0 = 0; i0 < count; i0 += at.size()) {
    const int64_t k1 = std::min<int64_t>(at.size(), count - i0);
    search_pieces<true>(xp, n, x + i0, k1, at.data());
    for (int64_t k = 0; k < k1; ++k) {
      const double value = x[i0 + k];
      const int64_t j = at[k] - 1;
      double y;
      if (value != value)
        y = value;
      else if (j < 0)
        y = left;
      else if (j == n - 1)
        y = value > xp[j] ? right : fp[j];
      else if (value == xp[j])
        y = fp[j];
      else {
        const double slope = slopes ? slopes[j] : (fp[j + 1] - fp[j]) / (xp[j + 1] - xp[j]);
        y = slope * (value - xp[j]) + fp[j];
        if (y != y) { // infinities: from the other end, or level
          y = slope * (value - xp[j + 1]) + fp[j + 1];
          if (y != y && fp[j] == fp[j + 1])
            y = fp[j];
        }
      }
      out[i0 + k] = y;
    }
  }
}

Array interp(const pg_array &x, const pg_array &xp, const pg_array &fp, double left, double right, int32_t *collect) {
  const Array from = as_dtype(x, PG_FLOAT64, collect), points = as_dtype(xp, PG_FLOAT64, collect),
              values = as_dtype(fp, PG_FLOAT64, collect);
  const int64_t n = points->_size;
  const auto *p = points.data<const double>();
  const auto *f = values.data<const double>();
  for (int64_t i = 0; i < n; ++i)
    if (p[i] != p[i] || (i > 0 && p[i] < p[i - 1]))
      throw ArgumentError("interp: xp must be ascending; element " + std::to_string(i + 1) +
                          (p[i] != p[i] ? " is NaN" : " is smaller than the one before"));
  Array slopes;
  if (n <= from->_size) {
    slopes = vector(PG_FLOAT64, n, collect);
    for (int64_t i = 0; i + 1 < n; ++i)
      slopes.data<double>()[i] = (f[i + 1] - f[i]) / (p[i + 1] - p[i]);
  }
  Array out = like(x, PG_FLOAT64, collect);
  core::parallel_ranges(from->_size, search_grain, [&](int64_t begin, int64_t end) {
    interpolate(p, f, n, slopes.data<double>(), left, right, from.data<const double>() + begin, end - begin,
                out.data<double>() + begin);
  });
  return out;
}

void require_vector(const char *name, const char *what, const pg_array &a) {
  require_alive(a);
  if (a._ndim != 1)
    throw ArgumentError(std::string(name) + ": " + what + " must have one dimension, not the shape " + shape_text(a));
}

} // namespace
} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_searchsorted(pg_array *out, int32_t *collect, const pg_array *sorted, const pg_array *values,
                              int32_t right) {
  return guard([&] {
    require_vector("searchsorted", "the sorted array", *sorted);
    require_alive(*values);
    *out = searchsorted(*sorted, *values, right != 0, collect).detach();
  });
}

int32_t pg_array_isin(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *values, int32_t invert) {
  return guard([&] {
    require_alive(*a);
    require_alive(*values);
    *out = isin(*a, *values, invert != 0, collect).detach();
  });
}

int32_t pg_array_unique(pg_array *out, int32_t *collect, const pg_array *a, pg_array *index, pg_array *inverse,
                        pg_array *counts) {
  return guard([&] {
    require_alive(*a);
    *out = unique(*a, {index, inverse, counts}, collect).detach();
  });
}

int32_t pg_array_interp(pg_array *out, int32_t *collect, const pg_array *x, const pg_array *xp, const pg_array *fp,
                        double left, double right) {
  return guard([&] {
    for (const pg_array *a : {x, xp, fp}) {
      require_alive(*a);
      if (is_complex(a->_dtype))
        throw UnsupportedError("interp of complex numbers; interpolate real and imaginary parts one by one");
    }
    require_vector("interp", "xp", *xp);
    require_vector("interp", "fp", *fp);
    if (xp->_size != fp->_size || xp->_size == 0)
      throw ArgumentError("interp: xp has " + std::to_string(xp->_size) + " points and fp " +
                          std::to_string(fp->_size) + "; they need as many, and at least one");
    *out = interp(*x, *xp, *fp, left, right, collect).detach();
  });
}
}
