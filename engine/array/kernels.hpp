// The loops over elements. Each group of operations has one source (kernels_<group>.inc), compiled for several
// instruction sets; the best one this machine has is chosen once, at run time. Functions that a mathematics library
// computes are in a table of their own.
#pragma once

#include "array/array.hpp"

#include <complex>

namespace perigee::array {

/// A loop of `outer` by `inner` elements over up to four operands: inputs, then the output. Strides in elements.
struct Loop {
  int64_t outer, inner;
  void *data[4];
  int64_t outer_stride[4], inner_stride[4];
};
using LoopKernel = void (*)(const Loop &);

/// Converts n elements; true if one could not be represented (which then has an unspecified value).
using CastKernel = bool (*)(int64_t n, const void *from, int64_t from_stride, void *to, int64_t to_stride);

inline constexpr int binary_count = PG_IEEE_REMAINDER + 1, unary_count = PG_LOGB + 1, ternary_count = PG_FMA + 1;

struct Kernels {
  const char *name;
  LoopKernel binary[binary_count][dtype_count]; // by type of the inputs; null: see Functions, or no such operation
  LoopKernel unary[unary_count][dtype_count];
  LoopKernel ternary[ternary_count][dtype_count]; // by type of the result; the condition of PG_WHERE is bool
  CastKernel cast[dtype_count][dtype_count];      // [from][to]
  /// out[i] = sum of a[i + j] * v[j] over j < m, for i < n. The same bits for any n. Null: no such operation.
  void (*correlate[dtype_count])(int64_t n, const void *a, int64_t m, const void *v, void *out);
  /// index[i] = (x[i] - first) * scale, rounded down, where first <= x[i] <= last, else `outside`.
  void (*bins)(int64_t n, const double *x, double first, double last, double scale, int32_t outside, int32_t *index);
  /// c (m by n) = a (m by k) b (k by n), all float64 or float32, row-major.
  void (*matmul_double)(int64_t m, int64_t k, int64_t n, const double *a, const double *b, double *c);
  void (*matmul_float)(int64_t m, int64_t k, int64_t n, const float *a, const float *b, float *c);
};

/// Functions over n adjacent elements; y may be x itself (and of the binary ones, z may be x or y). Null: none. They
/// are looked at where Kernels has no entry.
template <class T> struct FunctionsOf {
  void (*unary[unary_count])(int64_t n, const T *x, T *y);
  void (*binary[binary_count])(int64_t n, const T *x, const T *y, T *z);
};
struct Functions {
  FunctionsOf<float> float32;
  FunctionsOf<double> float64;
  FunctionsOf<std::complex<float>> complex64;
  FunctionsOf<std::complex<double>> complex128;
  /// abs and angle, from complex to real
  void (*magnitude64[unary_count])(int64_t n, const std::complex<float> *x, float *y);
  void (*magnitude128[unary_count])(int64_t n, const std::complex<double> *x, double *y);
};
/// The functions of libm, or of vmath.hpp where it has them.
const Functions &functions();

/// The kernels for this machine.
const Kernels &kernels();

const Kernels &baseline_kernels();
#if defined(__x86_64__)
const Kernels &avx2_kernels();
const Kernels &avx512_kernels();
#endif

} // namespace perigee::array
