// What factors a matrix: solve, inv, det, cholesky, qr, lstsq.
#include "linalg/lapack.hpp"
#include "linalg/linalg.hpp"

#include <cmath>
#include <limits>
#include <optional>

namespace perigee::linalg {
namespace {

struct Pivots {
  explicit Pivots(int64_t n) : memory(scratch<float>(n)), data(reinterpret_cast<int *>(memory.data<float>())) {}
  Array memory; // an int is as large as a float
  int *data;
};

// Factors a square matrix, column by column in `lu`; returns the number of the first zero pivot, 0 if there is none.
template <class T> int factor(int64_t n, T *lu, int *pivots) {
  const int order = static_cast<int>(n), leading = std::max(order, 1);
  int info = 0;
  Lapack<T>::getrf(&order, &order, lu, &leading, pivots, &info);
  check_arguments("getrf", info);
  return info;
}

[[noreturn]] void singular(const char *function, const Matrices &m, int64_t index, int pivot) {
  throw ArgumentError(which(function, m, index) + "is singular: pivot " + std::to_string(pivot) + " of " +
                      std::to_string(m.rows) + " is 0 (lstsq and pinv find the best answer there is)");
}

template <class T> Array solve(const pg_array &a, const pg_array &b, int32_t *collect) {
  const Matrices ma(a), mb(b);
  Array result = like_batch(b, dtype_of<T>, {mb.rows, mb.columns}, collect);
  const Matrices mx(*result);
  const int n = static_cast<int>(ma.rows), k = static_cast<int>(mb.columns), leading = std::max(n, 1);
  const Array lu = scratch<T>(ma.rows * ma.rows), x = scratch<T>(mb.rows * mb.columns);
  const Pivots pivots(n);
  for (int64_t i = 0; i < ma.count; ++i) {
    ma.load_columns(i, lu.data<T>());
    mb.load_columns(i, x.data<T>());
    if (const int pivot = factor(n, lu.data<T>(), pivots.data))
      singular("solve", ma, i, pivot);
    int info = 0;
    Lapack<T>::getrs("N", &n, &k, lu.data<T>(), &leading, pivots.data, x.data<T>(), &leading, &info);
    check_arguments("getrs", info);
    mx.store_columns(i, x.data<T>(), n);
  }
  return result;
}

template <class T> Array invert(const pg_array &a, int32_t *collect) {
  const Matrices ma(a);
  Array result = like_batch(a, dtype_of<T>, {ma.rows, ma.rows}, collect);
  const Matrices mx(*result);
  const int n = static_cast<int>(ma.rows), leading = std::max(n, 1);
  if (result->_size == 0)
    return result;
  const Array lu = scratch<T>(ma.rows * ma.rows);
  const Pivots pivots(n);
  T answer{};
  int info = 0, size = -1;
  Lapack<T>::getri(&n, lu.data<T>(), &leading, pivots.data, &answer, &size, &info);
  const Array work = scratch<T>(size = work_size(answer));
  for (int64_t i = 0; i < ma.count; ++i) {
    ma.load_columns(i, lu.data<T>());
    if (const int pivot = factor(n, lu.data<T>(), pivots.data))
      singular("inv", ma, i, pivot);
    Lapack<T>::getri(&n, lu.data<T>(), &leading, pivots.data, work.data<T>(), &size, &info);
    check_arguments("getri", info);
    mx.store_columns(i, lu.data<T>(), n);
  }
  return result;
}

// det where `logarithm` is null, else sign (returned) and logarithm of the absolute value.
template <class T> Array determinant(const pg_array &a, Array *logarithm, int32_t *collect) {
  using R = real_t<T>;
  const Matrices ma(a);
  Array result = like_batch(a, dtype_of<T>, {}, collect);
  if (logarithm)
    *logarithm = like_batch(a, dtype_of<R>, {}, collect);
  const Array lu = scratch<T>(ma.rows * ma.rows);
  const Pivots pivots(ma.rows);
  for (int64_t i = 0; i < ma.count; ++i) {
    ma.load_columns(i, lu.data<T>());
    factor(ma.rows, lu.data<T>(), pivots.data);
    T product = 1;
    R sum = 0;
    for (int64_t j = 0; j < ma.rows; ++j) {
      const T pivot = lu.data<T>()[j * ma.rows + j];
      if (pivots.data[j] != j + 1)
        product = -product;
      if (logarithm) {
        const R magnitude = std::abs(pivot);
        sum += std::log(magnitude);
        product = magnitude == 0 ? T(0) : product * (pivot / magnitude);
      } else {
        product *= pivot;
      }
    }
    result.data<T>()[i] = product;
    if (logarithm)
      logarithm->data<R>()[i] = sum;
  }
  return result;
}

template <class T> Array cholesky(const pg_array &a, bool upper, int32_t *collect) {
  const Matrices ma(a);
  Array result = like_batch(a, dtype_of<T>, {ma.rows, ma.rows}, collect);
  const int n = static_cast<int>(ma.rows), leading = std::max(n, 1);
  for (int64_t i = 0; i < ma.count; ++i) {
    // Rows read as columns are the transpose, so the lower triangle is LAPACK's upper one: A = L L^H is
    // A^T = conj(L) L^T, and the factor L^T by columns is L by rows.
    T *factor = result.data<T>() + i * ma.rows * ma.rows;
    ma.load_rows(i, factor);
    int info = 0;
    Lapack<T>::potrf(upper ? "L" : "U", &n, factor, &leading, &info);
    check_arguments("potrf", info);
    if (info > 0)
      throw ArgumentError(which("cholesky", ma, i) + "is not positive definite: its leading minor of order " +
                          std::to_string(info) + " is not positive");
    // NaN and infinity pass for positive: they end up in the diagonal, where squares of them were subtracted.
    for (int64_t row = 0; row < ma.rows; ++row)
      if (!(std::abs(factor[row * (n + 1)]) <= std::numeric_limits<real_t<T>>::max()))
        throw ArgumentError(which("cholesky", ma, i) + "holds NaN or infinity");
    for (int64_t row = 0; row < ma.rows; ++row) {
      if (upper)
        std::fill_n(factor + row * n, row, T{});
      else
        std::fill_n(factor + row * n + row + 1, n - row - 1, T{});
    }
  }
  return result;
}

// Q (m x columns) and R (columns x n); `columns` is m for the complete form. Without q only R.
template <class T> void qr(pg_array *q_out, pg_array *r_out, const pg_array &a, bool complete, int32_t *collect) {
  const Matrices ma(a);
  const int64_t rank = std::min(ma.rows, ma.columns), inner = complete ? ma.rows : rank;
  const int m = static_cast<int>(ma.rows), n = static_cast<int>(ma.columns), leading = std::max(m, 1);
  Array r = like_batch(a, dtype_of<T>, {inner, ma.columns}, collect), q;
  if (q_out)
    q = like_batch(a, dtype_of<T>, {ma.rows, inner}, collect);
  const Matrices mr(*r);
  if (!complete && TallQr<T>::pays(m, n)) {
    const TallQr<T> tall(m, n);
    const Array packed = scratch<T>(ma.rows * ma.columns), columns = scratch<T>(ma.rows * ma.columns);
    for (int64_t i = 0; i < ma.count; ++i) {
      ma.load_columns(i, packed.data<T>());
      tall.factor(packed.data<T>());
      tall.copy_r(packed.data<T>(), columns.data<T>());
      mr.store_columns(i, columns.data<T>(), n);
      if (q_out) {
        tall.multiply(packed.data<T>(), nullptr, columns.data<T>());
        Matrices(*q).store_columns(i, columns.data<T>(), m);
      }
    }
    *r_out = r.detach();
    if (q_out)
      *q_out = q.detach();
    return;
  }
  const int k = static_cast<int>(rank), wide = static_cast<int>(inner);
  const Array packed = scratch<T>(ma.rows * std::max(ma.columns, inner)), tau = scratch<T>(rank);
  T answers[2] = {};
  int info = 0, size = -1;
  Lapack<T>::geqrf(&m, &n, packed.data<T>(), &leading, tau.data<T>(), &answers[0], &size, &info);
  if (q_out)
    Lapack<T>::ungqr(&m, &wide, &k, packed.data<T>(), &leading, tau.data<T>(), &answers[1], &size, &info);
  size = std::max({work_size(answers[0]), work_size(answers[1]), n, wide});
  const Array work = scratch<T>(size);
  for (int64_t i = 0; i < ma.count; ++i) {
    ma.load_columns(i, packed.data<T>());
    if (rank > 0) {
      Lapack<T>::geqrf(&m, &n, packed.data<T>(), &leading, tau.data<T>(), work.data<T>(), &size, &info);
      check_arguments("geqrf", info);
    }
    T *to = r.data<T>() + i * inner * ma.columns;
    for (int64_t row = 0; row < inner; ++row)
      for (int64_t column = 0; column < ma.columns; ++column)
        to[row * ma.columns + column] = row <= column ? packed.data<T>()[row + column * ma.rows] : T{};
    if (q_out && inner > 0) {
      Lapack<T>::ungqr(&m, &wide, &k, packed.data<T>(), &leading, tau.data<T>(), work.data<T>(), &size, &info);
      check_arguments("ungqr", info);
      Matrices(*q).store_columns(i, packed.data<T>(), m);
    }
  }
  *r_out = r.detach();
  if (q_out)
    *q_out = q.detach();
}

template <class T>
void lstsq(pg_array *x_out, pg_array *residuals_out, pg_array *s_out, int32_t *rank, const pg_array &a,
           const pg_array &b, double rcond, int32_t *collect) {
  using R = real_t<T>;
  const Matrices ma(a), mb(b);
  const int k = static_cast<int>(mb.columns);
  int m = static_cast<int>(ma.rows), n = static_cast<int>(ma.columns);
  const int64_t tall = std::max({ma.rows, ma.columns, int64_t{1}});
  const int ldb = static_cast<int>(tall), least = std::min(m, n);
  const int64_t x_shape[] = {ma.columns, mb.columns}, s_shape[] = {least};
  Array x = array::create(dtype_of<T>, x_shape, false, collect),
        s = array::create(dtype_of<R>, s_shape, false, collect);
  Array matrix = scratch<T>(ma.rows * ma.columns);
  const Array sides = scratch<T>(tall * mb.columns);
  ma.load_columns(0, matrix.data<T>());
  mb.load_columns(0, sides.data<T>(), tall);
  require_finite("lstsq", ma, 0, matrix.data<T>());
  if (TallQr<T>::pays(m, n) && k > 0) { // R and Q^H b in place of A and b; what is below of Q^H b is the remainder
    const TallQr<T> qr(m, n);
    qr.factor(matrix.data<T>());
    qr.apply(matrix.data<T>(), true, sides.data<T>(), k);
    Array r = scratch<T>(int64_t{n} * n);
    qr.copy_r(matrix.data<T>(), r.data<T>());
    matrix = std::move(r);
    m = n;
  }
  // And of a wide matrix, A = R^H Q^H: R^H y = b, and x = Q y is the shortest.
  std::optional<TallQr<T>> wide;
  Array vectors;
  if (TallQr<T>::pays(n, m) && k > 0) {
    wide.emplace(n, m);
    vectors = scratch<T>(ma.rows * ma.columns);
    ma.load_rows(0, vectors.data<T>());
    if constexpr (is_complex_v<T>)
      for (int64_t i = 0; i < ma.rows * ma.columns; ++i)
        vectors.data<T>()[i] = std::conj(vectors.data<T>()[i]);
    wide->factor(vectors.data<T>());
    Array r = scratch<T>(int64_t{m} * m);
    wide->copy_r(vectors.data<T>(), r.data<T>());
    matrix = scratch<T>(int64_t{m} * m);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < m; ++j)
        if constexpr (is_complex_v<T>)
          matrix.data<T>()[i + j * m] = std::conj(r.data<T>()[j + i * m]);
        else
          matrix.data<T>()[i + j * m] = r.data<T>()[j + i * m];
    n = m;
  }
  const int lda = std::max(m, 1);
  int info = 0, rank_found = 0;
  if (least > 0 && k > 0) {
    const R limit = static_cast<R>(rcond);
    T answer{};
    R real_answer{};
    int integer_answer = 0, size = -1;
    if constexpr (is_complex_v<T>)
      Lapack<T>::gelsd(&m, &n, &k, matrix.data<T>(), &lda, sides.data<T>(), &ldb, s.data<R>(), &limit, &rank_found,
                       &answer, &size, &real_answer, &integer_answer, &info);
    else
      Lapack<T>::gelsd(&m, &n, &k, matrix.data<T>(), &lda, sides.data<T>(), &ldb, s.data<R>(), &limit, &rank_found,
                       &answer, &size, &integer_answer, &info);
    size = work_size(answer);
    const Array work = scratch<T>(size), integers = scratch<float>(std::max(integer_answer, 1));
    auto *iwork = reinterpret_cast<int *>(integers.data<float>());
    if constexpr (is_complex_v<T>) {
      const Array rwork = scratch<R>(work_size(real_answer));
      Lapack<T>::gelsd(&m, &n, &k, matrix.data<T>(), &lda, sides.data<T>(), &ldb, s.data<R>(), &limit, &rank_found,
                       work.data<T>(), &size, rwork.data<R>(), iwork, &info);
    } else {
      Lapack<T>::gelsd(&m, &n, &k, matrix.data<T>(), &lda, sides.data<T>(), &ldb, s.data<R>(), &limit, &rank_found,
                       work.data<T>(), &size, iwork, &info);
    }
    check_arguments("gelsd", info);
    if (info > 0)
      throw ArgumentError("lstsq: the singular values did not converge");
  } else {
    std::fill_n(sides.data<T>(), tall * mb.columns, T{});
  }
  if (wide) {
    for (int64_t j = 0; j < k; ++j)
      std::fill_n(sides.data<T>() + j * tall + n, ma.columns - n, T{});
    wide->apply(vectors.data<T>(), false, sides.data<T>(), k);
  }
  Matrices(*x).store_columns(0, sides.data<T>(), tall);
  const int64_t known = rank_found == ma.columns && ma.rows > ma.columns
                            ? mb.columns
                            : 0; // else there is no remainder, or no unique answer
  Array residuals = array::create(dtype_of<R>, {&known, 1}, false, collect);
  for (int64_t j = 0; j < known; ++j) {
    R sum = 0;
    for (int64_t i = ma.columns; i < ma.rows; ++i)
      sum += std::norm(sides.data<T>()[j * tall + i]);
    residuals.data<R>()[j] = sum;
  }
  *rank = rank_found;
  *x_out = x.detach();
  *s_out = s.detach();
  *residuals_out = residuals.detach();
}

} // namespace
} // namespace perigee::linalg

