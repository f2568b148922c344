// From a dtype at run time to an element type at compile time.
#pragma once

#include "array/array.hpp"
#include "core/status.hpp"

#include <complex>
#include <type_traits>
#include <utility>

namespace perigee::array {

/// Calls visitor(std::type_identity<T>{}) with the dtype's element type. bool is C++'s bool: arrays hold 0 or 1 only.
template <class Visitor> decltype(auto) visit(int32_t dtype, Visitor &&visitor) {
  switch (dtype) {
  case PG_BOOL:
    return visitor(std::type_identity<bool>{});
  case PG_INT8:
    return visitor(std::type_identity<int8_t>{});
  case PG_INT16:
    return visitor(std::type_identity<int16_t>{});
  case PG_INT32:
    return visitor(std::type_identity<int32_t>{});
  case PG_INT64:
    return visitor(std::type_identity<int64_t>{});
  case PG_UINT8:
    return visitor(std::type_identity<uint8_t>{});
  case PG_UINT16:
    return visitor(std::type_identity<uint16_t>{});
  case PG_UINT32:
    return visitor(std::type_identity<uint32_t>{});
  case PG_UINT64:
    return visitor(std::type_identity<uint64_t>{});
  case PG_FLOAT32:
    return visitor(std::type_identity<float>{});
  case PG_FLOAT64:
    return visitor(std::type_identity<double>{});
  case PG_COMPLEX64:
    return visitor(std::type_identity<std::complex<float>>{});
  case PG_COMPLEX128:
    return visitor(std::type_identity<std::complex<double>>{});
  default:
    throw InternalError("dtype " + std::to_string(dtype));
  }
}

/// For code that only moves elements: visits uint8_t, uint16_t, uint32_t, uint64_t or a pair of uint64_t, by the
/// element's size. Less code than visit().
template <class Visitor> decltype(auto) visit_size(int32_t dtype, Visitor &&visitor) {
  switch (element_size(dtype)) {
  case 1:
    return visitor(std::type_identity<uint8_t>{});
  case 2:
    return visitor(std::type_identity<uint16_t>{});
  case 4:
    return visitor(std::type_identity<uint32_t>{});
  case 8:
    return visitor(std::type_identity<uint64_t>{});
  case 16:
    return visitor(std::type_identity<std::pair<uint64_t, uint64_t>>{});
  default:
    throw InternalError("dtype " + std::to_string(dtype));
  }
}

} // namespace perigee::array
