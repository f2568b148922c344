// Linear algebra through the plugin's C ABI: identities that hold whatever the algorithm (A = QR, A = U S Vh, A V = V
// W), for four dtypes, odd sizes, wide and tall, batches, strided inputs; norms and distances against plain loops;
// errors.
#include "array_helpers.hpp"
#include "core/threads.hpp"
#include "plugin_functions.hpp"

#include <cmath>
#include <complex>
#include <limits>

extern "C" {
#include "linalg/linalg_abi.h"
}

using namespace perigee;
using namespace perigee::array;

namespace {

using C = std::complex<double>;
constexpr int32_t dtypes[] = {PG_FLOAT32, PG_FLOAT64, PG_COMPLEX64, PG_COMPLEX128};
constexpr double inf = std::numeric_limits<double>::infinity(), not_a_number = std::numeric_limits<double>::quiet_NaN();

const PluginFunctions &plugin() {
  static const PluginFunctions functions("linalg");
  return functions;
}

int32_t collect = 0;

// Calls a function that makes one array.
template <class Function, class... Arguments> Array made(Function *function, const Arguments &...arguments) {
  pg_array out{};
  const int32_t status = function(&out, &collect, arguments...);
  INFO(pg_last_message());
  REQUIRE(status == PG_OK);
  return Array::adopt(out);
}

// A matrix in plain memory: what the tests compute with.
struct Matrix {
  int64_t rows, columns;
  std::vector<C> values;
  Matrix(int64_t m, int64_t n) : rows(m), columns(n), values(static_cast<std::size_t>(m * n)) {}
  C &operator()(int64_t i, int64_t j) { return values[static_cast<std::size_t>(i * columns + j)]; }
  const C &operator()(int64_t i, int64_t j) const { return values[static_cast<std::size_t>(i * columns + j)]; }
};

Matrix operator*(const Matrix &a, const Matrix &b) {
  REQUIRE(a.columns == b.rows);
  Matrix c(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t k = 0; k < a.columns; ++k)
      for (int64_t j = 0; j < b.columns; ++j)
        c(i, j) += a(i, k) * b(k, j);
  return c;
}
Matrix adjoint(const Matrix &a) {
  Matrix t(a.columns, a.rows);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.columns; ++j)
      t(j, i) = std::conj(a(i, j));
  return t;
}
Matrix identity(int64_t n) {
  Matrix e(n, n);
  for (int64_t i = 0; i < n; ++i)
    e(i, i) = 1;
  return e;
}
double distance(const Matrix &a, const Matrix &b) {
  REQUIRE(a.rows == b.rows);
  REQUIRE(a.columns == b.columns);
  double worst = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    const double d = std::abs(a.values[i] - b.values[i]);
    worst = d > worst || d != d ? d : worst;
  }
  return worst;
}

C element(const pg_array &a, int64_t offset) {
  switch (a._dtype) {
  case PG_FLOAT32:
    return static_cast<const float *>(a._data)[offset];
  case PG_FLOAT64:
    return static_cast<const double *>(a._data)[offset];
  case PG_COMPLEX64:
    return C(static_cast<const std::complex<float> *>(a._data)[offset]);
  case PG_COMPLEX128:
    return static_cast<const C *>(a._data)[offset];
  default:
    return get(a, offset); // row-major ones only
  }
}

// Matrix number `index` of a batch; a vector is one column.
Matrix read(const pg_array &a, int64_t index = 0) {
  const int n = a._ndim;
  const int64_t rows = n > 1 ? a._shape[n - 2] : n == 1 ? a._shape[0] : 1, columns = n > 1 ? a._shape[n - 1] : 1;
  Matrix m(rows, columns);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      m(i, j) = element(a, n > 1 ? (n > 2 ? index * a._strides[0] : 0) + i * a._strides[n - 2] + j * a._strides[n - 1]
                           : n == 1 ? i * a._strides[0]
                                    : 0);
  return m;
}

