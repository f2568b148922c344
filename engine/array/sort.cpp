// Sorting along an axis: values by Highway's vqsort, positions as pairs of key and position, which makes them stable.
// With several threads, pieces of a long line are sorted side by side, then merged.
#include "array/sort.hpp"

#include "array/dispatch.hpp"
#include "array/lines.hpp"
#include "array/order.hpp"
#include "core/plugins.hpp"
#include "vqsort/vqsort.hpp"

#include <algorithm>
#include <bit>
#include <iterator>
#include <limits>
#include <memory>
#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t parallel_size = 1 << 17; // elements from which on merging pays
constexpr int64_t merged_at_once = 1 << 15;

// A key and the position it came from.
using vqsort::Pair;

template <class K> bool smaller(const K &a, const K &b) {
  if constexpr (std::is_integral_v<K>)
    return a < b;
  else
    return (a.hi < b.hi) | ((a.hi == b.hi) & (a.lo < b.lo));
}

const vqsort::Functions &functions() {
  static const vqsort::Functions *const loaded =
      reinterpret_cast<vqsort::Entry>(core::plugin_symbol("vqsort", "pg_vqsort"))();
  return *loaded;
}

void sort_piece(int16_t *keys, int64_t n) {
  functions().int16(keys, static_cast<std::size_t>(n));
}
void sort_piece(uint16_t *keys, int64_t n) {
  functions().uint16(keys, static_cast<std::size_t>(n));
}
void sort_piece(int32_t *keys, int64_t n) {
  functions().int32(keys, static_cast<std::size_t>(n));
}
void sort_piece(uint32_t *keys, int64_t n) {
  functions().uint32(keys, static_cast<std::size_t>(n));
}
void sort_piece(int64_t *keys, int64_t n) {
  functions().int64(keys, static_cast<std::size_t>(n));
}
void sort_piece(uint64_t *keys, int64_t n) {
  functions().uint64(keys, static_cast<std::size_t>(n));
}
void sort_piece(Pair *keys, int64_t n) {
  functions().pairs(keys, static_cast<std::size_t>(n));
}

// How many of the first k elements of two merged lines come from the first one, which wins where elements are equal.
template <class K> int64_t merge_path(const K *a, int64_t na, const K *b, int64_t nb, int64_t k) {
  int64_t low = std::max<int64_t>(0, k - nb), high = std::min(k, na);
  while (low < high) {
    const int64_t i = low + (high - low) / 2;
    if (smaller(b[k - i - 1], a[i]))
      high = i;
    else
      low = i + 1;
  }
  return low;
}

// Elements [begin, end) of the line that two sorted ones merge into.
template <class K> void merge_part(const K *a, int64_t na, const K *b, int64_t nb, int64_t begin, int64_t end, K *to) {
  int64_t i = merge_path(a, na, b, nb, begin), j = begin - i;
  const int64_t last = merge_path(a, na, b, nb, end), last_b = end - last;
  K *out = to + begin;
  while (i < last && j < last_b) {
    const bool second = smaller(b[j], a[i]);
    *out++ = second ? b[j] : a[i];
    i += !second;
    j += second;
  }
  out = std::copy(a + i, a + last, out);
  std::copy(b + j, b + last_b, out);
}

template <class K> void sort_keys(K *keys, int64_t n) {
  const int threads = core::thread_count();
  if (threads == 1 || n < parallel_size)
    return sort_piece(keys, n);
  const auto pieces = static_cast<int64_t>(std::bit_ceil(static_cast<unsigned>(std::min(threads, 64))));
  const int64_t length = (n - 1) / pieces + 1;
  core::parallel_ranges(n, length, [&](int64_t begin, int64_t end) { sort_piece(keys + begin, end - begin); });
  const auto buffer = std::make_unique_for_overwrite<K[]>(static_cast<std::size_t>(n));
  K *from = keys, *to = buffer.get();
  for (int64_t width = length; width < n; width *= 2, std::swap(from, to))
    core::parallel_ranges(n, merged_at_once, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t start = begin / (2 * width) * 2 * width, middle = std::min(n, start + width),
                      stop = std::min(n, start + 2 * width), until = std::min(end, stop);
        merge_part(from + start, middle - start, from + middle, stop - middle, begin - start, until - start,
                   to + start);
        begin = until;
      }
    });
  if (from != keys)
    core::parallel_ranges(n, merged_at_once,
                          [&](int64_t begin, int64_t end) { std::copy(from + begin, from + end, keys + begin); });
}

// Floats are sorted as integers: their bits, with all but the sign turned over where they are negative. -0 comes before
// 0, and every NaN, made one, is last. (Highway's own order of floats pads with the largest finite number, and loses
// infinities to it.)
template <class T> using KeyOf = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
template <class K> constexpr K turned(K bits) {
  return bits ^ (bits >> (8 * sizeof(K) - 1) & std::numeric_limits<K>::max());
}
// The one NaN is the ordinary one: LuaJIT takes others, negated, for something else than a number.
template <class T> KeyOf<T> float_key(T x) {
  return turned(std::bit_cast<KeyOf<T>>(x != x ? std::numeric_limits<T>::quiet_NaN() : x));
}

