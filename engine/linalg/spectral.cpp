// Eigenvalues and singular values.
#include "linalg/lapack.hpp"
#include "linalg/linalg.hpp"

#include <cmath>
#include <optional>

namespace perigee::linalg {
namespace {

[[noreturn]] void not_converged(const char *function, const Matrices &m, int64_t index, int info) {
  throw ArgumentError(which(function, m, index) + "did not converge: " + std::to_string(info) +
                      " values were not found");
}

int *as_integers(const Array &a) {
  return reinterpret_cast<int *>(a.data<float>());
}

// A = U S Vh. A's rows read as columns are A^T = conj(V) S U^T: LAPACK's left vectors by columns are Vh by rows, and
// its right ones are U by rows, so that nothing is transposed. job: 'N' values only, 'S' slim, 'A' full.
template <class T>
void svd(const char *function, pg_array *u_out, pg_array *s_out, pg_array *vh_out, const pg_array &a, char job,
         int32_t *collect) {
  using R = real_t<T>;
  const Matrices ma(a);
  const int64_t least = std::min(ma.rows, ma.columns);
  const int64_t wide = job == 'A' ? ma.rows : least, tall = job == 'A' ? ma.columns : least;
  Array s = like_batch(a, dtype_of<R>, {least}, collect), u, vh;
  if (job != 'N') {
    u = like_batch(a, dtype_of<T>, {ma.rows, wide}, collect);
    vh = like_batch(a, dtype_of<T>, {tall, ma.columns}, collect);
  }
  if (least == 0 && job == 'A') { // identities
    for (Array *each : {&u, &vh}) {
      std::fill_n(each->data<T>(), (*each)->_size, T{});
      const int64_t n = (*each)->_shape[(*each)->_ndim - 1];
      for (int64_t i = 0; n > 0 && i < (*each)->_size; i += n * n)
        for (int64_t j = 0; j < n; ++j)
          each->data<T>()[i + j * (n + 1)] = 1;
    }
  }
  if (least > 0 && ma.count > 0) {
    const bool upright = ma.rows > ma.columns;
    const int m = static_cast<int>(upright ? ma.rows : ma.columns), n = static_cast<int>(least);
    // LAPACK's U is m x m or m x n, its V n x n, whichever of ours they are. Of a tall matrix R takes its place.
    const bool reduces = job != 'A' && TallQr<T>::pays(m, n);
    const int height = reduces ? n : m, ldvt = n, ignored = 1;
    const int64_t long_side = job == 'A' ? m : n;
    Array turned_u, turned_vh, r, u_of_r;
    if (upright && job != 'N') {
      turned_u = scratch<T>(m * long_side);
      turned_vh = scratch<T>(least * least);
    }
    const Array matrix = scratch<T>(ma.rows * ma.columns), integers = scratch<float>(8 * least);
    std::optional<TallQr<T>> tall_qr;
    if (reduces) {
      tall_qr.emplace(m, n);
      r = scratch<T>(least * least);
      u_of_r = scratch<T>(least * least);
    }
    T *decomposed = reduces ? r.data<T>() : matrix.data<T>();
    Array rwork;
    if constexpr (is_complex_v<T>)
      rwork = scratch<R>(job == 'N' ? 7 * least : least * std::max(5 * least + 7, 2 * int64_t{height} + 2 * least + 1));
    T answer{};
    int info = 0, size = -1;
    auto run = [&](T *left, T *right, R *values, T *work) {
      if constexpr (is_complex_v<T>)
        Lapack<T>::gesdd(&job, &height, &n, decomposed, &height, values, left, job == 'N' ? &ignored : &height, right,
                         job == 'N' ? &ignored : &ldvt, work, &size, rwork.data<R>(), as_integers(integers), &info);
      else
        Lapack<T>::gesdd(&job, &height, &n, decomposed, &height, values, left, job == 'N' ? &ignored : &height, right,
                         job == 'N' ? &ignored : &ldvt, work, &size, as_integers(integers), &info);
    };
    run(nullptr, nullptr, s.data<R>(), &answer);
    size = work_size(answer);
    const Array work = scratch<T>(size);
    for (int64_t i = 0; i < ma.count; ++i) {
      upright ? ma.load_columns(i, matrix.data<T>()) : ma.load_rows(i, matrix.data<T>());
      require_finite(function, ma, i, matrix.data<T>());
      T *left = nullptr, *right = nullptr;
      if (job != 'N') {
        left = upright ? turned_u.data<T>() : vh.data<T>() + i * tall * ma.columns;
        right = upright ? turned_vh.data<T>() : u.data<T>() + i * ma.rows * wide;
      }
      if (reduces) {
        tall_qr->factor(matrix.data<T>());
        tall_qr->copy_r(matrix.data<T>(), r.data<T>());
      }
      run(reduces ? u_of_r.data<T>() : left, right, s.data<R>() + i * least, work.data<T>());
      check_arguments("gesdd", info);
      if (info > 0)
        not_converged(function, ma, i, info);
      if (reduces && job != 'N')
        tall_qr->multiply(matrix.data<T>(), u_of_r.data<T>(), left);
      if (upright && job != 'N') {
        Matrices(*u).store_columns(i, left, m);
        Matrices(*vh).store_columns(i, right, n);
      }
    }
  }
  *s_out = s.detach();
  if (job != 'N') {
    *u_out = u.detach();
    *vh_out = vh.detach();
  }
}

template <class T> Array pinv(const pg_array &a, double rcond, int32_t *collect) {
  using R = real_t<T>;
  pg_array du{}, ds{}, dv{};
  svd<T>("pinv", &du, &ds, &dv, a, 'S', collect);
  const Array u = Array::adopt(du), s = Array::adopt(ds), vh = Array::adopt(dv);
  const Matrices ma(a);
  Array result = like_batch(a, dtype_of<T>, {ma.columns, ma.rows}, collect);
  const int64_t k = std::min(ma.rows, ma.columns);
  if (k == 0)
    return result;
  for (int64_t i = 0; i < ma.count; ++i) {
    const R *values = s.data<R>() + i * k;
    T *right = vh.data<T>() + i * k * ma.columns;
    for (int64_t j = 0; j < k; ++j) {
      const R scale = values[j] > static_cast<R>(rcond) * values[0] ? 1 / values[j] : 0;
      for (int64_t c = 0; c < ma.columns; ++c)
        right[j * ma.columns + c] *= scale;
    }
    gemm(CblasConjTrans, CblasConjTrans, static_cast<int>(ma.columns), static_cast<int>(ma.rows), static_cast<int>(k),
         right, static_cast<int>(ma.columns), u.data<T>() + i * ma.rows * k, static_cast<int>(k),
         result.data<T>() + i * ma.columns * ma.rows, static_cast<int>(ma.rows));
  }
  return result;
}

// Of symmetric or Hermitian matrices: only one triangle is read. Values ascend.
template <class T> void eigh(pg_array *w_out, pg_array *v_out, const pg_array &a, bool upper, int32_t *collect) {
  using R = real_t<T>;
  const char *function = v_out ? "eigh" : "eigvalsh";
  const Matrices ma(a);
  Array w = like_batch(a, dtype_of<R>, {ma.rows}, collect), v;
  if (v_out)
    v = like_batch(a, dtype_of<T>, {ma.rows, ma.rows}, collect);
  const int n = static_cast<int>(ma.rows);
  if (n > 0) {
    const Array matrix = scratch<T>(ma.rows * ma.rows);
    const char *job = v_out ? "V" : "N", *triangle = upper ? "U" : "L";
    T answer{};
    R real_answer{};
    int info = 0, integer_answer = 0, size = -1, integer_size = -1, real_size = -1;
    auto run = [&](R *values, T *work, R *rwork, int *iwork) {
      if constexpr (is_complex_v<T>)
        Lapack<T>::heevd(job, triangle, &n, matrix.data<T>(), &n, values, work, &size, rwork, &real_size, iwork,
                         &integer_size, &info);
      else
        Lapack<T>::heevd(job, triangle, &n, matrix.data<T>(), &n, values, work, &size, iwork, &integer_size, &info);
    };
    run(w.data<R>(), &answer, &real_answer, &integer_answer);
    size = work_size(answer);
    integer_size = std::max(integer_answer, 1);
    real_size = work_size(real_answer);
    const Array work = scratch<T>(size), rwork = scratch<R>(real_size), integers = scratch<float>(integer_size);
    for (int64_t i = 0; i < ma.count; ++i) {
      ma.load_columns(i, matrix.data<T>());
      // The triangle that is not read may hold anything.
      for (int64_t j = 0; j < n; ++j) {
        T *column = matrix.data<T>() + j * n;
        upper ? std::fill_n(column + j + 1, n - j - 1, T{}) : std::fill_n(column, j, T{});
      }
      require_finite(function, ma, i, matrix.data<T>());
      run(w.data<R>() + i * n, work.data<T>(), rwork.data<R>(), as_integers(integers));
      check_arguments("heevd", info);
      if (info > 0)
        not_converged(function, ma, i, info);
      if (v_out)
        Matrices(*v).store_columns(i, matrix.data<T>(), n);
    }
  }
  *w_out = w.detach();
  if (v_out)
    *v_out = v.detach();
}

// Of general matrices. Results of real matrices are real if every value is.
template <class T> void eig(pg_array *w_out, pg_array *v_out, const pg_array &a, int32_t *collect) {
  using R = real_t<T>;
  using Z = std::complex<R>;
  const char *function = v_out ? "eig" : "eigvals";
  const Matrices ma(a);
  Array w = like_batch(a, dtype_of<Z>, {ma.rows}, collect), v;
  if (v_out)
    v = like_batch(a, dtype_of<Z>, {ma.rows, ma.rows}, collect);
  const int n = static_cast<int>(ma.rows), ignored = 1;
  bool real = !is_complex_v<T>;
  if (n > 0 && ma.count > 0) {
    const Array matrix = scratch<T>(ma.rows * ma.rows), values = scratch<T>(2 * ma.rows), rwork = scratch<R>(2 * n);
    const Array vectors = scratch<T>(v_out ? ma.rows * ma.rows : 1);
    T answer{};
    int info = 0, size = -1;
    const char *job = v_out ? "V" : "N";
    auto run = [&](T *work) {
      if constexpr (is_complex_v<T>)
        Lapack<T>::geev("N", job, &n, matrix.data<T>(), &n, values.data<T>(), nullptr, &ignored, vectors.data<T>(), &n,
                        work, &size, rwork.data<R>(), &info);
      else
        Lapack<T>::geev("N", job, &n, matrix.data<T>(), &n, values.data<T>(), values.data<T>() + n, nullptr, &ignored,
                        vectors.data<T>(), &n, work, &size, &info);
    };
    run(&answer);
    size = work_size(answer);
    const Array work = scratch<T>(size);
    for (int64_t i = 0; i < ma.count; ++i) {
      ma.load_columns(i, matrix.data<T>());
      require_finite(function, ma, i, matrix.data<T>());
      run(work.data<T>());
      check_arguments("geev", info);
      if (info > 0)
        not_converged(function, ma, i, info);
      Z *to = w.data<Z>() + i * n, *rows = v_out ? v.data<Z>() + i * n * n : nullptr;
      const T *found = vectors.data<T>();
      if constexpr (is_complex_v<T>) {
        std::copy_n(values.data<T>(), n, to);
        if (v_out)
          Matrices(*v).store_columns(i, found, n);
      } else {
        const T *re = values.data<T>(), *im = re + n;
        for (int j = 0; j < n; ++j) {
          to[j] = {re[j], im[j]};
          real = real && im[j] == 0;
          // A pair of conjugate values shares two columns: the vector's real part and its imaginary part.
          for (int r = 0; v_out && r < n; ++r)
            rows[r * n + j] = im[j] == 0  ? Z{found[j * n + r], 0}
                              : im[j] > 0 ? Z{found[j * n + r], found[(j + 1) * n + r]}
                                          : Z{found[(j - 1) * n + r], -found[j * n + r]};
        }
      }
    }
  }
  if (real) {
    for (Array *each : {&w, &v}) {
      if (each == &v && !v_out)
        break;
      Array parts =
          array::create(dtype_of<R>, {(*each)->_shape, static_cast<std::size_t>((*each)->_ndim)}, false, collect);
      for (int64_t i = 0; i < parts->_size; ++i)
        parts.template data<R>()[i] = each->template data<Z>()[i].real();
      *each = std::move(parts);
    }
  }
  *w_out = w.detach();
  if (v_out)
    *v_out = v.detach();
}

} // namespace
} // namespace perigee::linalg