Array noise(int32_t dtype, std::vector<int64_t> shape, unsigned seed) {
  Array a = create(dtype, shape);
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  const bool single = dtype == PG_FLOAT32 || dtype == PG_COMPLEX64;
  for (int64_t i = 0; i < a->_size * (is_complex(dtype) ? 2 : 1); ++i)
    if (single)
      a.data<float>()[i] = static_cast<float>(uniform(generator));
    else
      a.data<double>()[i] = uniform(generator);
  return a;
}
void add_to_diagonal(const Array &a, double value) {
  const int64_t n = a->_shape[a->_ndim - 1];
  for (int64_t i = 0; i < a->_size; i += n * n)
    for (int64_t j = 0; j < n; ++j) {
      const int64_t at = i + j * (n + 1);
      switch (a->_dtype) {
      case PG_FLOAT32:
        a.data<float>()[at] += static_cast<float>(value);
        break;
      case PG_FLOAT64:
        a.data<double>()[at] += value;
        break;
      case PG_COMPLEX64:
        a.data<std::complex<float>>()[at] += static_cast<float>(value);
        break;
      default:
        a.data<C>()[at] += value;
      }
    }
}
double tolerance(int32_t dtype, int64_t n) {
  return (dtype == PG_FLOAT32 || dtype == PG_COMPLEX64 ? 2e-6 : 4e-15) * static_cast<double>(n + 8);
}

// The same elements in the layouts that views have.
std::vector<pg_array> layouts(const Array &a) {
  return {*a, reversed(a), transposed(a)};
}

} // namespace

TEST_CASE("linalg: products of any layout equal a plain loop", "[linalg]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_matmul);
  const int64_t sizes[][3] = {{1, 1, 1}, {1, 7, 1},    {5, 1, 3},    {1, 9, 4},
                              {6, 5, 1}, {13, 17, 11}, {33, 33, 33}, {40, 3, 64}};
  for (const int32_t dtype : dtypes)
    for (const auto &[m, k, n] : sizes) {
      const Array a = noise(dtype, {m, k}, 1), b = noise(dtype, {k, n}, 2), at = noise(dtype, {k, m}, 3),
                  bt = noise(dtype, {n, k}, 4);
      INFO(dtype_name(dtype) << " " << m << " x " << k << " x " << n);
      for (const pg_array &left : {*a, reversed(a), transposed(at)})
        for (const pg_array &right : {*b, reversed(b), transposed(bt)})
          CHECK(distance(read(*made(pg_linalg_matmul, &left, &right)), read(left) * read(right)) < tolerance(dtype, k));
    }
  // Every shape of tile that small products are cut into (small_product.inc), with rows of b apart.
  for (const int32_t dtype : {PG_FLOAT32, PG_FLOAT64})
    for (int64_t n = 1; n <= 140; n = n < 70 ? n + 1 : n + 13)
      for (int64_t m = 2; m <= 14; m += n % 3 + 1) {
        const Array left = noise(dtype, {m, 5}, 9), wide = noise(dtype, {5, n + 3}, 10),
                    tall = noise(dtype, {5, m}, 11);
        pg_array right = *wide;
        right._shape[1] = n;
        right._size = 5 * n;
        INFO(dtype_name(dtype) << " " << m << " x 5 x " << n);
        for (const pg_array &l : {*left, transposed(tall)})
          REQUIRE(distance(read(*made(pg_linalg_matmul, &l, &right)), read(l) * read(right)) < tolerance(dtype, 5));
      }
  // Of a matrix and its transpose, which comes out symmetric; with a gap between rows; of batches, one side repeated.
  const Array a = noise(PG_FLOAT64, {37, 20}, 5);
  const pg_array t = transposed(a);
  const Matrix square = read(*made(pg_linalg_matmul, a.get(), &t));
  CHECK(distance(square, read(*a) * read(t)) < 1e-13);
  CHECK(distance(square, adjoint(square)) == 0);
  pg_array part = *a;
  part._shape[1] = 9;
  part._size = 37 * 9;
  const pg_array part_t = [&] {
    pg_array v = part;
    std::swap(v._shape[0], v._shape[1]);
    std::swap(v._strides[0], v._strides[1]);
    return v;
  }();
  CHECK(distance(read(*made(pg_linalg_matmul, &part_t, &part)), read(part_t) * read(part)) < 1e-13);
  const Array batch = noise(PG_FLOAT64, {3, 4, 37}, 6);
  const Array products = made(pg_linalg_matmul, batch.get(), a.get());
  REQUIRE(products->_ndim == 3);
  for (int64_t i = 0; i < 3; ++i)
    CHECK(distance(read(*products, i), read(*batch, i) * read(*a)) < 1e-13);
  // Nothing to add up gives zeros; dtypes meet.
  const Array empty = made(pg_linalg_matmul, create(PG_FLOAT64, std::vector<int64_t>{2, 0}).get(),
                           create(PG_FLOAT64, std::vector<int64_t>{0, 3}).get());
  CHECK(distance(read(*empty), Matrix(2, 3)) == 0);
  const Array mixed = made(pg_linalg_matmul, noise(PG_FLOAT32, {2, 3}, 7).get(), noise(PG_COMPLEX128, {3, 2}, 8).get());
  CHECK(mixed->_dtype == PG_COMPLEX128);
}