// Ascending, NaN last. Equal elements cannot be told apart but for complex numbers, -0 and 0: those keep their order if
// `stable`.
template <class T> void sort_line(T *a, int64_t n, bool stable) {
  if constexpr (!std::is_arithmetic_v<T>) {
    std::stable_sort(a, a + n, less<T>);
  } else if constexpr (sizeof(T) == 1) {
    int64_t counts[256] = {};
    constexpr int offset = std::is_signed_v<T> ? 128 : 0;
    for (int64_t i = 0; i < n; ++i)
      ++counts[static_cast<int>(a[i]) + offset];
    for (int value = 0; value < 256; ++value)
      a = std::fill_n(a, counts[value], static_cast<T>(value - offset));
  } else if constexpr (std::is_integral_v<T>) {
    sort_keys(a, n);
  } else if (stable) {
    std::stable_sort(a, a + n, less<T>);
  } else {
    const auto each = [&](auto &&convert) {
      core::parallel_ranges(n, parallel_size, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          a[i] = convert(a[i]);
      });
    };
    each([](T x) { return std::bit_cast<T>(float_key(x)); });
    sort_keys(reinterpret_cast<KeyOf<T> *>(a), n);
    each([](T x) { return std::bit_cast<T>(turned(std::bit_cast<KeyOf<T>>(x))); });
  }
}

// The same the other way round, but NaN last too.
template <class T> void sort_line_down(T *a, int64_t n, bool stable) {
  if constexpr (!std::is_arithmetic_v<T>) {
    std::stable_sort(a, a + n, [](T x, T y) { return before(x, y, true); });
    return;
  }
  if (stable)
    std::reverse(a, a + n);
  sort_line(a, n, stable);
  T *numbers = std::find_if_not(std::reverse_iterator(a + n), std::reverse_iterator(a), is_nan<T>).base();
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
    key = static_cast<U>(float_key(x == 0 ? T(0) : x)) ^ U { 1 } << (8 * sizeof(U) - 1);
  } else if constexpr (std::is_signed_v<T>) {
    key = static_cast<U>(static_cast<std::make_signed_t<U>>(x)) ^ U { 1 } << (8 * sizeof(U) - 1);
  } else {
    key = static_cast<U>(x);
  }
  return descending ? static_cast<U>(~key) : key;
}

// Sorts n keys made by make(value, position) and writes the positions that take() finds in them.
template <class K, class T, class Make, class Take>
void argsort_keys(const T *a, int64_t n, int64_t stride, int64_t *to, int64_t to_stride, Make &&make, Take &&take) {
  const auto keys = std::make_unique_for_overwrite<K[]>(static_cast<std::size_t>(n));
  core::parallel_ranges(n, parallel_size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      keys[i] = make(a[i * stride], i);
  });
  sort_keys(keys.get(), n);
  core::parallel_ranges(n, parallel_size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      to[i * to_stride] = take(keys[i]) + 1;
  });
}

template <class T>
void argsort_line(const T *a, int64_t n, int64_t stride, int64_t *to, int64_t to_stride, bool descending) {
  if constexpr (!std::is_arithmetic_v<T>) {
    std::vector<int64_t> order(static_cast<std::size_t>(n));
    for (int64_t i = 0; i < n; ++i)
      order[static_cast<std::size_t>(i)] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t i, int64_t j) { return before(a[i * stride], a[j * stride], descending); });
    for (int64_t i = 0; i < n; ++i)
      to[i * to_stride] = order[static_cast<std::size_t>(i)] + 1;
    return;
  } else {
    if constexpr (sizeof(T) <= 4)
      if (n <= INT64_C(0xffffffff))
        return argsort_keys<uint64_t>(
            a, n, stride, to, to_stride,
            [&](T x, int64_t i) { return uint64_t{key_of(x, descending)} << 32 | static_cast<uint64_t>(i); },
            [](uint64_t key) { return static_cast<int64_t>(key & 0xffffffff); });
    argsort_keys<Pair>(
        a, n, stride, to, to_stride,
        [&](T x, int64_t i) {
          Pair pair;
          pair.hi = key_of(x, descending);
          pair.lo = static_cast<uint64_t>(i);
          return pair;
        },
        [](const Pair &pair) { return static_cast<int64_t>(pair.lo); });
  }
}

} // namespace

void sort_adjacent(int32_t dtype, void *data, int64_t n) {
  visit(dtype, [&]<class T>(std::type_identity<T>) { sort_line(static_cast<T *>(data), n, false); });
}

} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_sort(const pg_array *a, int32_t axis, int32_t descending, int32_t stable) {
  return guard([&] {
    require_axis(*a, axis);
    visit(a->_dtype, [&]<class T>(std::type_identity<T>) {
      const int64_t n = a->_shape[axis];
      each_line(*a, *a, axis, [&](char *at, char *) {
        const Adjacent<T> line(reinterpret_cast<T *>(at), n, a->_strides[axis]);
        descending ? sort_line_down(line.data(), n, stable != 0) : sort_line(line.data(), n, stable != 0);
        line.store();
      });
    });
    describe_operation("sort", 0, {a, a});
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
    describe_operation("argsort", 0, {a, result.get()});
    *out = result.detach();
  });
}
}
