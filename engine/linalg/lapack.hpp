// LAPACK by element type. The library is OpenBLAS's own LAPACK in its Fortran interface: Debian's LAPACKE would bring
// in a second LAPACK and BLAS beside it, and transposes row-major matrices by copying, which callers here avoid.
#pragma once

#include "linalg/blas.hpp"

namespace perigee::linalg {

// Fortran passes everything by address, and the lengths of strings at the end (here always 1).
#define PG_STRING_1 , std::size_t = 1
#define PG_STRING_2 , std::size_t = 1, std::size_t = 1
#define PG_LAPACK_COMMON(p, T, R)                                                                                      \
  void p##getrf_(const int *m, const int *n, T *a, const int *lda, int *ipiv, int *info);                              \
  void p##getrs_(const char *trans, const int *n, const int *nrhs, const T *a, const int *lda, const int *ipiv, T *b,  \
                 const int *ldb, int *info PG_STRING_1);                                                               \
  void p##getri_(const int *n, T *a, const int *lda, const int *ipiv, T *work, const int *lwork, int *info);           \
  void p##potrf_(const char *uplo, const int *n, T *a, const int *lda, int *info PG_STRING_1);                         \
  void p##geqrf_(const int *m, const int *n, T *a, const int *lda, T *tau, T *work, const int *lwork, int *info);      \
  void p##geqrt_(const int *m, const int *n, const int *nb, T *a, const int *lda, T *t, const int *ldt, T *work,       \
                 int *info);                                                                                           \
  void p##gemqrt_(const char *side, const char *trans, const int *m, const int *n, const int *k, const int *nb,        \
                  const T *v, const int *ldv, const T *t, const int *ldt, T *c, const int *ldc, T *work,               \
                  int *info PG_STRING_2);

#define PG_LAPACK_REAL(p, T)                                                                                           \
  PG_LAPACK_COMMON(p, T, T)                                                                                            \
  void p##orgqr_(const int *m, const int *n, const int *k, T *a, const int *lda, const T *tau, T *work,                \
                 const int *lwork, int *info);                                                                         \
  void p##gesdd_(const char *jobz, const int *m, const int *n, T *a, const int *lda, T *s, T *u, const int *ldu,       \
                 T *vt, const int *ldvt, T *work, const int *lwork, int *iwork, int *info PG_STRING_1);                \
  void p##syevd_(const char *jobz, const char *uplo, const int *n, T *a, const int *lda, T *w, T *work,                \
                 const int *lwork, int *iwork, const int *liwork, int *info PG_STRING_2);                              \
  void p##geev_(const char *jobvl, const char *jobvr, const int *n, T *a, const int *lda, T *wr, T *wi, T *vl,         \
                const int *ldvl, T *vr, const int *ldvr, T *work, const int *lwork, int *info PG_STRING_2);            \
  void p##gelsd_(const int *m, const int *n, const int *nrhs, T *a, const int *lda, T *b, const int *ldb, T *s,        \
                 const T *rcond, int *rank, T *work, const int *lwork, int *iwork, int *info);

#define PG_LAPACK_COMPLEX(p, T, R)                                                                                     \
  PG_LAPACK_COMMON(p, T, R)                                                                                            \
  void p##ungqr_(const int *m, const int *n, const int *k, T *a, const int *lda, const T *tau, T *work,                \
                 const int *lwork, int *info);                                                                         \
  void p##gesdd_(const char *jobz, const int *m, const int *n, T *a, const int *lda, R *s, T *u, const int *ldu,       \
                 T *vt, const int *ldvt, T *work, const int *lwork, R *rwork, int *iwork, int *info PG_STRING_1);      \
  void p##heevd_(const char *jobz, const char *uplo, const int *n, T *a, const int *lda, R *w, T *work,                \
                 const int *lwork, R *rwork, const int *lrwork, int *iwork, const int *liwork, int *info PG_STRING_2); \
  void p##geev_(const char *jobvl, const char *jobvr, const int *n, T *a, const int *lda, T *w, T *vl,                 \
                const int *ldvl, T *vr, const int *ldvr, T *work, const int *lwork, R *rwork, int *info PG_STRING_2);  \
  void p##gelsd_(const int *m, const int *n, const int *nrhs, T *a, const int *lda, T *b, const int *ldb, R *s,        \
                 const R *rcond, int *rank, T *work, const int *lwork, R *rwork, int *iwork, int *info);

extern "C" {
PG_LAPACK_REAL(s, float)
PG_LAPACK_REAL(d, double)
PG_LAPACK_COMPLEX(c, cfloat, float)
PG_LAPACK_COMPLEX(z, cdouble, double)
}