TEST_CASE("linalg: A = Q R", "[linalg]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_qr);
  const int64_t sizes[][2] = {{1, 1}, {5, 5}, {7, 3}, {3, 7}, {64, 9}, {33, 32}, {150, 20}};
  for (const int32_t dtype : dtypes)
    for (const auto &[m, n] : sizes)
      for (const int32_t complete : {0, 1}) {
        const Array a = noise(dtype, {m, n}, 11);
        for (const pg_array &view : layouts(a)) {
          INFO(dtype_name(dtype) << " " << view._shape[0] << " x " << view._shape[1] << " complete " << complete);
          pg_array q{};
          const Array r = made(pg_linalg_qr, &q, &view, complete);
          const Matrix left = read(*Array::adopt(q)), right = read(*r);
          const int64_t k = complete ? view._shape[0] : std::min(view._shape[0], view._shape[1]);
          REQUIRE(left.columns == k);
          CHECK(distance(left * right, read(view)) < tolerance(dtype, m));
          CHECK(distance(adjoint(left) * left, identity(k)) < tolerance(dtype, m));
          double below = 0;
          for (int64_t i = 0; i < right.rows; ++i)
            for (int64_t j = 0; j < std::min(i, right.columns); ++j)
              below = std::max(below, std::abs(right(i, j)));
          CHECK(below == 0);
        }
      }
}

TEST_CASE("linalg: A = U S Vh, and the inverse that it gives", "[linalg]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_svd);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_pinv);
  const int64_t sizes[][2] = {{1, 1}, {1, 6}, {6, 1}, {9, 9}, {21, 4}, {4, 21}, {120, 15}, {15, 120}};
  for (const int32_t dtype : dtypes)
    for (const auto &[m, n] : sizes) {
      const Array a = noise(dtype, {m, n}, 12);
      for (const pg_array &view : layouts(a)) {
        const int64_t rows = view._shape[0], columns = view._shape[1], least = std::min(rows, columns);
        INFO(dtype_name(dtype) << " " << rows << " x " << columns);
        const Matrix original = read(view);
        Matrix values(0, 0);
        for (const int32_t full : {0, 1}) {
          pg_array u{}, vh{};
          const Array s = made(pg_linalg_svd, &u, &vh, &view, full);
          const Matrix left = read(*Array::adopt(u)), right = read(*Array::adopt(vh));
          values = read(*s);
          REQUIRE(left.columns == (full ? rows : least));
          REQUIRE(right.rows == (full ? columns : least));
          Matrix diagonal(left.columns, right.rows);
          bool descending = true;
          for (int64_t i = 0; i < least; ++i) {
            diagonal(i, i) = values(i, 0);
            descending &= values(i, 0).real() >= (i + 1 < least ? values(i + 1, 0).real() : 0);
          }
          CHECK(descending);
          CHECK(distance(left * diagonal * right, original) < tolerance(dtype, m + n));
          CHECK(distance(adjoint(left) * left, identity(left.columns)) < tolerance(dtype, m + n));
          CHECK(distance(right * adjoint(right), identity(right.rows)) < tolerance(dtype, m + n));
        }
        const Array alone =
            made(pg_linalg_svd, static_cast<pg_array *>(nullptr), static_cast<pg_array *>(nullptr), &view, 0);
        CHECK(distance(read(*alone), values) < tolerance(dtype, m + n));
        // Penrose: A X A = A, and A X is Hermitian. (Its condition is at most a few hundred here.)
        const Matrix x = read(*made(pg_linalg_pinv, &view, 1e-6));
        CHECK(distance(original * x * original, original) < 100 * tolerance(dtype, m + n));
        CHECK(distance(original * x, adjoint(original * x)) < 100 * tolerance(dtype, m + n));
      }
    }
}

