// Vector mathematics against libm in the next wider type: 4 ulp at most, special values as libm's, every length and
// alignment, nothing written beside the output.
#include "array/vmath.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace perigee::array;

namespace {

template <class T> struct Wider;
template <> struct Wider<float> { using type = double; };
template <> struct Wider<double> { using type = long double; };

// |got - exact| in units of the spacing of T at exact.
template <class T> double ulps(T got, typename Wider<T>::type exact) {
  const T rounded = static_cast<T>(exact);
  if (std::isnan(exact) || std::isnan(got))
    return std::isnan(exact) && std::isnan(got) ? 0 : 1e9;
  if (std::isinf(rounded) || std::isinf(got)) {
    if (got == rounded)
      return 0;
    const T most = std::numeric_limits<T>::max(); // at the border of overflow either is near enough
    return std::abs(exact) >= most * (1 - 4 * std::numeric_limits<T>::epsilon()) && std::abs(got) >= most / 2 ? 1 : 1e9;
  }
  int exponent;
  std::frexp(rounded, &exponent);
  const int least = std::numeric_limits<T>::min_exponent;
  const auto spacing =
      std::ldexp(typename Wider<T>::type(1), std::max(exponent, least) - std::numeric_limits<T>::digits);
  return static_cast<double>(std::abs(got - exact) / spacing);
}

template <class T> std::vector<T> special() {
  using L = std::numeric_limits<T>;
  std::vector<T> values = {0,
                           1,
                           2,
                           3,
                           T(0.5),
                           T(1.5),
                           10,
                           T(0.1),
                           100,
                           T(1e4),
                           T(1e5),
                           T(1e6),
                           T(1e10),
                           T(1e30),
                           L::max(),
                           L::min(),
                           L::min() / 2,
                           L::denorm_min(),
                           L::epsilon(),
                           L::infinity(),
                           T(3.14159265358979323846),
                           T(1.57079632679489661923),
                           T(0.78539816339744830962),
                           T(71476),
                           T(71477),
                           T(700),
                           T(709.7),
                           T(88.7),
                           T(745),
                           T(104),
                           T(1) - L::epsilon() / 2,
                           T(1) + L::epsilon()};
  for (std::size_t i = 0, n = values.size(); i < n; ++i)
    values.push_back(-values[i]);
  values.push_back(L::quiet_NaN());
  return values;
}

struct Range {
  double low, high;
};

template <class T> std::vector<T> inputs(Range range, int count) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> values(range.low, range.high), exponents(-60, 60);
  std::vector<T> x = special<T>();
  for (int i = 0; i < count; ++i)
    x.push_back(T(values(random)));
  for (int i = 0; i < count / 4; ++i) // all magnitudes
    x.push_back(T(std::exp2(exponents(random)) * (i % 2 ? 1 : -1)));
  return x;
}

template <class T, class F> void check(const char *name, vmath::Unary<T> f, F exact, Range range) {
  using W = typename Wider<T>::type;
  REQUIRE(f);
  const std::vector<T> x = inputs<T>(range, 20000);
  std::vector<T> y(x.size());
  f(static_cast<int64_t>(x.size()), x.data(), y.data());
  double worst = 0;
  T at = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = ulps<T>(y[i], exact(W(x[i])));
    if (error > worst) {
      worst = error;
      at = x[i];
    }
  }
  INFO(name << (sizeof(T) == 4 ? " float32" : " float64") << " at " << double(at));
  CHECK(worst <= 4.0);
}

template <class T, class F> void check(const char *name, vmath::Binary<T> f, F exact, Range first, Range second) {
  using W = typename Wider<T>::type;
  REQUIRE(f);
  std::vector<T> x = inputs<T>(first, 20000), y;
  std::mt19937_64 random(8);
  std::uniform_real_distribution<double> values(second.low, second.high);
  for (std::size_t i = 0; i < x.size(); ++i)
    y.push_back(T(values(random)));
  for (T a : special<T>())
    for (T b : special<T>()) {
      x.push_back(a);
      y.push_back(b);
    }
  std::vector<T> z(x.size());
  f(static_cast<int64_t>(x.size()), x.data(), y.data(), z.data());
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = ulps<T>(z[i], exact(W(x[i]), W(y[i])));
    if (error > worst) {
      worst = error;
      at = i;
    }
  }
  INFO(name << (sizeof(T) == 4 ? " float32" : " float64") << " of " << double(x[at]) << " and " << double(y[at]));
  CHECK(worst <= 4.0);
}

