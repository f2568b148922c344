// BLAS by element type, the thread budget, and matrices as BLAS wants them.
#pragma once

#include "array/array.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <cblas.h>
#include <climits>
#include <complex>
#include <type_traits>

namespace perigee::linalg {

using array::Array;
using cfloat = std::complex<float>;
using cdouble = std::complex<double>;

template <class T> struct real_of { using type = T; };
template <class T> struct real_of<std::complex<T>> { using type = T; };
template <class T> using real_t = typename real_of<T>::type;
template <class T> inline constexpr bool is_complex_v = !std::is_same_v<T, real_t<T>>;

template <class T> inline constexpr int32_t dtype_of = -1;
template <> inline constexpr int32_t dtype_of<float> = PG_FLOAT32;
template <> inline constexpr int32_t dtype_of<double> = PG_FLOAT64;
template <> inline constexpr int32_t dtype_of<cfloat> = PG_COMPLEX64;
template <> inline constexpr int32_t dtype_of<cdouble> = PG_COMPLEX128;

/// The dtype in which LAPACK works on arrays of this one: integers become float64.
constexpr int32_t work_dtype(int32_t dtype) {
  return dtype == PG_FLOAT32 || dtype == PG_COMPLEX64 || dtype == PG_COMPLEX128 ? dtype
                                                                                : static_cast<int32_t>(PG_FLOAT64);
}

/// Calls visitor(std::type_identity<T>{}) with the element type of a work dtype.
template <class Visitor> decltype(auto) visit(int32_t dtype, Visitor &&visitor) {
  switch (dtype) {
  case PG_FLOAT32:
    return visitor(std::type_identity<float>{});
  case PG_COMPLEX64:
    return visitor(std::type_identity<cfloat>{});
  case PG_COMPLEX128:
    return visitor(std::type_identity<cdouble>{});
  default:
    return visitor(std::type_identity<double>{});
  }
}

/// Tells those who watch operations of a matrix operation: factor * m * n * min(m, n) operations a matrix, the leading
// term of the textbook's count (Golub and Van Loan, "Matrix Computations"); four times that for complex numbers.
inline void describe(const char *name, const pg_array &a, double factor) {
  if (!operations_watched() || a._ndim < 2)
    return;
  const auto rows = static_cast<double>(a._shape[a._ndim - 2]), columns = static_cast<double>(a._shape[a._ndim - 1]);
  array::describe_operation(name, factor * (array::is_complex(a._dtype) ? 4 : 1) * (rows < columns ? rows : columns),
                            {&a, &a});
}

/// While it lives, OpenBLAS works with the calling thread's budget of threads. OpenBLAS has one number for the process,
/// so that calls with other budgets (of a script and of workers of its pools) wait for each other.
class ThreadBudget {
 public:
  ThreadBudget();
  ~ThreadBudget();
  ThreadBudget(const ThreadBudget &) = delete;
};

/// A length or stride for BLAS, whose integers have 32 bits.
inline int blas_int(int64_t n) {
  if (n > INT_MAX || n < -INT_MAX)
    throw UnsupportedError("linear algebra with an axis or stride of " + std::to_string(n) +
                           " elements; OpenBLAS counts to 2^31");
  return static_cast<int>(n);
}

inline void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const float *a, int lda, const float *b,
                 int ldb, float *c, int ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1, a, lda, b, ldb, 0, c, ldc);
}
inline void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const double *a, int lda, const double *b,
                 int ldb, double *c, int ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1, a, lda, b, ldb, 0, c, ldc);
}
inline void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const cfloat *a, int lda, const cfloat *b,
                 int ldb, cfloat *c, int ldc) {
  const cfloat one = 1, zero = 0;
  cblas_cgemm(CblasRowMajor, ta, tb, m, n, k, &one, a, lda, b, ldb, &zero, c, ldc);
}
inline void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const cdouble *a, int lda,
                 const cdouble *b, int ldb, cdouble *c, int ldc) {
  const cdouble one = 1, zero = 0;
  cblas_zgemm(CblasRowMajor, ta, tb, m, n, k, &one, a, lda, b, ldb, &zero, c, ldc);
}

inline void gemv(CBLAS_TRANSPOSE t, int m, int n, const float *a, int lda, const float *x, int incx, float *y) {
  cblas_sgemv(CblasRowMajor, t, m, n, 1, a, lda, x, incx, 0, y, 1);
}
inline void gemv(CBLAS_TRANSPOSE t, int m, int n, const double *a, int lda, const double *x, int incx, double *y) {
  cblas_dgemv(CblasRowMajor, t, m, n, 1, a, lda, x, incx, 0, y, 1);
}
inline void gemv(CBLAS_TRANSPOSE t, int m, int n, const cfloat *a, int lda, const cfloat *x, int incx, cfloat *y) {
  const cfloat one = 1, zero = 0;
  cblas_cgemv(CblasRowMajor, t, m, n, &one, a, lda, x, incx, &zero, y, 1);
}
inline void gemv(CBLAS_TRANSPOSE t, int m, int n, const cdouble *a, int lda, const cdouble *x, int incx, cdouble *y) {
  const cdouble one = 1, zero = 0;
  cblas_zgemv(CblasRowMajor, t, m, n, &one, a, lda, x, incx, &zero, y, 1);
}

inline float dot(int n, const float *x, int incx, const float *y, int incy) {
  return cblas_sdot(n, x, incx, y, incy);
}
inline double dot(int n, const double *x, int incx, const double *y, int incy) {
  return cblas_ddot(n, x, incx, y, incy);
}
inline cfloat dot(int n, const cfloat *x, int incx, const cfloat *y, int incy) {
  cfloat result;
  cblas_cdotu_sub(n, x, incx, y, incy, &result);
  return result;
}
inline cdouble dot(int n, const cdouble *x, int incx, const cdouble *y, int incy) {
  cdouble result;
  cblas_zdotu_sub(n, x, incx, y, incy, &result);
  return result;
}

/// The upper triangle of a (n x k) times its transpose (or, with `transposed`, of a^T a for a k x n). Reals only: for
/// complex types syrk is what a numpy user would not expect of a @ a.T, and rare.
inline void syrk(bool transposed, int n, int k, const float *a, int lda, float *c, int ldc) {
  cblas_ssyrk(CblasRowMajor, CblasUpper, transposed ? CblasTrans : CblasNoTrans, n, k, 1, a, lda, 0, c, ldc);
}
inline void syrk(bool transposed, int n, int k, const double *a, int lda, double *c, int ldc) {
  cblas_dsyrk(CblasRowMajor, CblasUpper, transposed ? CblasTrans : CblasNoTrans, n, k, 1, a, lda, 0, c, ldc);
}

/// Scratch memory: an array, so that it counts against the memory limit and comes from the engine's reuse cache.
template <class T> Array scratch(int64_t n) {
  const int64_t shape[] = {std::max<int64_t>(n, 1)};
  return array::create(dtype_of<T>, shape, false);
}

} // namespace perigee::linalg
