#include "array/manipulate.hpp"

#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "core/abi.hpp"
#include "core/status.hpp"
#include "core/threads.hpp"

#include <cstring>
#include <numeric>
#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t parallel_bytes = 4 << 20; // below, starting threads costs more than it saves
constexpr int64_t piece_bytes = 1 << 20;

// 16 bytes as elements of T; as they lie in memory.
template <class T> struct Sixteen {
  typedef T type __attribute__((vector_size(16)));
  typedef T loose __attribute__((vector_size(16), aligned(alignof(T)), may_alias));
};

// The square of elements that fit 16 bytes a side, from rows that are adjacent to columns that are: a third of the time
// of one element after the other.
template <class T> void transpose_square(const T *from, int64_t from_column, T *to, int64_t to_row) {
  using V = typename Sixteen<T>::type;
  using M = typename Sixteen<T>::loose;
  const auto load = [&](int64_t i) -> V { return *reinterpret_cast<const M *>(from + i * from_column); };
  const auto store = [&](int64_t i, V v) { *reinterpret_cast<M *>(to + i * to_row) = v; };
  const V a = load(0), b = load(1);
  if constexpr (sizeof(T) == 8) {
    store(0, __builtin_shufflevector(a, b, 0, 2));
    store(1, __builtin_shufflevector(a, b, 1, 3));
  } else {
    const V c = load(2), d = load(3);
    const V low = __builtin_shufflevector(a, c, 0, 4, 1, 5), high = __builtin_shufflevector(a, c, 2, 6, 3, 7);
    const V other_low = __builtin_shufflevector(b, d, 0, 4, 1, 5),
            other_high = __builtin_shufflevector(b, d, 2, 6, 3, 7);
    store(0, __builtin_shufflevector(low, other_low, 0, 4, 1, 5));
    store(1, __builtin_shufflevector(low, other_low, 2, 6, 3, 7));
    store(2, __builtin_shufflevector(high, other_high, 0, 4, 1, 5));
    store(3, __builtin_shufflevector(high, other_high, 2, 6, 3, 7));
  }
}

template <class T>
void transpose_block(const T *from, int64_t from_row, int64_t from_column, T *to, int64_t to_row, int64_t to_column,
                     int64_t row_begin, int64_t row_end, int64_t column_begin, int64_t column_end) {
  for (int64_t p = row_begin; p < row_end; ++p)
    for (int64_t q = column_begin; q < column_end; ++q)
      to[p * to_row + q * to_column] = from[p * from_row + q * from_column];
}

// rows x columns elements; on one side columns are adjacent, on the other rows are.
template <class T>
void transpose(const T *from, int64_t from_row, int64_t from_column, T *to, int64_t to_row, int64_t to_column,
               int64_t rows, int64_t columns) {
  if constexpr (sizeof(T) == 8 || sizeof(T) == 4) {
    if (from_row == 1 && to_column == 1) {
      // All rows of as many columns as fill a cache line of the result: each line is written at once, and what is read
      // are a few sequences that the processor sees coming. Of 1000 x 1000 float64, 0.65 of the time of square tiles.
      constexpr int64_t square = 16 / sizeof(T), line = 64 / sizeof(T);
      const int64_t whole_rows = rows - rows % square;
      for (int64_t j = 0; j < columns; j += line) {
        const int64_t j_end = std::min(j + line, columns), whole_end = j_end - (j_end - j) % square;
        for (int64_t p = 0; p < whole_rows; p += square)
          for (int64_t q = j; q < whole_end; q += square)
            transpose_square(from + p + q * from_column, from_column, to + p * to_row + q, to_row);
        transpose_block(from, 1, from_column, to, to_row, 1, whole_rows, rows, j, whole_end);
        transpose_block(from, 1, from_column, to, to_row, 1, 0, rows, whole_end, j_end);
      }
      return;
    }
  }
  constexpr int64_t side = sizeof(T) >= 8 ? 16 : 32; // 16 x 16 x 8 bytes: two cache lines wide on both sides
  for (int64_t i = 0; i < rows; i += side)
    for (int64_t j = 0; j < columns; j += side)
      transpose_block(from, from_row, from_column, to, to_row, to_column, i, std::min(i + side, rows), j,
                      std::min(j + side, columns));
}

// Runs body(begin, end) over [0, n) rows of row_bytes each, on several threads if that is worth it.
template <class Body> void over_rows(int64_t n, int64_t row_bytes, Body &&body) {
  row_bytes = std::max<int64_t>(row_bytes, 1);
  if (n * row_bytes < parallel_bytes || core::thread_count() == 1)
    body(0, n);
  else
    core::parallel_ranges(n, std::max<int64_t>(1, piece_bytes / row_bytes), body);
}

