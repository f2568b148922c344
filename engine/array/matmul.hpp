// The shapes of a matrix product, as NumPy's matmul has them: shared by the engine's own loops (matmul.cpp) and BLAS
// (linalg/matmul.cpp).
#pragma once

#include "array/array.hpp"
#include "core/status.hpp"

#include <algorithm>

namespace perigee::array {

/// a (..., m, k) times b (..., k, n). Vectors count as one row (a) or one column (b), which the result then lacks;
/// leading axes broadcast. Strides are in elements; those of the batch belong to the axes of `batch`.
struct MatrixProduct {
  int64_t m = 1, k = 1, n = 1;
  int64_t a_row = 0, a_column = 0, b_row = 0, b_column = 0;
  int batch_ndim = 0;
  int64_t batch_size = 1;
  int64_t batch[max_dimensions] = {}, a_batch[max_dimensions] = {}, b_batch[max_dimensions] = {};
  int64_t shape[max_dimensions] = {}; // of the result
  int ndim = 0;

  MatrixProduct(const pg_array &a, const pg_array &b) {
    if (a._ndim == 0 || b._ndim == 0)
      throw ArgumentError("matmul: an array of 0 dimensions has no rows and columns; multiply by it with *");
    k = a._shape[a._ndim - 1];
    a_column = a._strides[a._ndim - 1];
    if (a._ndim > 1) {
      m = a._shape[a._ndim - 2];
      a_row = a._strides[a._ndim - 2];
    }
    const int b_axis = std::max(b._ndim - 2, 0);
    b_row = b._strides[b_axis];
    if (b._ndim > 1) {
      n = b._shape[b._ndim - 1];
      b_column = b._strides[b._ndim - 1];
    }
    if (b._shape[b_axis] != k)
      throw ArgumentError("a matrix product of shapes " + shape_text(a) + " and " + shape_text(b) +
                          " does not exist: " + std::to_string(k) + " columns meet " +
                          std::to_string(b._shape[b_axis]) + " rows");
    const int a_lead = std::max(a._ndim - 2, 0), b_lead = std::max(b._ndim - 2, 0);
    batch_ndim = std::max(a_lead, b_lead);
    for (int i = 0; i < batch_ndim; ++i) {
      const int ai = i - (batch_ndim - a_lead), bi = i - (batch_ndim - b_lead);
      const int64_t al = ai < 0 ? 1 : a._shape[ai], bl = bi < 0 ? 1 : b._shape[bi];
      if (al != bl && al != 1 && bl != 1)
        throw ArgumentError("a matrix product of shapes " + shape_text(a) + " and " + shape_text(b) +
                            " does not exist: the axes before the last two do not broadcast, " + std::to_string(al) +
                            " meets " + std::to_string(bl));
      batch[i] = al == 1 ? bl : al;
      a_batch[i] = al == 1 ? 0 : a._strides[ai];
      b_batch[i] = bl == 1 ? 0 : b._strides[bi];
      batch_size *= batch[i];
      shape[ndim++] = batch[i];
    }
    if (a._ndim > 1)
      shape[ndim++] = m;
    if (b._ndim > 1)
      shape[ndim++] = n;
  }

  /// Calls body(a_offset, b_offset, index) for each product of the batch, in row-major order.
  template <class Body> void each(Body &&body) const {
    int64_t at[max_dimensions] = {}, ao = 0, bo = 0;
    for (int64_t i = 0; i < batch_size; ++i) {
      body(ao, bo, i);
      for (int axis = batch_ndim; axis-- > 0;) {
        ao += a_batch[axis];
        bo += b_batch[axis];
        if (++at[axis] < batch[axis])
          break;
        at[axis] = 0;
        ao -= a_batch[axis] * batch[axis];
        bo -= b_batch[axis] * batch[axis];
      }
    }
  }
};

} // namespace perigee::array
