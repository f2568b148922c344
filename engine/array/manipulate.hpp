// Moving elements without looking at them.
#pragma once

#include "array/array.hpp"

#include <span>

#pragma GCC visibility push(default)
extern "C" {
#include "array/array_index_abi.h"
#include "array/array_shape_abi.h"
}
#pragma GCC visibility pop

namespace perigee::array {

/// to = from, element by element; from broadcasts to the shape of to, which has the same dtype. Their memory must not
/// overlap unless they are one and the same. Transposed copies go by tiles that fit the first-level cache.
void move_elements(const pg_array &to, const pg_array &from);

/// False only if no byte lies in both.
bool may_share_memory(const pg_array &a, const pg_array &b);

/// Makes the empty `out` a new array: create() without a descriptor that is moved several times. Left empty by an
/// error.
void create_at(pg_array &out, int32_t dtype, std::span<const int64_t> shape, bool zero, int32_t *collect);

/// Counts an allocation of the calling thread, for array.count_allocations.
void count_allocation(int64_t bytes) noexcept;

} // namespace perigee::array
