// The loops of reductions: one source (reduce_kernels.inc) compiled for several instruction sets, chosen at run
// time.
#pragma once

#include "array/array.hpp"

namespace perigee::array {

/// What a kernel computes of many elements. NAN_...: those that are NaN are left out.
enum class Reduce : int {
  sum,
  real_sum, // of int64 and uint64, in float64
  product,
  minimum, // NaN wins
  maximum,
  count,     // of elements that are not zero
  deviation, // sum of |x - centre|^2
  nan_sum,
  nan_count, // of elements that are not NaN
  nan_deviation,
  nan_minimum,
  nan_maximum,
};
inline constexpr int reduce_count = static_cast<int>(Reduce::nan_maximum) + 1;

/// The dtype of a kernel's result, its *raw* dtype: int64 or uint64 (sums and products of integers; modulo 2^64),
/// float64 (of floats), complex128, or the element's own (minimum, maximum).
int32_t raw_dtype(Reduce op, int32_t dtype);

/// n elements with a stride to one raw result. *centre (float64 or complex128) is read by deviations only.
using RowReduce = void (*)(int64_t n, const void *from, int64_t stride, const void *centre, void *raw);
/// An n by `columns` matrix with adjacent columns over n, to `columns` raw results; a centre each.
using ColumnReduce = void (*)(int64_t n, int64_t columns, const void *from, int64_t stride, const void *centres,
                              void *raws);
/// The position (from 0) of the first smallest or largest of n elements, n > 0; the first NaN if there is one.
using RowPosition = int64_t (*)(int64_t n, const void *from, int64_t stride);
/// The same for each column; `best` is scratch for `columns` elements.
using ColumnPosition = void (*)(int64_t n, int64_t columns, const void *from, int64_t stride, void *best,
                                int64_t *positions);
/// Running sums of n adjacent floats. Each is offset + (sum from `from`); *total receives the latter of all n elements.
/// `to` may be null: only the total is wanted then. It may be `from`.
using ScanSum = void (*)(int64_t n, const void *from, void *to, double offset, double *total);

struct ReduceKernels {
  const char *name;
  RowReduce rows[reduce_count][dtype_count]; // null: no such operation
  ColumnReduce columns[reduce_count][dtype_count];
  RowPosition position[2][dtype_count]; // of the minimum, of the maximum
  ColumnPosition column_position[2][dtype_count];
  ScanSum scan_float, scan_double;
  void (*scan_int64)(int64_t n, const int64_t *from, int64_t *to);
};

/// The kernels for this machine.
const ReduceKernels &reduce_kernels();

const ReduceKernels &baseline_reduce_kernels();
#if defined(__x86_64__)
const ReduceKernels &avx2_reduce_kernels();
const ReduceKernels &avx512_reduce_kernels();
#endif

} // namespace perigee::array
