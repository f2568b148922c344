// Functions of elements by the C and C++ libraries: one call an element. vmath.hpp has faster ones of most.
#include "array/kernels.hpp"
#include "array/vmath.hpp"

#include <cmath>
#include <complex>

namespace perigee::array {
namespace {

template <class T> T log_gamma(T x) { // lgamma writes to a global variable
  int sign;
  if constexpr (sizeof(T) == 4)
    return lgammaf_r(x, &sign);
  else
    return lgamma_r(x, &sign);
}

// The gamma function has no value at the poles; C's gives NaN there but for 0.
template <class T> T gamma(T x) {
  return std::tgamma(x);
}

template <class T> T remainder(T a, T b) { // the sign of the divisor
  const T r = std::fmod(a, b);
  if (r == 0)
    return std::copysign(T(0), b);
  return (r < 0) != (b < 0) ? r + b : r;
}

// The quotient that goes with remainder(): rounding a / b down would be one off where a is almost a multiple of b.
template <class T> T floor_divide(T a, T b) {
  if (b == 0)
    return a / b;
  T r = std::fmod(a, b), q = (a - r) / b;
  if (r != 0 && (b < 0) != (r < 0))
    q -= 1;
  if (q == 0)
    return std::copysign(T(0), a / b);
  const T down = std::floor(q);
  return q - down > T(0.5) ? down + 1 : down;
}

template <class T> T logaddexp(T a, T b) {
  if (a == b)
    return a + T(0.693147180559945309417); // also for infinities
  const T d = a - b;
  return d > 0 ? a + std::log1p(std::exp(-d)) : d <= 0 ? b + std::log1p(std::exp(d)) : d;
}

template <class T> T logaddexp2(T a, T b) {
  if (a == b)
    return a + 1;
  const T d = a - b, scale = T(1.44269504088896340736);
  return d > 0 ? a + std::log1p(std::exp2(-d)) * scale : d <= 0 ? b + std::log1p(std::exp2(d)) * scale : d;
}

template <class T> T heaviside(T x, T at_zero) {
  return std::isnan(x) ? x : x < 0 ? T(0) : x > 0 ? T(1) : at_zero;
}

template <class T> T load_exponent(T a, T b) { // b is whole: an integer dtype was asked for
  return std::ldexp(a, b > 100000 ? 100000 : b < -100000 ? -100000 : static_cast<int>(b));
}

template <class T> std::complex<T> multiply(std::complex<T> a, std::complex<T> b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}
template <class T> std::complex<T> power(std::complex<T> a, std::complex<T> b) {
  const T n = b.real();
  if (b == std::complex<T>(0))
    return 1;
  if (a == std::complex<T>(0)) {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    return n > 0 && b.imag() == 0 ? std::complex<T>(0) : std::complex<T>(nan, nan);
  }
  if (b.imag() == 0 && n == std::floor(n) &&
      std::abs(n) <= 100) { // small whole powers by multiplication: exact for i^2
    std::complex<T> base = a, result = 1;
    for (int k = static_cast<int>(std::abs(n)); k > 0; k >>= 1) {
      if (k & 1)
        result = multiply(result, base);
      base = multiply(base, base);
    }
    return n < 0 ? std::complex<T>(1) / result : result;
  }
  return std::pow(a, b);
}

template <class T> std::complex<T> log1p(std::complex<T> z) {
  const T x = z.real(), y = z.imag();
  if (std::abs(x) < T(0.5) && std::abs(y) < T(0.5)) // |1 + z|^2 - 1 without cancellation
    return {T(0.5) * std::log1p(x * (2 + x) + y * y), std::atan2(y, 1 + x)};
  return std::log(std::complex<T>(1 + x, y));
}
template <class T> std::complex<T> expm1(std::complex<T> z) {
  const T x = z.real(), y = z.imag(), half = std::sin(y / 2);
  return {std::expm1(x) * std::cos(y) - 2 * half * half, std::exp(x) * std::sin(y)};
}

#define PG_UNARY(NAME, EXPRESSION)                                                                                     \
  f.unary[NAME] = [](int64_t n, const T *a, T *out) {                                                                  \
    for (int64_t i = 0; i < n; ++i) {                                                                                  \
      const T x = a[i];                                                                                                \
      out[i] = EXPRESSION;                                                                                             \
    }                                                                                                                  \
  }
#define PG_BINARY(NAME, EXPRESSION)                                                                                    \
  f.binary[NAME] = [](int64_t n, const T *a, const T *b, T *out) {                                                     \
    for (int64_t i = 0; i < n; ++i) {                                                                                  \
      const T x = a[i], y = b[i];                                                                                      \
      out[i] = EXPRESSION;                                                                                             \
    }                                                                                                                  \
  }

template <class T> void fill_real(FunctionsOf<T> &f) {
  PG_UNARY(PG_CBRT, std::cbrt(x));
  PG_UNARY(PG_EXP, std::exp(x));
  PG_UNARY(PG_LOG, std::log(x));
  PG_UNARY(PG_SIN, std::sin(x));
  PG_UNARY(PG_COS, std::cos(x));
  PG_UNARY(PG_TAN, std::tan(x));
  PG_UNARY(PG_TANH, std::tanh(x));
  PG_UNARY(PG_EXP2, std::exp2(x));
  PG_UNARY(PG_EXPM1, std::expm1(x));
  PG_UNARY(PG_LOG2, std::log2(x));
  PG_UNARY(PG_LOG10, std::log10(x));
  PG_UNARY(PG_LOG1P, std::log1p(x));
  PG_UNARY(PG_ASIN, std::asin(x));
  PG_UNARY(PG_ACOS, std::acos(x));
  PG_UNARY(PG_ATAN, std::atan(x));
  PG_UNARY(PG_SINH, std::sinh(x));
  PG_UNARY(PG_COSH, std::cosh(x));
  PG_UNARY(PG_ASINH, std::asinh(x));
  PG_UNARY(PG_ACOSH, std::acosh(x));
  PG_UNARY(PG_ATANH, std::atanh(x));
  PG_UNARY(PG_ERF, std::erf(x));
  PG_UNARY(PG_ERFC, std::erfc(x));
  PG_UNARY(PG_GAMMA, gamma(x));
  PG_UNARY(PG_LGAMMA, log_gamma(x));
  PG_UNARY(PG_ANGLE, std::isnan(x) ? x : std::signbit(x) && x != 0 ? T(3.14159265358979323846) : T(0));
  PG_UNARY(PG_LOGB, std::logb(x));
  PG_BINARY(PG_POWER, std::pow(x, y));
  PG_BINARY(PG_REMAINDER, remainder(x, y));
  PG_BINARY(PG_FLOOR_DIVIDE, floor_divide(x, y));
  PG_BINARY(PG_FMOD, std::fmod(x, y));
  PG_BINARY(PG_ATAN2, std::atan2(x, y));
  PG_BINARY(PG_HYPOT, std::hypot(x, y));
  PG_BINARY(PG_COPYSIGN, std::copysign(x, y));
  PG_BINARY(PG_NEXTAFTER, std::nextafter(x, y));
  PG_BINARY(PG_LOGADDEXP, logaddexp(x, y));
  PG_BINARY(PG_LDEXP, load_exponent(x, y));
  PG_BINARY(PG_HEAVISIDE, heaviside(x, y));
  PG_BINARY(PG_LOGADDEXP2, logaddexp2(x, y));
  PG_BINARY(PG_FDIM, std::fdim(x, y));
  PG_BINARY(PG_IEEE_REMAINDER, std::remainder(x, y));
}

template <class T> void fill_complex(FunctionsOf<T> &f) {
  using Real = typename T::value_type;
  PG_UNARY(PG_SQRT, std::sqrt(x));
  PG_UNARY(PG_EXP, std::exp(x));
  PG_UNARY(PG_LOG, std::log(x));
  PG_UNARY(PG_LOG2, std::log(x) * Real(1.44269504088896340736));
  PG_UNARY(PG_LOG10, std::log10(x));
  PG_UNARY(PG_LOG1P, log1p(x));
  PG_UNARY(PG_EXP2, std::exp(x * Real(0.693147180559945309417)));
  PG_UNARY(PG_EXPM1, expm1(x));
  PG_UNARY(PG_SIN, std::sin(x));
  PG_UNARY(PG_COS, std::cos(x));
  PG_UNARY(PG_TAN, std::tan(x));
  PG_UNARY(PG_TANH, std::tanh(x));
  PG_UNARY(PG_SINH, std::sinh(x));
  PG_UNARY(PG_COSH, std::cosh(x));
  PG_UNARY(PG_ASIN, std::asin(x));
  PG_UNARY(PG_ACOS, std::acos(x));
  PG_UNARY(PG_ATAN, std::atan(x));
  PG_UNARY(PG_ASINH, std::asinh(x));
  PG_UNARY(PG_ACOSH, std::acosh(x));
  PG_UNARY(PG_ATANH, std::atanh(x));
  PG_UNARY(PG_RECIPROCAL, Real(1) / x);
  PG_UNARY(PG_SIGN, x == T(0) ? x : x / std::abs(x));
  PG_UNARY(PG_ROUND, T(std::nearbyint(x.real()), std::nearbyint(x.imag())));
  PG_BINARY(PG_POWER, power(x, y));
}

template <class T> void fill_magnitude(void (*(&row)[unary_count])(int64_t, const std::complex<T> *, T *)) {
  row[PG_ABS] = [](int64_t n, const std::complex<T> *a, T *out) {
    for (int64_t i = 0; i < n; ++i)
      out[i] = std::hypot(a[i].real(), a[i].imag());
  };
  row[PG_ANGLE] = [](int64_t n, const std::complex<T> *a, T *out) {
    for (int64_t i = 0; i < n; ++i)
      out[i] = std::atan2(a[i].imag(), a[i].real());
  };
}

// Replaces what vector mathematics has.
template <class T> void fill_vectors(FunctionsOf<T> &f, const vmath::Table<T> &t) {
  const auto set = [](auto &entry, auto function) {
    if (function)
      entry = function;
  };
  set(f.unary[PG_CBRT], t.cbrt);
  set(f.unary[PG_EXP], t.exp);
  set(f.unary[PG_LOG], t.log);
  set(f.unary[PG_SIN], t.sin);
  set(f.unary[PG_COS], t.cos);
  set(f.unary[PG_TAN], t.tan);
  set(f.unary[PG_TANH], t.tanh);
  set(f.unary[PG_EXP2], t.exp2);
  set(f.unary[PG_EXPM1], t.expm1);
  set(f.unary[PG_LOG2], t.log2);
  set(f.unary[PG_LOG10], t.log10);
  set(f.unary[PG_LOG1P], t.log1p);
  set(f.unary[PG_ASIN], t.asin);
  set(f.unary[PG_ACOS], t.acos);
  set(f.unary[PG_ATAN], t.atan);
  set(f.unary[PG_SINH], t.sinh);
  set(f.unary[PG_COSH], t.cosh);
  set(f.unary[PG_ASINH], t.asinh);
  set(f.unary[PG_ACOSH], t.acosh);
  set(f.unary[PG_ATANH], t.atanh);
  set(f.unary[PG_ERF], t.erf);
  set(f.unary[PG_ERFC], t.erfc);
  set(f.binary[PG_POWER], t.pow);
  set(f.binary[PG_ATAN2], t.atan2);
  set(f.binary[PG_HYPOT], t.hypot);
}

} // namespace

const Functions &functions() {
  static const Functions table = [] {
    Functions f{};
    fill_real(f.float32);
    fill_real(f.float64);
    fill_vectors(f.float32, vmath::functions().float32);
    fill_vectors(f.float64, vmath::functions().float64);
    fill_complex(f.complex64);
    fill_complex(f.complex128);
    fill_magnitude(f.magnitude64);
    fill_magnitude(f.magnitude128);
    return f;
  }();
  return table;
}

} // namespace perigee::array