template <class T> void move_typed(const Walk<2> &walk) {
  const int64_t to_inner = walk.inner_stride(0), from_inner = walk.inner_stride(1), n = walk.inner();
  // An axis along which the other side is adjacent makes this a transposition.
  int axis = -1;
  if (to_inner != from_inner && n >= 8)
    for (int i = walk.ndim - 2; i >= 0 && axis < 0; --i)
      if (walk.lengths[i] >= 8 && (to_inner == 1 ? std::abs(walk.strides[1][i]) < std::abs(from_inner) && from_inner
                                                 : walk.strides[0][i] == 1 && to_inner))
        axis = i;
  if (axis >= 0) {
    const int64_t rows = walk.lengths[axis], to_row = walk.strides[0][axis], from_row = walk.strides[1][axis];
    Walk<2> rest = walk; // without that axis and the last
    for (int i = axis; i + 2 < walk.ndim; ++i) {
      rest.lengths[i] = walk.lengths[i + 1];
      rest.strides[0][i] = walk.strides[0][i + 1];
      rest.strides[1][i] = walk.strides[1][i + 1];
    }
    rest.ndim = walk.ndim - 2;
    const auto panel = [&](const auto &at, int64_t begin, int64_t end) {
      T *to = reinterpret_cast<T *>(at[0]) + begin * to_row;
      const T *from = reinterpret_cast<const T *>(at[1]) + begin * from_row;
      if (to_inner == 1)
        transpose(from, from_row, from_inner, to, to_row, to_inner, end - begin, n);
      else
        transpose(from, from_inner, from_row, to, to_inner, to_row, n, end - begin);
    };
    rest.each(0, [&](const auto &at) {
      over_rows(rows, n * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) { panel(at, begin, end); });
    });
    return;
  }
  const auto run = [&](T *to, const T *from, int64_t count) {
    if (to_inner == 1 && from_inner == 1) {
      std::memcpy(static_cast<void *>(to), from, static_cast<std::size_t>(count) * sizeof(T));
    } else if (to_inner == 1 && from_inner == 0) {
      const T value = *from;
      std::fill_n(to, count, value);
    } else {
      for (int64_t i = 0; i < count; ++i)
        to[i * to_inner] = from[i * from_inner];
    }
  };
  const int64_t outer = walk.outer();
  walk.each(2, [&](const auto &at) {
    T *to = reinterpret_cast<T *>(at[0]);
    const T *from = reinterpret_cast<const T *>(at[1]);
    if (outer == 1) {
      over_rows(n, sizeof(T), [&](int64_t begin, int64_t end) {
        run(to + begin * to_inner, from + begin * from_inner, end - begin);
      });
      return;
    }
    over_rows(outer, n * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        run(to + i * walk.outer_stride(0), from + i * walk.outer_stride(1), n);
    });
  });
}

// The bytes that an array's elements span, from its first byte: [low, high).
struct Span {
  intptr_t low, high;
};
Span span_of(const pg_array &a) {
  Span s{reinterpret_cast<intptr_t>(a._data), reinterpret_cast<intptr_t>(a._data)};
  const auto size = static_cast<int64_t>(element_size(a._dtype));
  for (int i = 0; i < a._ndim; ++i) {
    const int64_t reach = (a._shape[i] - 1) * a._strides[i] * size;
    (reach < 0 ? s.low : s.high) += reach;
  }
  s.high += size;
  return s;
}

struct Term {
  int64_t factor, most; // factor * x, 0 <= x <= most
};

// Whether the sum of the terms from `i` on can be `target`. Factors fall, so that the range of what remains leaves few
// values to try for each; their greatest common divisor rules out most of these.
bool solvable(const std::vector<Term> &terms, const std::vector<int64_t> &reach, const std::vector<int64_t> &divisor,
              std::size_t i, int64_t target, int64_t &budget) {
  if (target == 0)
    return true;
  if (i == terms.size() || target < 0 || target > reach[i] || target % divisor[i] != 0)
    return false;
  if (--budget < 0)
    throw UnsupportedError("shares_memory: deciding this exactly would take too long; ask array.may_share_memory");
  const Term &t = terms[i];
  const int64_t rest = i + 1 < terms.size() ? reach[i + 1] : 0;
  const int64_t most = std::min(t.most, target / t.factor);
  const int64_t least = target > rest ? (target - rest + t.factor - 1) / t.factor : 0;
  for (int64_t x = most; x >= least; --x)
    if (solvable(terms, reach, divisor, i + 1, target - x * t.factor, budget))
      return true;
  return false;
}