TEST_CASE("linalg: eigenvalues and eigenvectors", "[linalg]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_eigh);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_eig);
  for (const int32_t dtype : dtypes)
    for (const int64_t n : {1, 2, 7, 32, 45}) {
      INFO(dtype_name(dtype) << " " << n);
      const Array a = noise(dtype, {n, n}, 13);
      const Matrix all = read(*a);
      for (const int32_t upper : {0, 1}) {
        // What the other triangle holds does not matter.
        Matrix hermitian(n, n);
        for (int64_t i = 0; i < n; ++i)
          for (int64_t j = 0; j < n; ++j)
            hermitian(i, j) = i == j ? C(all(i, j).real()) : (j > i) == (upper != 0) ? all(i, j) : std::conj(all(j, i));
        pg_array v{};
        const Array w = made(pg_linalg_eigh, &v, a.get(), upper);
        const Matrix values = read(*w), vectors = read(*Array::adopt(v));
        Matrix scaled = vectors;
        bool ascending = true;
        for (int64_t j = 0; j < n; ++j) {
          ascending &= j == 0 || values(j - 1, 0).real() <= values(j, 0).real();
          for (int64_t i = 0; i < n; ++i)
            scaled(i, j) *= values(j, 0);
        }
        CHECK(ascending);
        CHECK(distance(hermitian * vectors, scaled) < 4 * tolerance(dtype, n));
        CHECK(distance(adjoint(vectors) * vectors, identity(n)) < tolerance(dtype, n));
      }
      pg_array v{};
      const Array w = made(pg_linalg_eig, &v, a.get());
      const Matrix values = read(*w), vectors = read(*Array::adopt(v));
      Matrix scaled = vectors;
      C sum = 0, trace = 0;
      for (int64_t j = 0; j < n; ++j) {
        sum += values(j, 0);
        trace += all(j, j);
        for (int64_t i = 0; i < n; ++i)
          scaled(i, j) *= values(j, 0);
      }
      CHECK(distance(all * vectors, scaled) < 16 * tolerance(dtype, n));
      CHECK(std::abs(sum - trace) < 16 * tolerance(dtype, n));
    }
  // Values of a real matrix are real where all are.
  const Array diagonal = make(PG_FLOAT64, {3, 3});
  add_to_diagonal(diagonal, 2);
  CHECK(made(pg_linalg_eig, static_cast<pg_array *>(nullptr), diagonal.get())->_dtype == PG_FLOAT64);
}