using namespace perigee;
using namespace perigee::linalg;

extern "C" {

int32_t pg_linalg_solve(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b) {
  return guard([&] {
    require_square("solve", *a);
    require_matrix("solve", *b);
    if (a->_dtype != b->_dtype || work_dtype(a->_dtype) != a->_dtype || a->_ndim != b->_ndim)
      throw InternalError("solve with operands that do not match");
    if (a->_shape[a->_ndim - 1] != b->_shape[b->_ndim - 2])
      throw ArgumentError("solve: a matrix of shape " + array::shape_text(*a) + " needs right-hand sides of " +
                          std::to_string(a->_shape[a->_ndim - 1]) + " rows, got " +
                          std::to_string(b->_shape[b->_ndim - 2]));
    const ThreadBudget budget;
    visit(a->_dtype, [&]<class T>(std::type_identity<T>) { *out = solve<T>(*a, *b, collect).detach(); });
    describe("solve", *a, 2.0 / 3);
  });
}

int32_t pg_linalg_inv(pg_array *out, int32_t *collect, const pg_array *a) {
  return guard([&] {
    require_square("inv", *a);
    const ThreadBudget budget;
    const Array w = in_work_type(*a, collect);
    visit(w->_dtype, [&]<class T>(std::type_identity<T>) { *out = invert<T>(*w, collect).detach(); });
    describe("inv", *a, 2);
  });
}

int32_t pg_linalg_det(pg_array *out, int32_t *collect, pg_array *logarithm, const pg_array *a) {
  return guard([&] {
    require_square(logarithm ? "slogdet" : "det", *a);
    const ThreadBudget budget;
    const Array w = in_work_type(*a, collect);
    visit(w->_dtype, [&]<class T>(std::type_identity<T>) {
      Array log;
      Array result = determinant<T>(*w, logarithm ? &log : nullptr, collect);
      if (logarithm)
        *logarithm = log.detach();
      *out = result.detach();
    });
    describe("det", *a, 2.0 / 3);
  });
}

int32_t pg_linalg_cholesky(pg_array *out, int32_t *collect, const pg_array *a, int32_t upper) {
  return guard([&] {
    require_square("cholesky", *a);
    const ThreadBudget budget;
    const Array w = in_work_type(*a, collect);
    visit(w->_dtype, [&]<class T>(std::type_identity<T>) { *out = cholesky<T>(*w, upper != 0, collect).detach(); });
    describe("cholesky", *a, 1.0 / 3);
  });
}

int32_t pg_linalg_qr(pg_array *r, int32_t *collect, pg_array *q, const pg_array *a, int32_t complete) {
  return guard([&] {
    require_matrix("qr", *a);
    const ThreadBudget budget;
    const Array w = in_work_type(*a, collect);
    visit(w->_dtype, [&]<class T>(std::type_identity<T>) { qr<T>(q, r, *w, complete != 0, collect); });
    describe("qr", *a, 2);
  });
}

int32_t pg_linalg_lstsq(pg_array *x, int32_t *collect, pg_array *residuals, pg_array *s, int32_t *rank,
                        const pg_array *a, const pg_array *b, double rcond) {
  return guard([&] {
    if (a->_ndim != 2 || b->_ndim != 2 || a->_dtype != b->_dtype || work_dtype(a->_dtype) != a->_dtype)
      throw InternalError("lstsq with operands that do not match");
    if (a->_shape[0] != b->_shape[0])
      throw ArgumentError("lstsq: a matrix of shape " + array::shape_text(*a) + " needs right-hand sides of " +
                          std::to_string(a->_shape[0]) + " rows, got " + std::to_string(b->_shape[0]));
    const ThreadBudget budget;
    visit(a->_dtype, [&]<class T>(std::type_identity<T>) { lstsq<T>(x, residuals, s, rank, *a, *b, rcond, collect); });
    describe("lstsq", *a, 2);
  });
}
}