// Do elements of a and b have a byte in common? Their addresses are bounded sums of strides, so this asks whether a
// linear equation has a solution within bounds.
bool shares_exactly(const pg_array &a, const pg_array &b) {
  const int64_t size_a = static_cast<int64_t>(element_size(a._dtype));
  const int64_t size_b = static_cast<int64_t>(element_size(b._dtype));
  const Span sa = span_of(a), sb = span_of(b);
  // low_a + sum(|stride| x) + p = low_b + sum(|stride| y) + q becomes, with y' = most - y and q' = size - 1 - q:
  // sum(|stride| x) + p + sum(|stride| y') + q' = high_b - 1 - low_a.
  std::vector<Term> terms;
  const auto add = [&](const pg_array &array, int64_t size) {
    for (int i = 0; i < array._ndim; ++i)
      if (array._shape[i] > 1 && array._strides[i] != 0)
        terms.push_back({std::abs(array._strides[i]) * size, array._shape[i] - 1});
  };
  add(a, size_a);
  add(b, size_b);
  int64_t target = sb.high - 1 - sa.low;
  if (size_a == size_b && (sb.low - sa.low) % size_a == 0) {
    target = sb.high - size_b - sa.low; // elements coincide or do not touch
  } else {
    terms.push_back({1, size_a - 1});
    terms.push_back({1, size_b - 1});
  }
  std::sort(terms.begin(), terms.end(), [](const Term &x, const Term &y) { return x.factor > y.factor; });
  std::vector<Term> merged;
  for (const Term &t : terms) {
    if (!merged.empty() && merged.back().factor == t.factor)
      merged.back().most += t.most;
    else if (t.most > 0)
      merged.push_back(t);
  }
  std::vector<int64_t> reach(merged.size()), divisor(merged.size());
  for (std::size_t i = merged.size(); i-- > 0;) {
    reach[i] = merged[i].factor * merged[i].most + (i + 1 < merged.size() ? reach[i + 1] : 0);
    divisor[i] = std::gcd(merged[i].factor, i + 1 < merged.size() ? divisor[i + 1] : 0);
  }
  int64_t budget = 2'000'000; // a fraction of a second
  return solvable(merged, reach, divisor, 0, target, budget);
}

thread_local int64_t allocation_count = 0, allocation_bytes = 0;

} // namespace

void move_elements(const pg_array &to, const pg_array &from) {
  Shape shape;
  shape.ndim = to._ndim;
  std::copy_n(to._shape, to._ndim, shape.lengths);
  const Walk<2> walk(shape, {&to, &from});
  if (walk.empty)
    return;
  visit_size(to._dtype, [&]<class T>(std::type_identity<T>) { move_typed<T>(walk); });
}

bool may_share_memory(const pg_array &a, const pg_array &b) {
  if (a._size == 0 || b._size == 0 || !a._data || !b._data)
    return false;
  const Span sa = span_of(a), sb = span_of(b);
  return sa.low < sb.high && sb.low < sa.high;
}

void count_allocation(int64_t bytes) noexcept {
  ++allocation_count;
  allocation_bytes += bytes;
}

} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_copy(pg_array *out, int32_t *collect, const pg_array *a, int32_t order) {
  return guard([&] {
    require_alive(*a);
    Array result = create(a->_dtype, {a->_shape, static_cast<std::size_t>(a->_ndim)}, false, collect);
    if (order == PG_COLUMN_MAJOR) {
      int64_t stride = 1;
      for (int i = 0; i < a->_ndim; ++i) {
        result.get()->_strides[i] = stride;
        stride *= std::max<int64_t>(a->_shape[i], 1);
      }
    }
    move_elements(*result, *a);
    describe_operation("copy", 0, {a, result.get()});
    *out = result.detach();
  });
}

int32_t pg_array_shares_memory(const pg_array *a, const pg_array *b, int32_t exact, int32_t *result) {
  return guard([&] { *result = may_share_memory(*a, *b) && (!exact || shares_exactly(*a, *b)); });
}

int32_t pg_array_base(pg_array *out, int32_t *, const pg_array *a) {
  return guard([&] {
    require_alive(*a);
    Array result = share(*a);
    pg_array &v = *result.get();
    v._ndim = 1;
    v._data = a->_block->memory;
    v._size = v._shape[0] = a->_block->bytes / static_cast<int64_t>(element_size(a->_dtype));
    v._strides[0] = 1;
    *out = result.detach();
  });
}

void pg_array_allocations(int64_t *count, int64_t *bytes) {
  *count = allocation_count;
  *bytes = allocation_bytes;
}
}