using namespace perigee;
using namespace perigee::linalg;

extern "C" {

int32_t pg_linalg_svd(pg_array *s, int32_t *collect, pg_array *u, pg_array *vh, const pg_array *a, int32_t full) {
  return guard([&] {
    require_matrix("svd", *a);
    const ThreadBudget budget;
    const Array w = in_work_type(*a, collect);
    visit(w->_dtype, [&]<class T>(std::type_identity<T>) {
      svd<T>("svd", u, s, vh, *w, !u ? 'N' : full ? 'A' : 'S', collect);
    });
    describe("svd", *a, 6);
  });
}

int32_t pg_linalg_pinv(pg_array *out, int32_t *collect, const pg_array *a, double rcond) {
  return guard([&] {
    require_matrix("pinv", *a);
    const ThreadBudget budget;
    const Array w = in_work_type(*a, collect);
    visit(w->_dtype, [&]<class T>(std::type_identity<T>) { *out = pinv<T>(*w, rcond, collect).detach(); });
    describe("pinv", *a, 8);
  });
}

int32_t pg_linalg_eigh(pg_array *w, int32_t *collect, pg_array *v, const pg_array *a, int32_t upper) {
  return guard([&] {
    require_square(v ? "eigh" : "eigvalsh", *a);
    const ThreadBudget budget;
    const Array work = in_work_type(*a, collect);
    visit(work->_dtype, [&]<class T>(std::type_identity<T>) { eigh<T>(w, v, *work, upper != 0, collect); });
    describe("eigh", *a, 9);
  });
}

int32_t pg_linalg_eig(pg_array *w, int32_t *collect, pg_array *v, const pg_array *a) {
  return guard([&] {
    require_square(v ? "eig" : "eigvals", *a);
    const ThreadBudget budget;
    const Array work = in_work_type(*a, collect);
    visit(work->_dtype, [&]<class T>(std::type_identity<T>) { eig<T>(w, v, *work, collect); });
    describe("eig", *a, 25);
  });
}
}