TEST_CASE("linalg: systems of equations, inverses, determinants, Cholesky", "[linalg]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_solve);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_inv);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_det);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_cholesky);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_lstsq);
  for (const int32_t dtype : dtypes)
    for (const int64_t n : {1, 2, 9, 25}) { // (determinants of float32 overflow soon)
      INFO(dtype_name(dtype) << " " << n);
      const Array a = noise(dtype, {2, n, n}, 14), b = noise(dtype, {2, n, 3}, 15);
      add_to_diagonal(a, 4 + std::sqrt(static_cast<double>(n)));
      const Array x = made(pg_linalg_solve, a.get(), b.get()), inverse = made(pg_linalg_inv, a.get()),
                  determinants = made(pg_linalg_det, static_cast<pg_array *>(nullptr), a.get()),
                  of_inverse = made(pg_linalg_det, static_cast<pg_array *>(nullptr), inverse.get());
      pg_array logarithms{};
      const Array signs = made(pg_linalg_det, &logarithms, a.get());
      const Array owned = Array::adopt(logarithms);
      for (int64_t i = 0; i < 2; ++i) {
        const Matrix m = read(*a, i);
        CHECK(distance(m * read(*x, i), read(*b, i)) < 4 * tolerance(dtype, n));
        CHECK(distance(m * read(*inverse, i), identity(n)) < 4 * tolerance(dtype, n));
        const C product = element(*determinants, i) * element(*of_inverse, i);
        CHECK(std::abs(product - 1.0) < 100 * tolerance(dtype, n));
        const C again = element(*signs, i) * std::exp(element(*owned, i)), straight = element(*determinants, i);
        CHECK(std::abs(again - straight) <= 100 * tolerance(dtype, n) * std::abs(straight));
        // a^H a is positive definite.
        Array square = make(dtype, {n, n});
        const Matrix gram = adjoint(m) * m;
        for (int64_t k = 0; k < n * n; ++k) {
          const C value = gram.values[static_cast<std::size_t>(k)];
          if (dtype == PG_FLOAT32)
            square.data<float>()[k] = static_cast<float>(value.real());
          else if (dtype == PG_FLOAT64)
            square.data<double>()[k] = value.real();
          else if (dtype == PG_COMPLEX64)
            square.data<std::complex<float>>()[k] = std::complex<float>(value);
          else
            square.data<C>()[k] = value;
        }
        const Matrix lower = read(*made(pg_linalg_cholesky, square.get(), 0)),
                     upper = read(*made(pg_linalg_cholesky, square.get(), 1));
        const double size = std::abs(gram(0, 0)) + static_cast<double>(n);
        CHECK(distance(lower * adjoint(lower), gram) < size * tolerance(dtype, n));
        CHECK(distance(adjoint(upper) * upper, gram) < size * tolerance(dtype, n));
      }
      // Least squares: what is left over stands at right angles on the columns.
      const Array tall = noise(dtype, {2 * n + 3, n}, 16), right = noise(dtype, {2 * n + 3, 2}, 17);
      pg_array residuals{}, s{};
      int32_t rank = 0;
      const Array best = made(pg_linalg_lstsq, &residuals, &s, &rank, tall.get(), right.get(), -1.0);
      const Array left_over = Array::adopt(residuals), values = Array::adopt(s);
      CHECK(rank == n);
      Matrix rest = read(*tall) * read(*best);
      for (std::size_t i = 0; i < rest.values.size(); ++i)
        rest.values[i] -= read(*right).values[i];
      CHECK(distance(adjoint(read(*tall)) * rest, Matrix(n, 2)) < 10 * tolerance(dtype, n));
      CHECK(left_over->_size == 2);
    }
}

