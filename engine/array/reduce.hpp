// Reductions for other C++ code.
#pragma once

#include "array/array.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "array/array_reduce_abi.h"
}
#pragma GCC visibility pop

namespace perigee::array {

/// The dtype of a reduction's result (enum pg_reduce_op), NumPy 2's.
int32_t reduced_dtype(int32_t op, int32_t dtype);
/// a without the axes in `axes` (bit 0: the first); with keepdims they stay, with length 1.
Array reduce(int32_t op, const pg_array &a, uint32_t axes, bool keepdims, double ddof, int32_t *collect);

} // namespace perigee::array
