// What the checked simulator knows of each element of memory: who wrote and read it last, and when; and what the
// accesses of a warp cost.
#pragma once

#include "gpu/sim_run.hpp"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>

namespace perigee::sim {

// Who touched an element. Threads count from 1 in the launch, 0: nobody. `when`: barriers that the block has passed
// (upper 22 bits) and those of the warp (lower 10).
//
// Of plain writes, of reads and of atomics there are two: the last, and beside it one that nothing orders before the
// last, of another block rather than of another warp, and of that rather than another lane. Whatever comes next meets a
// race with one of them if it has one with any of that kind: with two of different blocks, every other access to the
// element is of another block than one of them; within a block, what came before a barrier that the last has passed is
// over; and so on. The second's `when` is the last's where both are of one block.
struct Access {
  std::uint32_t thread, when, beside;
  std::uint16_t site, beside_site;
};
struct Cell {
  Access write, read;
};
static_assert(sizeof(Cell) == 32);
constexpr std::int32_t most_sites = 0xffff;

inline std::uint32_t moment(std::uint32_t block_epoch, std::uint32_t warp_epoch) {
  return block_epoch << 10 | (warp_epoch & 0x3ff);
}

struct Free {
  void operator()(void *p) const { std::free(p); }
};
template <class T> using Zeroed = std::unique_ptr<T[], Free>; // pages that nothing touches take no memory

template <class T> Zeroed<T> zeroed(std::size_t count) {
  void *p = std::calloc(count ? count : 1, sizeof(T));
  if (!p)
    throw std::bad_alloc();
  return Zeroed<T>(static_cast<T *>(p));
}

// Global memory that arguments lie in: those that overlap share one.
struct Region {
  const char *low = nullptr, *high = nullptr;
  std::int64_t granule = 16; // bytes that a cell stands for
  std::int64_t device = 0;   // where it begins for the GPU: a multiple of 256 plus what it lies off one here
  Zeroed<Cell> cells;
  Zeroed<Access> atomics; // only where kernels use some on this memory
  bool has_atomics = false;
  Zeroed<std::uint64_t> read, written;     // a bit a sector
  Zeroed<std::atomic<std::uint8_t>> locks; // a stripe of cells each
  static constexpr std::int64_t stripe = 4096;
};

// A lock held over accesses to one stripe after another; nothing where blocks run one at a time.
class Stripe {
 public:
  explicit Stripe(bool needed) : needed_(needed) {}
  ~Stripe() { release(); }
  Stripe(const Stripe &) = delete;
  Stripe &operator=(const Stripe &) = delete;
  void hold(Region &region, std::int64_t cell) {
    if (!needed_)
      return;
    std::atomic<std::uint8_t> *lock = &region.locks[std::size_t(cell / Region::stripe)];
    if (lock == held_)
      return;
    release();
    while (lock->exchange(1, std::memory_order_acquire) != 0)
      while (lock->load(std::memory_order_relaxed) != 0)
        std::this_thread::yield();
    held_ = lock;
  }
  void release() {
    if (held_)
      held_->store(0, std::memory_order_release);
    held_ = nullptr;
  }

 private:
  const bool needed_;
  std::atomic<std::uint8_t> *held_ = nullptr;
};

// Different values among at most 32 addresses of a warp, mostly ascending.
class Distinct {
 public:
  bool add(std::int64_t v) {
    if (count > 0 && values[count - 1] == v)
      return false;
    if (count > 0 && v <= greatest_) {
      for (int i = 0; i < count; ++i)
        if (values[i] == v)
          return false;
    }
    greatest_ = count == 0 ? v : v > greatest_ ? v : greatest_;
    values[count++] = v;
    return true;
  }
  std::int64_t values[128];
  int count = 0;

 private:
  std::int64_t greatest_ = 0;
};

// Rounds that a warp's access to shared memory takes: 32 banks of 4 bytes deliver a word each a round. Elements of 8
// bytes go by half warps, of 16 by quarters. `ideal`: with no two words of one bank.
struct Rounds {
  int taken = 0, ideal = 0;
};
inline Rounds bank_rounds(const std::int64_t *bytes, std::uint32_t mask, int size) {
  Rounds out;
  const int words = size > 4 ? size / 4 : 1, group = lanes / words;
  for (int first = 0; first < lanes; first += group) {
    std::int64_t seen[lanes * 4];
    int banks[lanes] = {}, count = 0, most = 0;
    for (int l = first; l < first + group; ++l) {
      if (!(mask >> l & 1))
        continue;
      for (int w = 0; w < words; ++w) {
        const std::int64_t word = bytes[l] / 4 + w;
        bool known = false;
        for (int i = count; i-- > 0 && !known;)
          known = seen[i] == word;
        if (known)
          continue;
        seen[count++] = word;
        most = std::max(most, ++banks[word & 31]);
      }
    }
    out.taken += most;
    out.ideal += count > 0;
  }
  return out;
}

} // namespace perigee::sim
