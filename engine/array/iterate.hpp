// Walking several arrays in step: broadcasting, then the fewest and longest runs that cover them.
#pragma once

#include "array/array.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <span>
#include <string>

namespace perigee::array {

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

  int64_t inner() const { return lengths[ndim - 1]; }
  int64_t outer() const { return lengths[ndim - 2]; }
  int64_t inner_stride(int n) const { return strides[n][ndim - 1]; }
  int64_t outer_stride(int n) const { return strides[n][ndim - 2]; }

 private:
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
