// Highway's vqsort for the types that its library sorts slowly or not at all here; see sort_vector.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace perigee::array {

/// Ascending, in place.
void vector_sort(int32_t *keys, std::size_t n);
void vector_sort(uint32_t *keys, std::size_t n);

} // namespace perigee::array