// Lapack<T>::getrf and so on: the routine for an element type. ungqr is orgqr and heevd is syevd for complex ones.
// (Functions and not pointers to them, for the sake of the default arguments.)
template <class T> struct Lapack;
#define PG_LAPACK_CALL(name, routine)                                                                                  \
  template <class... A> static void name(A... arguments) {                                                             \
    routine(arguments...);                                                                                             \
  }
#define PG_LAPACK_TABLE(p, T, unitary, hermitian)                                                                      \
  template <> struct Lapack<T> {                                                                                       \
    PG_LAPACK_CALL(getrf, p##getrf_)                                                                                   \
    PG_LAPACK_CALL(getrs, p##getrs_)                                                                                   \
    PG_LAPACK_CALL(getri, p##getri_)                                                                                   \
    PG_LAPACK_CALL(potrf, p##potrf_)                                                                                   \
    PG_LAPACK_CALL(geqrf, p##geqrf_)                                                                                   \
    PG_LAPACK_CALL(geqrt, p##geqrt_)                                                                                   \
    PG_LAPACK_CALL(gemqrt, p##gemqrt_)                                                                                 \
    PG_LAPACK_CALL(ungqr, p##unitary##gqr_)                                                                            \
    PG_LAPACK_CALL(gesdd, p##gesdd_)                                                                                   \
    PG_LAPACK_CALL(heevd, p##hermitian##evd_)                                                                          \
    PG_LAPACK_CALL(geev, p##geev_)                                                                                     \
    PG_LAPACK_CALL(gelsd, p##gelsd_)                                                                                   \
  };
PG_LAPACK_TABLE(s, float, or, sy)
PG_LAPACK_TABLE(d, double, or, sy)
PG_LAPACK_TABLE(c, cfloat, un, he)
PG_LAPACK_TABLE(z, cdouble, un, he)

/// A result of `routine` that LAPACK gives for arguments it does not take: never the user's fault.
inline void check_arguments(const char *routine, int info) {
  if (info < 0)
    throw InternalError(std::string("LAPACK refuses argument ") + std::to_string(-info) + " of " + routine);
}

/// The size of a work array from a query's answer. Float32 answers are rounded up: they cannot hold every integer.
template <class T> int work_size(T answer) {
  const double n = static_cast<double>(std::real(answer)) * (1 + 1e-6) + 1;
  if (n > INT_MAX)
    throw UnsupportedError("a matrix this large: LAPACK's work space would have more than 2^31 elements");
  return static_cast<int>(n);
}

/// A = Q R of tall matrices, column by column, by recursion (geqrt): geqrf, which LAPACK's drivers use, spends most of
/// its time in products of a matrix and a vector there; 4000 x 100 takes it 2.1 times as long.
template <class T> class TallQr {
 public:
  static bool pays(int64_t m, int64_t n) { return n >= 8 && m >= 2 * n; }
  TallQr(int64_t m, int64_t n)
      : m_(static_cast<int>(m)), n_(static_cast<int>(n)), block_(std::min(32, n_)), t_(scratch<T>(block_ * n)),
        work_(scratch<T>(block_ * n)) {}
  /// Replaces a (m x n) by R and the vectors that make Q.
  void factor(T *a) const {
    int info = 0;
    Lapack<T>::geqrt(&m_, &n_, &block_, a, &m_, t_.template data<T>(), &block_, work_.template data<T>(), &info);
    check_arguments("geqrt", info);
  }
  /// R of a factored matrix, n x n.
  void copy_r(const T *a, T *r) const {
    for (int64_t j = 0; j < n_; ++j) {
      std::copy_n(a + j * m_, j + 1, r + j * n_);
      std::fill_n(r + j * n_ + j + 1, n_ - j - 1, T{});
    }
  }
  /// Replaces c (m x columns) by Q c, or by Q^H c if `adjoint`.
  void apply(const T *a, bool adjoint, T *c, int columns) const {
    const Array work = scratch<T>(int64_t{block_} * columns);
    int info = 0;
    Lapack<T>::gemqrt("L", adjoint ? (is_complex_v<T> ? "C" : "T") : "N", &m_, &columns, &n_, &block_, a, &m_,
                      t_.template data<T>(), &block_, c, &m_, work.template data<T>(), &info);
    check_arguments("gemqrt", info);
  }
  /// Fills c (m x n) with Q u, for u n x n; with Q itself for nullptr.
  void multiply(const T *a, const T *u, T *c) const {
    for (int64_t j = 0; j < n_; ++j) {
      T *column = c + j * m_;
      std::fill_n(column, m_, T{});
      if (u)
        std::copy_n(u + j * n_, n_, column);
      else
        column[j] = 1;
    }
    apply(a, false, c, n_);
  }

 private:
  const int m_, n_, block_;
  const Array t_, work_;
};

/// The matrices of an array of two or more dimensions, and where each begins.
class Matrices {
 public:
  explicit Matrices(const pg_array &a)
      : a_(a), rows(a._shape[a._ndim - 2]), columns(a._shape[a._ndim - 1]), row_(a._strides[a._ndim - 2]),
        column_(a._strides[a._ndim - 1]) {
    for (int i = 0; i < a._ndim - 2; ++i)
      count *= a._shape[i];
    blas_int(rows);
    blas_int(columns);
  }
  int64_t offset(int64_t index) const {
    int64_t at = 0;
    for (int axis = a_._ndim - 2; axis-- > 0;) {
      at += index % a_._shape[axis] * a_._strides[axis];
      index /= a_._shape[axis];
    }
    return at;
  }
  /// Copies matrix `index` to `to`, packed row by row, or column by column.
  template <class T> void load_rows(int64_t index, T *to) const { load(index, to, columns, rows, column_, row_); }
  template <class T> void load_columns(int64_t index, T *to, int64_t leading = 0) const {
    load(index, to, rows, columns, row_, column_, leading);
  }
  /// Copies a packed matrix to matrix `index` of this array.
  template <class T> void store_columns(int64_t index, const T *from, int64_t leading) const {
    T *to = static_cast<T *>(a_._data) + offset(index);
    // Tiles, since one of the two is read or written across memory.
    for (int64_t i0 = 0; i0 < rows; i0 += tile)
      for (int64_t j0 = 0; j0 < columns; j0 += tile)
        for (int64_t i = i0; i < std::min(i0 + tile, rows); ++i)
          for (int64_t j = j0; j < std::min(j0 + tile, columns); ++j)
            to[i * row_ + j * column_] = from[i + j * leading];
  }

 private:
  static constexpr int64_t tile = 32;
  template <class T>
  void load(int64_t index, T *to, int64_t inner, int64_t outer, int64_t step, int64_t next, int64_t leading = 0) const {
    const T *from = static_cast<const T *>(a_._data) + offset(index);
    if (leading == 0)
      leading = inner;
    if (step == 1) {
      for (int64_t j = 0; j < outer; ++j)
        std::copy_n(from + j * next, inner, to + j * leading);
      return;
    }
    for (int64_t j0 = 0; j0 < outer; j0 += tile)
      for (int64_t i0 = 0; i0 < inner; i0 += tile)
        for (int64_t j = j0; j < std::min(j0 + tile, outer); ++j)
          for (int64_t i = i0; i < std::min(i0 + tile, inner); ++i)
            to[i + j * leading] = from[i * step + j * next];
  }
  const pg_array &a_;

 public:
  const int64_t rows, columns;
  int64_t count = 1;

 private:
  const int64_t row_, column_;
};

/// a in the element type in which LAPACK works on it: a itself, shared, or a converted copy.
inline Array in_work_type(const pg_array &a, int32_t *collect) {
  return work_dtype(a._dtype) == a._dtype ? array::share(a) : array::copy(a, work_dtype(a._dtype), collect);
}

/// A new array with the batch axes of a and then these.
inline Array like_batch(const pg_array &a, int32_t dtype, std::initializer_list<int64_t> rest, int32_t *collect) {
  int64_t shape[array::max_dimensions];
  const int lead = a._ndim - 2;
  std::copy_n(a._shape, lead, shape);
  std::copy(rest.begin(), rest.end(), shape + lead);
  return array::create(dtype, {shape, lead + rest.size()}, false, collect);
}

/// "cholesky: matrix 3 of 5 " or "cholesky: the matrix "
inline std::string which(const char *function, const Matrices &m, int64_t index) {
  return std::string(function) +
         (m.count == 1 ? ": the matrix "
                       : ": matrix " + std::to_string(index + 1) + " of " + std::to_string(m.count) + " ");
}

inline void require_matrix(const char *function, const pg_array &a) {
  if (a._ndim < 2)
    throw ArgumentError(std::string(function) + ": a matrix is expected, an array of 2 dimensions or more; got shape " +
                        array::shape_text(a));
}
inline void require_square(const char *function, const pg_array &a) {
  require_matrix(function, a);
  if (a._shape[a._ndim - 1] != a._shape[a._ndim - 2])
    throw ArgumentError(std::string(function) + ": the matrix must be square, got shape " + array::shape_text(a));
}

/// Iterations over NaN and infinities do not end, or give arbitrary answers.
template <class T> void require_finite(const char *function, const Matrices &m, int64_t index, const T *data) {
  const auto *numbers = reinterpret_cast<const real_t<T> *>(data);
  const int64_t n = m.rows * m.columns * (is_complex_v<T> ? 2 : 1);
  real_t<T> sum = 0; // of zeros: NaN as soon as one is not finite
  for (int64_t i = 0; i < n; ++i)
    sum += numbers[i] * 0;
  if (sum != 0)
    throw ArgumentError(which(function, m, index) + "holds NaN or infinity");
}

} // namespace perigee::linalg
