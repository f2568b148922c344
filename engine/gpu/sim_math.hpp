// Mathematics of one value, as compiled kernels do it.
#pragma once

#include "kernel/ir.hpp"

#include <bit>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>

namespace perigee::sim {

using kernel::Math;

inline std::int64_t to_integer(double v) {
  if (v != v)
    return 0;
  if (v >= 9223372036854775808.0)
    return INT64_MAX;
  if (v < -9223372036854775808.0)
    return INT64_MIN;
  return std::int64_t(v);
}

inline std::int64_t bits(Math math, std::int64_t x, std::int64_t y) {
  const std::uint32_t a = std::uint32_t(x), b = std::uint32_t(y), by = b & 31;
  switch (math) {
  case Math::bit_and:
    return std::int32_t(a & b);
  case Math::bit_or:
    return std::int32_t(a | b);
  case Math::bit_xor:
    return std::int32_t(a ^ b);
  case Math::bit_not:
    return std::int32_t(~a);
  case Math::shift_left:
    return std::int32_t(a << by);
  case Math::shift_right:
    return std::int32_t(a >> by);
  case Math::shift_arithmetic:
    return std::int32_t(a) >> by;
  case Math::rotate_left:
    return std::int32_t(std::rotl(a, int(by)));
  case Math::rotate_right:
    return std::int32_t(std::rotr(a, int(by)));
  case Math::byte_swap:
    return std::int32_t(__builtin_bswap32(a));
  default:
    return std::int32_t(a); // to_bit
  }
}

// power_of: to the exponent by products and square roots, as compiled kernels do.
template <class T> T power_of(T x, double exponent) {
  if (exponent == -1)
    return T(1) / x;
  const T square = x * x;
  if (exponent == 2)
    return square;
  if (exponent == 3)
    return square * x;
  if (exponent == 4)
    return square * square;
  if (exponent == -2)
    return T(1) / square;
  if (x == -std::numeric_limits<T>::infinity())
    return std::numeric_limits<T>::infinity();
  return (exponent == 1.5 ? x : square) * std::sqrt(x);
}

template <class T> T mathematics(Math math, T x, T y) {
  switch (math) {
  case Math::absolute:
    return std::fabs(x);
  case Math::sqrt:
    return std::sqrt(x);
  case Math::floor:
    return std::floor(x);
  case Math::ceil:
    return std::ceil(x);
  case Math::sin:
    return std::sin(x);
  case Math::cos:
    return std::cos(x);
  case Math::tan:
    return std::tan(x);
  case Math::asin:
    return std::asin(x);
  case Math::acos:
    return std::acos(x);
  case Math::atan:
    return std::atan(x);
  case Math::sinh:
    return std::sinh(x);
  case Math::cosh:
    return std::cosh(x);
  case Math::tanh:
    return std::tanh(x);
  case Math::exp:
    return std::exp(x);
  case Math::log:
    return std::log(x);
  case Math::log10:
    return std::log10(x);
  case Math::log2:
    return std::log2(x);
  case Math::atan2:
    return std::atan2(x, y);
  case Math::fmod:
    return std::fmod(x, y);
  default:
    return std::pow(x, y);
  }
}

// Smith, Algorithm 116, CACM 1962.
inline std::complex<double> divide(std::complex<double> a, std::complex<double> b) {
  const bool wide = std::fabs(b.real()) >= std::fabs(b.imag());
  const double large = wide ? b.real() : b.imag(), small = wide ? b.imag() : b.real();
  const double ratio = small / large, denominator = large + small * ratio;
  const double x = wide ? a.real() : a.imag(), y = wide ? a.imag() : a.real();
  return {(x + y * ratio) / denominator, (wide ? y - x * ratio : x * ratio - y) / denominator};
}

} // namespace perigee::sim