template <class T> void check_all(const vmath::Table<T> &t) {
  using W = typename Wider<T>::type;
#define PG_CHECK(NAME, LOW, HIGH)                                                                                      \
  check<T>(                                                                                                            \
      #NAME, t.NAME, [](W x) { return std::NAME(x); }, Range{LOW, HIGH})
  PG_CHECK(exp, -20, 20);
  PG_CHECK(exp2, -20, 20);
  PG_CHECK(expm1, -5, 5);
  PG_CHECK(log, 0, 10);
  PG_CHECK(log2, 0, 10);
  PG_CHECK(log10, 0, 10);
  PG_CHECK(log1p, -1, 10);
  PG_CHECK(sin, -1000, 1000);
  PG_CHECK(cos, -1000, 1000);
  PG_CHECK(tan, -1000, 1000);
  PG_CHECK(asin, -1, 1);
  PG_CHECK(acos, -1, 1);
  PG_CHECK(atan, -10, 10);
  PG_CHECK(sinh, -10, 10);
  PG_CHECK(cosh, -10, 10);
  PG_CHECK(tanh, -10, 10);
  PG_CHECK(asinh, -10, 10);
  PG_CHECK(acosh, 1, 10);
  PG_CHECK(atanh, -1, 1);
  PG_CHECK(cbrt, -10, 10);
  PG_CHECK(erf, -4, 4);
  PG_CHECK(erfc, -4, 4);
#undef PG_CHECK
  check<T>("log near 1", t.log, [](W x) { return std::log(x); }, {0.7, 1.5});
  check<T>("log close to 1", t.log, [](W x) { return std::log(x); }, {0.99, 1.01});
  check<T>("small tanh", t.tanh, [](W x) { return std::tanh(x); }, {-0.2, 0.2});
  check<T>("small sinh", t.sinh, [](W x) { return std::sinh(x); }, {-0.2, 0.2});
  check<T>("large sinh", t.sinh, [](W x) { return std::sinh(x); }, {-720, 720});
  check<T>("pow", t.pow, [](W x, W y) { return std::pow(x, y); }, {0, 10}, {-20, 20});
  check<T>("pow near 1", t.pow, [](W x, W y) { return std::pow(x, y); }, {0.9, 1.1}, {-300, 300});
  check<T>("high pow near 1", t.pow, [](W x, W y) { return std::pow(x, y); }, {0.97, 1.03}, {-2500, 2500});
  check<T>("atan2", t.atan2, [](W x, W y) { return std::atan2(x, y); }, {-10, 10}, {-10, 10});
  check<T>("hypot", t.hypot, [](W x, W y) { return std::hypot(x, y); }, {-10, 10}, {-10, 10});
}

// Every length to 67 from every offset to 3 gives what one element alone does, and the neighbours stay.
template <class T> void check_edges(vmath::Unary<T> f, vmath::Binary<T> g) {
  alignas(64) T x[80], y[80], z[80];
  for (int i = 0; i < 80; ++i) {
    x[i] = T(0.01) * T(i + 1);
    y[i] = T(0.3) + T(0.07) * T(i % 13);
  }
  for (int n = 0; n <= 67; ++n)
    for (int from = 0; from < 4; ++from)
      for (int to = 1; to < 5; ++to) {
        std::fill(z, z + 80, T(-77));
        f(n, x + from, z + to);
        bool fine = true;
        for (int i = 0; i < 80; ++i) {
          T expected = T(-77);
          if (i >= to && i < to + n)
            f(1, x + from + i - to, &expected);
          fine = fine && z[i] == expected;
        }
        std::fill(z, z + 80, T(-77));
        g(n, x + from, y + 3 - from, z + to);
        for (int i = 0; i < 80; ++i) {
          T expected = T(-77);
          if (i >= to && i < to + n)
            g(1, x + from + i - to, y + 3 - from + i - to, &expected);
          fine = fine && z[i] == expected;
        }
        if (!fine)
          FAIL("length " << n << " from " << from << " to " << to);
      }
  std::memcpy(z, x, sizeof x); // in place
  f(80, z, z);
  f(80, x, y);
  CHECK(std::memcmp(z, y, sizeof z) == 0);
}

// An element's result is the same beside any neighbours, in particular those that need special care.
template <class T> void check_neighbours(const char *name, vmath::Unary<T> f) {
  const std::vector<T> x = inputs<T>({-20, 20}, 500);
  std::vector<T> together(x.size());
  f(static_cast<int64_t>(x.size()), x.data(), together.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    T alone;
    f(1, &x[i], &alone);
    if (std::memcmp(&alone, &together[i], sizeof(T)) != 0 && !(std::isnan(alone) && std::isnan(together[i])))
      FAIL(name << (sizeof(T) == 4 ? " float32" : " float64") << " at " << double(x[i]) << ": " << alone << " alone, "
                << together[i] << " beside others");
  }
}
template <class T> void check_neighbours(const char *name, vmath::Binary<T> f) {
  const std::vector<T> x = inputs<T>({-20, 20}, 2000);
  std::vector<T> y(x), together(x.size());
  std::mt19937_64 random(9);
  std::shuffle(y.begin(), y.end(), random);
  f(static_cast<int64_t>(x.size()), x.data(), y.data(), together.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    T alone;
    f(1, &x[i], &y[i], &alone);
    if (std::memcmp(&alone, &together[i], sizeof(T)) != 0 && !(std::isnan(alone) && std::isnan(together[i])))
      FAIL(name << (sizeof(T) == 4 ? " float32" : " float64") << " at " << double(x[i]) << " and " << double(y[i])
                << ": " << alone << " alone, " << together[i] << " beside others");
  }
}
template <class T> void check_neighbours(const vmath::Table<T> &t) {
#define PG_CHECK(NAME) check_neighbours<T>(#NAME, t.NAME)
  PG_CHECK(exp);
  PG_CHECK(exp2);
  PG_CHECK(expm1);
  PG_CHECK(log);
  PG_CHECK(log2);
  PG_CHECK(log10);
  PG_CHECK(log1p);
  PG_CHECK(sin);
  PG_CHECK(cos);
  PG_CHECK(tan);
  PG_CHECK(asin);
  PG_CHECK(acos);
  PG_CHECK(atan);
  PG_CHECK(sinh);
  PG_CHECK(cosh);
  PG_CHECK(tanh);
  PG_CHECK(asinh);
  PG_CHECK(acosh);
  PG_CHECK(atanh);
  PG_CHECK(cbrt);
  PG_CHECK(erf);
  PG_CHECK(erfc);
  PG_CHECK(pow);
  PG_CHECK(atan2);
  PG_CHECK(hypot);
#undef PG_CHECK
}

} // namespace

