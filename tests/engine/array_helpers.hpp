// What tests of arrays share: elements as float64 whatever the dtype, other layouts of the same elements.
#pragma once

#include <catch2/catch.hpp>

#include "array/dispatch.hpp"

#include <random>
#include <vector>

namespace perigee::array {

inline Array make(int32_t dtype, std::vector<int64_t> shape) {
  return create(dtype, shape);
}

// The element at a flat row-major position, as a float64.
inline double get(const pg_array &a, int64_t flat) {
  int64_t offset = 0;
  for (int i = a._ndim; i-- > 0;) {
    offset += flat % a._shape[i] * a._strides[i];
    flat /= a._shape[i];
  }
  return visit(a._dtype, [&]<class T>(std::type_identity<T>) {
    const T &x = static_cast<const T *>(a._data)[offset];
    if constexpr (requires { x.real(); })
      return static_cast<double>(x.real());
    else
      return static_cast<double>(x);
  });
}

inline void put(const pg_array &a, int64_t flat, double value) {
  int64_t offset = 0;
  for (int i = a._ndim; i-- > 0;) {
    offset += flat % a._shape[i] * a._strides[i];
    flat /= a._shape[i];
  }
  visit(a._dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, bool>)
      static_cast<T *>(a._data)[offset] = value != 0;
    else if constexpr (requires(T x) { x.real(); })
      static_cast<T *>(a._data)[offset] = static_cast<typename T::value_type>(value);
    else
      static_cast<T *>(a._data)[offset] = static_cast<T>(value);
  });
}

inline void fill(const Array &a, int seed) {
  std::mt19937 generator(seed);
  for (int64_t i = 0; i < a->_size; ++i)
    put(*a, i, std::uniform_int_distribution(1, 9)(generator));
}

// Views of one array with other layouts: as it is, reversed, every second row, transposed.
inline pg_array reversed(const Array &a) {
  pg_array v = *a;
  for (int i = 0; i < v._ndim; ++i) {
    v._data =
        static_cast<char *>(v._data) + (v._shape[i] - 1) * v._strides[i] * static_cast<int64_t>(element_size(v._dtype));
    v._strides[i] = -v._strides[i];
  }
  return v;
}
inline pg_array transposed(const Array &a) {
  pg_array v = *a;
  std::swap(v._shape[0], v._shape[1]);
  std::swap(v._strides[0], v._strides[1]);
  return v;
}

inline std::string message(int32_t status) {
  CHECK(status == PG_ERROR_ARGUMENT);
  return pg_last_message();
}

} // namespace perigee::array
