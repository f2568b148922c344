// The order in which elements are sorted and searched.
#pragma once

#include <complex>
#include <type_traits>

namespace perigee::array {

template <class T> constexpr bool is_nan(T x) {
  if constexpr (std::is_floating_point_v<T>)
    return x != x;
  else if constexpr (std::is_integral_v<T>)
    return false;
  else
    return x.real() != x.real() || x.imag() != x.imag();
}

/// NumPy's order: NaN last; complex numbers by their real part, then their imaginary part, those with NaN in one of
/// them after those without.
template <class T> constexpr bool less(T a, T b) {
  if constexpr (std::is_arithmetic_v<T>)
    return (a < b) | (is_nan(b) & !is_nan(a));
  else if (is_nan(a.real()) != is_nan(b.real()) || is_nan(a.imag()) != is_nan(b.imag()))
    return is_nan(a.real()) != is_nan(b.real()) ? is_nan(b.real()) : is_nan(b.imag());
  else
    return less(a.real(), b.real()) || (!less(b.real(), a.real()) && less(a.imag(), b.imag()));
}

/// The same, or the other way round; NaN is last in both.
template <class T> constexpr bool before(T a, T b, bool descending) {
  return descending && !is_nan(a) && !is_nan(b) ? less(b, a) : less(a, b);
}

} // namespace perigee::array
