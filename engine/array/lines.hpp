// Arrays as lines along one axis.
#pragma once

#include "array/iterate.hpp"
#include "core/threads.hpp"

#include <memory>

namespace perigee::array {

/// Throws ArgumentError for a released array and for an axis that it has not.
inline void require_axis(const pg_array &a, int32_t axis) {
  require_alive(a);
  if (axis < 0 || axis >= a._ndim)
    throw ArgumentError("axis " + std::to_string(axis + 1) + " is out of range for an array of " +
                        std::to_string(a._ndim) + " dimensions");
}

/// Calls body(from, to) with the first elements of every line of a along an axis and of its counterpart in out, whose
/// lines may have another length; on several threads where there is much to do.
template <class Body> void each_line(const pg_array &a, const pg_array &out, int32_t axis, Body &&body) {
  if (a._size == 0 || out._size == 0)
    return;
  pg_array from = a, to = out;
  from._shape[axis] = to._shape[axis] = 1;
  Shape shape;
  shape.ndim = a._ndim;
  std::copy_n(from._shape, a._ndim, shape.lengths);
  const Walk<2> walk(shape, {&from, &to});
  const int64_t grain = std::max<int64_t>(1, 16384 / a._shape[axis]);
  walk.each(1, [&](const auto &at) {
    core::parallel_ranges(walk.inner(), grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        body(at[0] + i * walk.inner_stride(0) * walk.bytes[0], at[1] + i * walk.inner_stride(1) * walk.bytes[1]);
    });
  });
}

/// A line as adjacent elements: where it is, or in a copy.
template <class T> class Adjacent {
 public:
  Adjacent(T *line, int64_t n, int64_t stride) : line_(line), n_(n), stride_(stride) {
    if (stride == 1)
      return;
    copy_ = std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(n));
    for (int64_t i = 0; i < n; ++i)
      copy_[i] = line[i * stride];
  }
  T *data() const { return copy_ ? copy_.get() : line_; }
  /// Writes a copy back.
  void store() const {
    for (int64_t i = 0; copy_ && i < n_; ++i)
      line_[i * stride_] = copy_[i];
  }

 private:
  T *line_;
  int64_t n_, stride_;
  std::unique_ptr<T[]> copy_;
};

} // namespace perigee::array
