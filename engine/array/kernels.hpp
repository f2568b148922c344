// The loops over elements. Each operation has one source (kernels.inc), compiled for several instruction sets; the best
// one this machine has is chosen once, at run time.
#pragma once

#include "array/array.hpp"

namespace perigee::array {

/// A loop of `outer` by `inner` elements over up to three operands: inputs, then the output. Strides in elements.
struct Loop {
  int64_t outer, inner;
  void *data[3];
  int64_t outer_stride[3], inner_stride[3];
};
using LoopKernel = void (*)(const Loop &);

/// Converts n elements; true if one could not be represented (which then has an unspecified value).
using CastKernel = bool (*)(int64_t n, const void *from, int64_t from_stride, void *to, int64_t to_stride);

/// Reduces n elements with a stride to one: float64 (sums of floats), int64 (sums of integers), or the element's own
/// type (min, max).
using ReduceKernel = void (*)(int64_t n, const void *from, int64_t stride, void *result);

/// Reduces an n by columns matrix whose columns are adjacent (stride 1) over n, into `columns` results.
using ColumnKernel = void (*)(int64_t n, int64_t columns, const void *from, int64_t stride, void *results);

struct Kernels {
  const char *name;
  LoopKernel binary[PG_GE + 1][dtype_count]; // by type of the inputs; null: no such operation
  LoopKernel unary[PG_TANH + 1][dtype_count];
  CastKernel cast[dtype_count][dtype_count];    // [from][to]
  ReduceKernel reduce[PG_MAX + 1][dtype_count]; // PG_MEAN: none
  ColumnKernel reduce_columns[PG_MAX + 1][dtype_count];
  /// c (m by n) = a (m by k) b (k by n), all float64 or float32, row-major.
  void (*matmul_double)(int64_t m, int64_t k, int64_t n, const double *a, const double *b, double *c);
  void (*matmul_float)(int64_t m, int64_t k, int64_t n, const float *a, const float *b, float *c);
};

/// The kernels for this machine.
const Kernels &kernels();

const Kernels &baseline_kernels();
#if defined(__x86_64__)
const Kernels &avx2_kernels();
const Kernels &avx512_kernels();
#endif

} // namespace perigee::array
