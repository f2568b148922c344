// Elements by rank: selection, partition, the k largest. One pass over the elements finds those between two elements of
// a sample that lie around the wanted rank (Floyd and Rivest, Comm. ACM 18, 1975); only these, about a tenth, are
// sorted.
#include "array/dispatch.hpp"
#include "array/lines.hpp"
#include "array/order.hpp"
#include "array/sort.hpp"

#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t sorted_whole = 4096; // shorter lines
constexpr int64_t sample_size = 1024;
constexpr int64_t margin = 48; // of the sample, three standard deviations of a rank in it

// bool as integers: a vector of bool is none.
template <class T> using Value = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

template <class T> int32_t dtype_of() {
  for (int32_t dtype = 0; dtype < dtype_count; ++dtype)
    if (visit(dtype, []<class U>(std::type_identity<U>) { return std::is_same_v<T, U>; }))
      return dtype;
  return -1;
}

template <class T> T sorted_rank(T *copy, int64_t n, int64_t rank) {
  sort_adjacent(dtype_of<T>(), copy, n);
  return copy[rank];
}

// As many elements of a line as its results need, by position.
template <class T> void argpartition_line(const T *a, int64_t n, int64_t rank, int64_t *to, int64_t stride) {
  const T value = select(a, n, rank);
  int64_t below = 0, equal = 0;
  for (int64_t i = 0; i < n; ++i) {
    below += less(a[i], value);
    equal += !less(a[i], value) & !less(value, a[i]);
  }
  int64_t next[3] = {0, below, below + equal};
  for (int64_t i = 0; i < n; ++i)
    to[stride * next[less(a[i], value) ? 0 : less(value, a[i]) ? 2 : 1]++] = i + 1;
}

template <class T> void partition_line(T *a, int64_t n, int64_t rank) {
  const T value = select(a, n, rank);
  T *rest = std::partition(a, a + n, [&](T x) { return less(x, value); });
  std::partition(rest, a + n, [&](T x) { return !less(value, x); });
}

// The first k in the order, with their positions; equal ones in the order of positions.
template <class T>
void topk_line(const T *a, int64_t n, int64_t k, bool largest, T *values, int64_t value_stride, int64_t *positions,
               int64_t position_stride) {
  int64_t numbers = 0;
  for (int64_t i = 0; i < n; ++i)
    numbers += !is_nan(a[i]);
  const T last = select(a, n, k <= numbers && largest ? numbers - k : k - 1);
  std::vector<int64_t> chosen, equal;
  for (int64_t i = 0; i < n; ++i) {
    if (before(a[i], last, largest))
      chosen.push_back(i);
    else if (!before(last, a[i], largest) && static_cast<int64_t>(equal.size()) < k)
      equal.push_back(i);
  }
  std::sort(chosen.begin(), chosen.end(), [&](int64_t i, int64_t j) {
    return before(a[i], a[j], largest) || (!before(a[j], a[i], largest) && i < j);
  });
  for (int64_t i = 0; i < k; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const int64_t position = at < chosen.size() ? chosen[at] : equal[at - chosen.size()];
    values[i * value_stride] = a[position];
    positions[i * position_stride] = position + 1;
  }
}

void require_rank(const pg_array &a, int32_t axis, int64_t rank) {
  require_axis(a, axis);
  if (rank < 0 || rank >= a._shape[axis])
    throw InternalError("rank " + std::to_string(rank));
}

} // namespace

