// What the checked simulator knows of each element of memory: who wrote and read it last, and when; and what the
// accesses of a warp cost.
#pragma once

#include "gpu/sim_run.hpp"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>

namespace perigee::sim {

// Who touched an element last. Threads count from 1 in the launch, 0: nobody. `when`: barriers that the block has
// passed (upper 10 bits) and those of the warp (lower 6). Sites: the upper bit of write_site says that it was an
// atomic, of read_site that several threads have read since.
struct Cell {
  std::uint32_t writer, reader;
  std::uint16_t write_when, read_when, write_site, read_site;
};
constexpr std::uint16_t mark = 0x8000, several_mark = 0x4000, site_bits = 0x3fff;

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
    if (count > 0 && v < greatest_) {
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
