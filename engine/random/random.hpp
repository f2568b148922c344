// Random numbers from Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC'11),
// as implemented by the Random123 library.
#pragma once

#include "random/kernels.hpp"

#include <array>
#include <cstdint>

namespace perigee::random {

using Block = std::array<uint32_t, 4>;

/// The bijection itself: 128 random bits for a counter and a key.
Block philox(const Block &counter, const std::array<uint32_t, 2> &key);

/// Block `index` of a generator for a purpose, and its two 64-bit halves.
Block block(const pg_random &g, Purpose purpose, uint64_t index);
inline uint64_t half(const Block &b, uint64_t which) {
  return which & 1 ? b[2] | static_cast<uint64_t>(b[3]) << 32 : b[0] | static_cast<uint64_t>(b[1]) << 32;
}

/// In [0, 1), a multiple of 2^-53.
inline double unit(uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

/// All the random bits that one slot may need, two words a time: its own block, then that block encrypted again and
/// again. So a draw that rejects takes no more than its slot.
class Chain {
 public:
  Chain(const pg_random &g, uint64_t slot) : Chain(g, block(g, Purpose::retry, slot)) {}
  Chain(const pg_random &g, const uint64_t *words) // of the slot's block, computed with others
      : Chain(g, Block{static_cast<uint32_t>(words[0]), static_cast<uint32_t>(words[0] >> 32),
                       static_cast<uint32_t>(words[1]), static_cast<uint32_t>(words[1] >> 32)}) {}
  uint64_t operator[](int which) const { return half(block_, static_cast<uint64_t>(which)); }
  void next() { block_ = philox(block_, key_); }

 private:
  Chain(const pg_random &g, const Block &first) : key_{g._key[0], g._key[1]}, block_(first) {}
  std::array<uint32_t, 2> key_;
  Block block_;
};

} // namespace perigee::random
