// Walking several arrays in step: broadcasting, then the fewest and longest runs that cover them, on one thread or
// more.
#pragma once

#include "array/array.hpp"
#include "core/status.hpp"
#include "core/threads.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <span>
#include <string>

namespace perigee::array {

/// How many positions a thread takes at a time, and from how many on there is more than one thread (waking one takes 5
/// to 50 us): for what costs a fraction of a nanosecond a position, and for functions, which cost some.
struct Grain {
  int64_t piece, least;
};
inline constexpr Grain cheap{1 << 16, 1 << 17}, costly{1 << 13, 1 << 15};

struct Shape {
  int ndim = 0;
  int64_t lengths[max_dimensions] = {};
};

/// Throws ArgumentError for a released array.
inline void require_alive(const pg_array &a) {
  if (!a._block && !a._data)
    throw ArgumentError("this array was released and has no elements any more");
}

/// The shape that a and b broadcast to: trailing axes are matched, and an axis of length 1 stretches.
inline Shape broadcast(const pg_array &a, const pg_array &b) {
  Shape shape;
  shape.ndim = std::max(a._ndim, b._ndim);
  for (int i = 0; i < shape.ndim; ++i) {
    const int from_a = i - (shape.ndim - a._ndim), from_b = i - (shape.ndim - b._ndim);
    const int64_t la = from_a < 0 ? 1 : a._shape[from_a], lb = from_b < 0 ? 1 : b._shape[from_b];
    if (la != lb && la != 1 && lb != 1)
      throw ArgumentError("arrays of shape " + shape_text(a) + " and " + shape_text(b) +
                          " cannot be combined: counted from the right, axes must be equal or 1, and here " +
                          std::to_string(la) + " meets " + std::to_string(lb));
    shape.lengths[i] = la == 1 ? lb : la;
  }
  return shape;
}

/// N arrays walked over one shape. Axes of length 1 are dropped, the rest is ordered so that the innermost has the
/// smallest strides, and neighbours that form one run are merged.
template <int N> struct Walk {
  int ndim = 0;
  int64_t lengths[max_dimensions] = {};
  int64_t strides[N][max_dimensions] = {};
  char *data[N] = {};
  int64_t bytes[N] = {}; // of one element
  bool empty = false;

  Walk(const Shape &shape, const std::array<const pg_array *, N> &arrays) {
    for (int n = 0; n < N; ++n) {
      data[n] = static_cast<char *>(arrays[n]->_data);
      bytes[n] = static_cast<int64_t>(element_size(arrays[n]->_dtype));
    }
    for (int i = 0; i < shape.ndim; ++i) {
      empty |= shape.lengths[i] == 0;
      if (shape.lengths[i] == 1)
        continue;
      int64_t own[N], weight = 0;
      for (int n = 0; n < N; ++n) {
        const int axis = i - (shape.ndim - arrays[n]->_ndim);
        own[n] = axis < 0 || arrays[n]->_shape[axis] == 1 ? 0 : arrays[n]->_strides[axis];
        weight += std::abs(own[n]);
      }
      int at = ndim++;
      while (at > 0 && this->weight(at - 1) < weight) { // insertion sort, stable: row-major order stays
        move(at - 1, at);
        --at;
      }
      lengths[at] = shape.lengths[i];
      for (int n = 0; n < N; ++n)
        strides[n][at] = own[n];
    }
    int last = 0;
    for (int i = 1; i < ndim; ++i) {
      bool merges = true;
      for (int n = 0; n < N; ++n)
        merges &= strides[n][last] == strides[n][i] * lengths[i];
      if (merges) {
        lengths[last] *= lengths[i];
        for (int n = 0; n < N; ++n)
          strides[n][last] = strides[n][i];
      } else if (++last != i) {
        move(i, last);
      }
    }
    ndim = ndim > 0 ? last + 1 : 0;
    while (ndim < 2) { // callers may rely on an inner and an outer axis
      for (int i = ndim; i > 0; --i)
        move(i - 1, i);
      lengths[0] = 1;
      for (int n = 0; n < N; ++n)
        strides[n][0] = 0;
      ++ndim;
    }
  }

  /// Calls body(pointers) for every position of the axes before the last `kept` ones.
  template <class Body> void each(int kept, Body &&body) const {
    if (empty)
      return;
    const int axes = ndim - kept;
    int64_t at[max_dimensions] = {};
    std::array<char *, N> here;
    std::copy_n(data, N, here.begin());
    for (;;) {
      body(here);
      int i = axes - 1;
      for (; i >= 0; --i) {
        for (int n = 0; n < N; ++n)
          here[n] += strides[n][i] * bytes[n];
        if (++at[i] < lengths[i])
          break;
        for (int n = 0; n < N; ++n)
          here[n] -= strides[n][i] * bytes[n] * lengths[i];
        at[i] = 0;
      }
      if (i < 0)
        return;
    }
  }

  /// Calls body(pointers, outer, inner) for blocks that cover every position: `inner` neighbours on the last axis by
  /// `outer` on the one before it. Large walks are cut into pieces, the same for any number of threads, and several
  /// calls may run at a time.
  template <class Body> void blocks(Grain grain, Body &&body) const {
    if (empty)
      return;
    int64_t rows = 1;
    for (int i = 0; i < ndim - 1; ++i)
      rows *= lengths[i];
    if (rows * inner() < grain.least) {
      block(0, rows, 0, inner(), body);
    } else if (inner() > grain.piece) {
      const int64_t pieces = (inner() - 1) / grain.piece + 1; // of a row
      core::parallel_ranges(rows * pieces, 1, [&](int64_t at, int64_t end) {
        for (; at < end; ++at) {
          const int64_t begin = at % pieces * grain.piece;
          block(at / pieces, at / pieces + 1, begin, std::min(begin + grain.piece, inner()), body);
        }
      });
    } else {
      core::parallel_ranges(rows, grain.piece / inner(),
                            [&](int64_t at, int64_t end) { block(at, end, 0, inner(), body); });
    }
  }

  int64_t inner() const { return lengths[ndim - 1]; }
  int64_t outer() const { return lengths[ndim - 2]; }
  int64_t inner_stride(int n) const { return strides[n][ndim - 1]; }
  int64_t outer_stride(int n) const { return strides[n][ndim - 2]; }

 private:
  // The rows (positions of all axes but the last) from `row` to `rows`, of each the elements from `begin` to `end`.
  template <class Body> void block(int64_t row, int64_t rows, int64_t begin, int64_t end, Body &body) const {
    int64_t at[max_dimensions] = {};
    std::array<char *, N> here;
    for (int n = 0; n < N; ++n)
      here[n] = data[n] + begin * inner_stride(n) * bytes[n];
    for (int64_t left = row, i = ndim - 2; i >= 0 && left > 0; --i) {
      at[i] = left % lengths[i];
      left /= lengths[i];
      for (int n = 0; n < N; ++n)
        here[n] += at[i] * strides[n][i] * bytes[n];
    }
    while (row < rows) {
      int i = ndim - 2;
      const int64_t count = std::min(lengths[i] - at[i], rows - row);
      body(here, count, end - begin);
      row += count;
      for (int n = 0; n < N; ++n)
        here[n] += count * strides[n][i] * bytes[n];
      at[i] += count;
      for (; i > 0 && at[i] == lengths[i]; --i) {
        at[i] = 0;
        ++at[i - 1];
        for (int n = 0; n < N; ++n)
          here[n] += (strides[n][i - 1] - strides[n][i] * lengths[i]) * bytes[n];
      }
    }
  }

  int64_t weight(int i) const {
    int64_t sum = 0;
    for (int n = 0; n < N; ++n)
      sum += std::abs(strides[n][i]);
    return sum;
  }
  void move(int from, int to) {
    lengths[to] = lengths[from];
    for (int n = 0; n < N; ++n)
      strides[n][to] = strides[n][from];
  }
};

} // namespace perigee::array
