// Random numbers from Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC'11),
// as implemented by the Random123 library.
#pragma once

#include <array>
#include <cstdint>

namespace perigee::random {

using Block = std::array<uint32_t, 4>;

// The bijection itself: 128 random bits for a counter and a key.
Block philox(const Block &counter, const std::array<uint32_t, 2> &key);

} // namespace perigee::random
