// Sorting along an axis: values by Highway's vqsort, positions as pairs of key and position, which makes them stable.
#include "array/sort.hpp"
#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "array/sort_vector.hpp"
#include "core/threads.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <hwy/contrib/sort/vqsort.h>
#include <iterator>
#include <limits>
#include <memory>
#include <vector>

namespace perigee::array {
namespace {

template <class T> bool is_nan(T x) {
  if constexpr (std::is_floating_point_v<T>)
    return x != x;
  else if constexpr (std::is_integral_v<T>)
    return false;
  else
    return x.real() != x.real() || x.imag() != x.imag();
}
// NumPy's order: NaN last; complex numbers by their real part, then their imaginary part, those with NaN in one of them
// after those without.
template <class T> bool less(T a, T b) {
  if constexpr (std::is_arithmetic_v<T>)
    return a < b || (is_nan(b) && !is_nan(a));
  else if (is_nan(a.real()) != is_nan(b.real()) || is_nan(a.imag()) != is_nan(b.imag()))
    return is_nan(a.real()) != is_nan(b.real()) ? is_nan(b.real()) : is_nan(b.imag());
  else
    return less(a.real(), b.real()) || (!less(b.real(), a.real()) && less(a.imag(), b.imag()));
}

// Floats are sorted as integers: their bits, with all but the sign turned over where they are negative. -0 comes before
// 0, and every NaN, made one, is last. (Highway's own order of floats pads with the largest finite number, and loses
// infinities to it.)
template <class T> using KeyOf = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
template <class K> constexpr K turned(K bits) {
  return bits ^ (bits >> (8 * sizeof(K) - 1) & std::numeric_limits<K>::max());
}
template <class T> void to_keys(T *a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<KeyOf<T>>(a[i]);
    a[i] = std::bit_cast<T>(a[i] != a[i] ? std::numeric_limits<KeyOf<T>>::max() : turned(bits));
  }
}
template <class T> void from_keys(T *a, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    a[i] = std::bit_cast<T>(turned(std::bit_cast<KeyOf<T>>(a[i])));
}

// Ascending, NaN last. Equal elements cannot be told apart but for complex numbers, -0 and 0: those keep their order if
// `stable`.
template <class T> void sort_line(T *a, int64_t n, bool stable) {
  const auto count = static_cast<std::size_t>(n);
  const hwy::Sorter sorter;
  if constexpr (!std::is_arithmetic_v<T>) {
    stable ? std::stable_sort(a, a + n, less<T>) : std::sort(a, a + n, less<T>);
  } else if constexpr (sizeof(T) == 1) {
    int64_t counts[256] = {};
    constexpr int offset = std::is_signed_v<T> ? 128 : 0;
    for (int64_t i = 0; i < n; ++i)
      ++counts[static_cast<int>(a[i]) + offset];
    for (int value = 0; value < 256; ++value)
      a = std::fill_n(a, counts[value], static_cast<T>(value - offset));
  } else if constexpr (std::is_integral_v<T>) {
    if constexpr (sizeof(T) == 4)
      vector_sort(a, count);
    else
      sorter(a, count, hwy::SortAscending());
  } else if (stable) {
    std::stable_sort(a, a + n, less<T>);
  } else {
    to_keys(a, n);
    auto *keys = reinterpret_cast<KeyOf<T> *>(a);
    if constexpr (sizeof(T) == 4)
      vector_sort(keys, count);
    else
      sorter(keys, count, hwy::SortAscending());
    from_keys(a, n);
  }
}

// The same the other way round, but NaN last too.
template <class T> void sort_line_down(T *a, int64_t n, bool stable) {
  if (stable)
    std::reverse(a, a + n);
  sort_line(a, n, stable);
  const auto numbers = std::find_if_not(std::reverse_iterator(a + n), std::reverse_iterator(a), is_nan<T>).base();
  std::reverse(a, numbers);
  if (stable)
    std::reverse(numbers, a + n);
}

// An unsigned key in whose order the values are; NaN last.
template <class T> auto key_of(T x, bool descending) {
  using U = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  U key;
  if constexpr (std::is_floating_point_v<T>) {
    if (x != x)
      return ~U{0};
    key = std::bit_cast<U>(x == 0 ? T(0) : x);
    const U sign = U{1} << (8 * sizeof(U) - 1);
    key = key & sign ? ~key : key | sign;
  } else if constexpr (std::is_signed_v<T>) {
    key = static_cast<U>(static_cast<std::make_signed_t<U>>(x)) ^ (U{1} << (8 * sizeof(U) - 1));
  } else {
    key = static_cast<U>(x);
  }
  return descending ? static_cast<U>(~key) : key;
}

template <class T>
void argsort_line(const T *a, int64_t n, int64_t stride, int64_t *to, int64_t to_stride, bool descending) {
  if constexpr (!std::is_arithmetic_v<T>) {
    std::vector<int64_t> order(static_cast<std::size_t>(n));
    for (int64_t i = 0; i < n; ++i)
      order[static_cast<std::size_t>(i)] = i;
    std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
      const T x = a[i * stride], y = a[j * stride];
      if (descending && !is_nan(x) && !is_nan(y))
        return less(y, x);
      return less(x, y);
    });
    for (int64_t i = 0; i < n; ++i)
      to[i * to_stride] = order[static_cast<std::size_t>(i)] + 1;
  } else if (static const hwy::Sorter sorter; sizeof(T) <= 4 && n <= INT64_C(0xffffffff)) {
    const auto pairs = std::make_unique_for_overwrite<uint64_t[]>(static_cast<std::size_t>(n));
    for (int64_t i = 0; i < n; ++i)
      pairs[i] = uint64_t{key_of(a[i * stride], descending)} << (sizeof(T) == 8 ? 0 : 32) | static_cast<uint64_t>(i);
    sorter(pairs.get(), static_cast<std::size_t>(n), hwy::SortAscending());
    for (int64_t i = 0; i < n; ++i)
      to[i * to_stride] = static_cast<int64_t>(pairs[i] & 0xffffffff) + 1;
  } else {
    const auto pairs = std::make_unique_for_overwrite<hwy::uint128_t[]>(static_cast<std::size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      pairs[i].hi = key_of(a[i * stride], descending);
      pairs[i].lo = static_cast<uint64_t>(i);
    }
    sorter(pairs.get(), static_cast<std::size_t>(n), hwy::SortAscending());
    for (int64_t i = 0; i < n; ++i)
      to[i * to_stride] = static_cast<int64_t>(pairs[i].lo) + 1;
  }
}

