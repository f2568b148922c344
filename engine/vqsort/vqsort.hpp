// Highway's vqsort, in a library of its own, libperigee-vqsort.so, which is loaded with the first sort: loading libhwy
// measures the clock for 4 ms, half of what perigee takes to start.
#pragma once

#include <cstddef>
#include <cstdint>

namespace perigee::vqsort {

/// 128 bits, as Highway sorts them: by hi, then lo.
struct alignas(16) Pair {
  uint64_t lo, hi;
};

/// Ascending, in place.
struct Functions {
  void (*int16)(int16_t *keys, std::size_t n);
  void (*uint16)(uint16_t *keys, std::size_t n);
  void (*int32)(int32_t *keys, std::size_t n);
  void (*uint32)(uint32_t *keys, std::size_t n);
  void (*int64)(int64_t *keys, std::size_t n);
  void (*uint64)(uint64_t *keys, std::size_t n);
  void (*pairs)(Pair *keys, std::size_t n);
};

/// Those of 32-bit keys (keys32.cpp).
void sort_keys32(int32_t *keys, std::size_t n);
void sort_keys32(uint32_t *keys, std::size_t n);

/// What the library exports, as `pg_vqsort`.
using Entry = const Functions *(*)();

} // namespace perigee::vqsort