TEST_CASE("linalg: norms equal plain loops", "[linalg]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_norm);
  const auto expected = [](const std::vector<C> &x, double p) {
    double total = p == -inf ? inf : 0;
    for (const C &v : x) {
      const double m = std::abs(v);
      if (std::isinf(p))
        total = m != m || total != total ? not_a_number : p > 0 ? std::max(total, m) : std::min(total, m);
      else
        total += p == 0 ? m != 0 : std::pow(m, p);
    }
    return std::isinf(p) || p == 0 ? total : std::pow(total, 1 / p);
  };
  const auto same = [](double a, double b, int32_t dtype) {
    const double most = dtype == PG_FLOAT32 || dtype == PG_COMPLEX64 ? 1e-6 : 1e-14;
    return a == b || (a != a && b != b) || std::abs(a - b) <= most * std::abs(b);
  };
  for (const int32_t dtype : dtypes)
    for (const int64_t n : {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 1025})
      for (const double p : {2.0, 1.0, 0.0, inf, -inf, 3.0, 0.5, 2.5}) {
        INFO(dtype_name(dtype) << " " << n << " order " << p);
        const Array a = noise(dtype, {n}, 18);
        CHECK(same(element(*made(pg_linalg_norm, a.get(), 1, p), 0).real(), expected(read(*a).values, p), dtype));
        pg_array back = reversed(a);
        CHECK(same(element(*made(pg_linalg_norm, &back, 1, p), 0).real(), expected(read(*a).values, p), dtype));
        pg_array every = *a; // second one
        every._shape[0] = every._size = (n + 1) / 2;
        every._strides[0] = 2;
        CHECK(same(element(*made(pg_linalg_norm, &every, 1, p), 0).real(), expected(read(every).values, p), dtype));
      }
  // NaN wins wherever it stands, and infinity is no NaN.
  for (const int32_t dtype : {PG_FLOAT32, PG_FLOAT64})
    for (int64_t n : {1, 16, 37})
      for (int64_t i = 0; i < n; ++i)
        for (const double p : {2.0, 1.0, inf, -inf}) {
          const Array a = noise(dtype, {n}, 19);
          put(*a, i, not_a_number);
          const double with_nan = element(*made(pg_linalg_norm, a.get(), 1, p), 0).real();
          CHECK(with_nan != with_nan);
          put(*a, i, -inf);
          const double with_inf = element(*made(pg_linalg_norm, a.get(), 1, p), 0).real();
          CHECK(same(with_inf, expected(read(*a).values, p), dtype));
        }
  // Along either axis; of all; too large and too small to be squared.
  const Array m = noise(PG_FLOAT64, {5, 7}, 20);
  for (const double p : {2.0, 1.0, inf, -inf})
    for (const pg_array &view : layouts(m)) {
      const Matrix values = read(view);
      const Array rows = made(pg_linalg_norm, &view, 1, p);
      for (int64_t i = 0; i < values.rows; ++i) {
        std::vector<C> row(values.values.begin() + i * values.columns,
                           values.values.begin() + (i + 1) * values.columns);
        CHECK(same(element(*rows, i).real(), expected(row, p), PG_FLOAT64));
      }
      CHECK(same(element(*made(pg_linalg_norm, &view, 2, p), 0).real(), expected(values.values, p), PG_FLOAT64));
    }
  for (const double size : {1e200, 1e-200}) {
    const Array a = make(PG_FLOAT64, {40});
    for (int64_t i = 0; i < 40; ++i)
      put(*a, i, size);
    CHECK(element(*made(pg_linalg_norm, a.get(), 1, 2.0), 0).real() == Approx(size * std::sqrt(40.0)).epsilon(1e-14));
  }
}