// Calls body(from, to) with the first elements of every line of a along an axis, and of its counterpart in out.
template <class Body> void each_line(const pg_array &a, const pg_array &out, int32_t axis, Body &&body) {
  if (a._size == 0)
    return;
  pg_array from = a, to = out;
  from._shape[axis] = to._shape[axis] = 1;
  Shape shape;
  shape.ndim = a._ndim;
  std::copy_n(from._shape, a._ndim, shape.lengths);
  const Walk<2> walk(shape, {&from, &to});
  walk.each(1, [&](const auto &at) {
    const int64_t grain = std::max<int64_t>(1, 65536 / a._shape[axis]);
    core::parallel_ranges(walk.inner(), grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        body(at[0] + i * walk.inner_stride(0) * walk.bytes[0], at[1] + i * walk.inner_stride(1) * walk.bytes[1]);
    });
  });
}

void require_axis(const pg_array &a, int32_t axis) {
  require_alive(a);
  if (axis < 0 || axis >= a._ndim)
    throw ArgumentError("axis " + std::to_string(axis + 1) + " is out of range for an array of " +
                        std::to_string(a._ndim) + " dimensions");
}

} // namespace
} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_sort(const pg_array *a, int32_t axis, int32_t descending, int32_t stable) {
  return guard([&] {
    require_axis(*a, axis);
    visit(a->_dtype, [&]<class T>(std::type_identity<T>) {
      const int64_t n = a->_shape[axis], stride = a->_strides[axis];
      each_line(*a, *a, axis, [&](char *at, char *) {
        T *line = reinterpret_cast<T *>(at);
        const auto sort = [&](T *adjacent) {
          descending ? sort_line_down(adjacent, n, stable != 0) : sort_line(adjacent, n, stable != 0);
        };
        if (stride == 1)
          return sort(line);
        const auto copy = std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(n));
        for (int64_t i = 0; i < n; ++i)
          copy[i] = line[i * stride];
        sort(copy.get());
        for (int64_t i = 0; i < n; ++i)
          line[i * stride] = copy[i];
      });
    });
  });
}

int32_t pg_array_argsort(pg_array *out, int32_t *collect, const pg_array *a, int32_t axis, int32_t descending) {
  return guard([&] {
    require_axis(*a, axis);
    Array result = create(PG_INT64, {a->_shape, static_cast<std::size_t>(a->_ndim)}, false, collect);
    visit(a->_dtype, [&]<class T>(std::type_identity<T>) {
      each_line(*a, *result, axis, [&](char *at, char *to) {
        argsort_line(reinterpret_cast<const T *>(at), a->_shape[axis], a->_strides[axis],
                     reinterpret_cast<int64_t *>(to), result->_strides[axis], descending != 0);
      });
    });
    *out = result.detach();
  });
}
}