TEST_CASE("the result of vector mathematics for an element does not depend on its neighbours", "[vmath]") {
  for (const auto *f : {&vmath::baseline_functions(), &vmath::avx2_functions(), &vmath::avx512_functions()}) {
    if (!f->float64.exp)
      continue;
    INFO(f->name);
    check_neighbours<double>(f->float64);
    check_neighbours<float>(f->float32);
  }
}

TEST_CASE("vector mathematics is within 4 ulp of libm, special values included", "[vmath]") {
  for (const auto *f : {&vmath::baseline_functions(), &vmath::avx2_functions(), &vmath::avx512_functions()}) {
    if (!f->float64.exp)
      continue;
    INFO(f->name);
    check_all<double>(f->float64);
    check_all<float>(f->float32);
  }
}

TEST_CASE("vector mathematics serves every length and alignment and writes nothing else", "[vmath]") {
  for (const auto *f : {&vmath::baseline_functions(), &vmath::avx2_functions(), &vmath::avx512_functions()}) {
    if (!f->float64.exp)
      continue;
    INFO(f->name);
    check_edges<double>(f->float64.exp, f->float64.pow);
    check_edges<double>(f->float64.tanh, f->float64.atan2);
    check_edges<double>(f->float64.log, f->float64.hypot);
    check_edges<double>(f->float64.sinh, f->float64.hypot);
    check_edges<float>(f->float32.tanh, f->float32.atan2);
    check_edges<float>(f->float32.sin, f->float32.pow);
    check_edges<float>(f->float32.log1p, f->float32.hypot);
  }
}