template <class T> T select(const T *a, int64_t n, int64_t rank) {
  if (n <= sorted_whole) {
    T copy[sorted_whole];
    std::copy_n(a, n, copy);
    return sorted_rank(copy, n, rank);
  }
  T sample[sample_size];
  for (int64_t i = 0; i < sample_size; ++i)
    sample[i] = a[static_cast<int64_t>(static_cast<double>(i) / sample_size * static_cast<double>(n))];
  sort_adjacent(dtype_of<T>(), sample, sample_size);
  const auto at = static_cast<int64_t>(static_cast<double>(rank) / static_cast<double>(n) * sample_size);
  const bool bounded_below = at >= margin, bounded_above = at + margin < sample_size;
  const T low = sample[bounded_below ? at - margin : 0], high = sample[bounded_above ? at + margin : sample_size - 1];
  std::vector<T> between; // one block at a time, so that no more is held than is needed
  T chunk[sorted_whole];
  int64_t below = 0;
  for (int64_t i = 0; i < n; i += sorted_whole) {
    int64_t count = 0;
    const int64_t end = std::min(n, i + sorted_whole);
    for (int64_t j = i; j < end; ++j) {
      const bool under = bounded_below & less(a[j], low), over = bounded_above & less(high, a[j]);
      chunk[count] = a[j];
      count += !(under | over);
      below += under;
    }
    between.insert(between.end(), chunk, chunk + count);
  }
  const auto count = static_cast<int64_t>(between.size());
  if (rank >= below && rank < below + count) {
    if (bounded_below && bounded_above && !less(low, high))
      return low;
    if (count < n / 2)
      return select(between.data(), count, rank - below);
    return sorted_rank(between.data(), count, rank - below);
  }
  between.assign(a, a + n); // the sample was not like the rest
  return sorted_rank(between.data(), n, rank);
}
template float select(const float *, int64_t, int64_t);
template double select(const double *, int64_t, int64_t);

} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_partition(const pg_array *a, int32_t axis, int64_t rank) {
  return guard([&] {
    require_rank(*a, axis, rank);
    visit(a->_dtype, [&]<class T>(std::type_identity<T>) {
      each_line(*a, *a, axis, [&](char *at, char *) {
        const Adjacent<Value<T>> line(reinterpret_cast<Value<T> *>(at), a->_shape[axis], a->_strides[axis]);
        partition_line(line.data(), a->_shape[axis], rank);
        line.store();
      });
    });
  });
}

int32_t pg_array_argpartition(pg_array *out, int32_t *collect, const pg_array *a, int32_t axis, int64_t rank) {
  return guard([&] {
    require_rank(*a, axis, rank);
    Array result = create(PG_INT64, {a->_shape, static_cast<std::size_t>(a->_ndim)}, false, collect);
    visit(a->_dtype, [&]<class T>(std::type_identity<T>) {
      each_line(*a, *result, axis, [&](char *at, char *to) {
        const Adjacent<Value<T>> line(reinterpret_cast<Value<T> *>(at), a->_shape[axis], a->_strides[axis]);
        argpartition_line(line.data(), a->_shape[axis], rank, reinterpret_cast<int64_t *>(to), result->_strides[axis]);
      });
    });
    *out = result.detach();
  });
}

int32_t pg_array_topk(pg_array *positions, int32_t *collect, pg_array *values, const pg_array *a, int32_t axis,
                      int64_t k, int32_t largest) {
  return guard([&] {
    require_axis(*a, axis);
    const int64_t n = a->_shape[axis];
    Shape shape;
    std::copy_n(a->_shape, a->_ndim, shape.lengths);
    shape.lengths[axis] = k;
    const std::span<const int64_t> lengths(shape.lengths, static_cast<std::size_t>(a->_ndim));
    Array where = create(PG_INT64, lengths, false, collect), what = create(a->_dtype, lengths, false, collect);
    visit(a->_dtype, [&]<class T>(std::type_identity<T>) {
      if (k > 0) // results lie side by side: positions are walked, values have the same offset
        each_line(*a, *where, axis, [&](char *at, char *to) {
          const Adjacent<Value<T>> line(reinterpret_cast<Value<T> *>(at), n, a->_strides[axis]);
          auto *first = reinterpret_cast<int64_t *>(to);
          topk_line(line.data(), n, k, largest != 0, what.data<Value<T>>() + (first - where.data<int64_t>()),
                    what->_strides[axis], first, where->_strides[axis]);
        });
    });
    *positions = where.detach();
    *values = what.detach();
  });
}
}
