// Sorting for other C++ code.
#pragma once

#include "array/array.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "array/array_quantile_abi.h"
#include "array/array_sort_abi.h"
}
#pragma GCC visibility pop

namespace perigee::array {

/// Sorts n adjacent elements in place, ascending, NaN last. On several threads where there are many.
void sort_adjacent(int32_t dtype, void *data, int64_t n);

/// The element of rank `rank` (from 0) among n adjacent ones, NaN last. In a time that grows with n, beside a buffer of
/// about n / 10 elements.
template <class T> T select(const T *a, int64_t n, int64_t rank);

} // namespace perigee::array
