// Products of small matrices, for which BLAS takes longer to copy its operands than to multiply them.
#pragma once

#include <cstdint>

namespace perigee::linalg {

/// c (m x n, row-major) = a (m x k, any strides) b (k x n, rows adjacent, `leading` from one to the next), with fused
/// multiply-adds in the order of k. False, and nothing done, where BLAS is faster or the machine lacks AVX2 and FMA.
bool small_product(int64_t m, int64_t k, int64_t n, const double *a, int64_t a_row, int64_t a_column, const double *b,
                   int64_t leading, double *c);
bool small_product(int64_t m, int64_t k, int64_t n, const float *a, int64_t a_row, int64_t a_column, const float *b,
                   int64_t leading, float *c);

} // namespace perigee::linalg