TEST_CASE("linalg: distances equal plain loops", "[linalg]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_cdist);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_pdist);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_squareform);
  const auto between = [](const Matrix &a, int64_t i, const Matrix &b, int64_t j, int32_t metric) {
    double sum = 0, most = 0, power = 0, city = 0, dot = 0, aa = 0, bb = 0;
    for (int64_t c = 0; c < a.columns; ++c) {
      const double x = a(i, c).real(), y = b(j, c).real(), d = std::fabs(x - y);
      sum += d * d;
      city += d;
      most = d > most || d != d || most != most ? (most != most ? most : d) : most;
      power += std::pow(d, 3);
      dot += x * y;
      aa += x * x;
      bb += y * y;
    }
    return metric == PG_EUCLIDEAN     ? std::sqrt(sum)
           : metric == PG_SQEUCLIDEAN ? sum
           : metric == PG_CITYBLOCK   ? city
           : metric == PG_CHEBYSHEV   ? most
           : metric == PG_MINKOWSKI   ? std::cbrt(power)
                                      : 1 - dot / std::sqrt(aa * bb);
  };
  for (const int64_t d : {1, 2, 5})
    for (const int64_t n : {1, 2, 7, 8, 9, 21}) {
      const Array a = noise(PG_FLOAT64, {6, d}, 21), b = noise(PG_FLOAT64, {n, d}, 22);
      const Matrix x = read(*a), y = read(*b);
      for (int32_t metric = PG_EUCLIDEAN; metric <= PG_COSINE; ++metric) {
        INFO("metric " << metric << " n " << n << " d " << d);
        const Matrix all = read(*made(pg_linalg_cdist, a.get(), b.get(), metric, 3.0));
        double worst = 0;
        for (int64_t i = 0; i < 6; ++i)
          for (int64_t j = 0; j < n; ++j)
            worst = std::max(worst, std::abs(all(i, j) - between(x, i, y, j, metric)));
        CHECK(worst < 1e-14);
        const Array pairs = made(pg_linalg_pdist, b.get(), metric, 3.0);
        REQUIRE(pairs->_size == n * (n - 1) / 2);
        const Matrix square = read(*made(pg_linalg_squareform, pairs.get()));
        worst = 0;
        for (int64_t i = 0; i < n; ++i)
          for (int64_t j = 0; j < n; ++j)
            worst = std::max(worst, std::abs(square(i, j) - (i == j ? 0 : between(y, i, y, j, metric))));
        CHECK(worst < 1e-14);
      }
    }
  // NaN wins, whichever coordinate it is.
  for (int64_t c = 0; c < 3; ++c) {
    const Array a = noise(PG_FLOAT64, {1, 3}, 23), b = noise(PG_FLOAT64, {11, 3}, 24);
    put(*b, 4 * 3 + c, not_a_number);
    const Matrix all = read(*made(pg_linalg_cdist, a.get(), b.get(), PG_CHEBYSHEV, 2.0));
    for (int64_t j = 0; j < 11; ++j)
      CHECK(std::isnan(all(0, j).real()) == (j == 4));
  }
}

TEST_CASE("linalg: results do not depend on the number of threads beyond rounding", "[linalg]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_matmul);
  const int before = core::thread_count();
  const Array a = noise(PG_FLOAT64, {150, 160}, 25), b = noise(PG_FLOAT64, {160, 140}, 26);
  core::set_thread_count(1);
  const Array one = made(pg_linalg_matmul, a.get(), b.get());
  core::set_thread_count(2);
  const Array two = made(pg_linalg_matmul, a.get(), b.get());
  core::set_thread_count(before);
  CHECK(distance(read(*one), read(*two)) < 1e-12);
}

TEST_CASE("linalg: what has no solution is an error that says so", "[linalg]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_solve);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_inv);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_cholesky);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_svd);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_eigh);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_matmul);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_norm);
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_linalg_squareform);
  pg_array out{}, other{};
  const auto contains = [](int32_t status, const char *text) {
    const std::string said = message(status);
    INFO(said);
    CHECK(said.find(text) != std::string::npos);
  };
  const Array zeros = make(PG_FLOAT64, {3, 3}), flat = make(PG_FLOAT64, {2, 3}), line = make(PG_FLOAT64, {4});
  contains(pg_linalg_inv(&out, &collect, zeros.get()), "singular");
  contains(pg_linalg_solve(&out, &collect, zeros.get(), zeros.get()), "singular");
  contains(pg_linalg_cholesky(&out, &collect, zeros.get(), 0), "positive definite");
  contains(pg_linalg_inv(&out, &collect, flat.get()), "square");
  contains(pg_linalg_svd(&out, &collect, nullptr, nullptr, line.get(), 0), "dimension");
  contains(pg_linalg_eigh(&out, &collect, &other, flat.get(), 0), "square");
  contains(pg_linalg_matmul(&out, &collect, zeros.get(), flat.get()), "3");
  contains(pg_linalg_norm(&out, &collect, make(PG_FLOAT64, {0}).get(), 1, -inf), "no elements");
  contains(pg_linalg_squareform(&out, &collect, line.get()), "4");
  const Array holes = make(PG_FLOAT64, {3, 3});
  put(*holes, 4, not_a_number);
  contains(pg_linalg_svd(&out, &collect, nullptr, nullptr, holes.get(), 0), "NaN");
  contains(pg_linalg_eigh(&out, &collect, &other, holes.get(), 0), "NaN");
  CHECK(out._block == nullptr);
  CHECK(other._block == nullptr);
}
