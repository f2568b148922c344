#include "core/allocation.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <utility>
#include <vector>

namespace perigee::core {
namespace {

constexpr int64_t alignment = 64; // a cache line, and the widest vector register

#if defined(PERIGEE_SANITIZED)

// Nothing is kept, so that AddressSanitizer sees use after free; sizes are exact, so that it sees overruns.
Memory fresh(int64_t bytes, bool zero) {
  const int64_t capacity = std::max<int64_t>(bytes, 1);
  void *data = nullptr;
  if (posix_memalign(&data, alignment, static_cast<std::size_t>(capacity)) != 0)
    return {nullptr, capacity, zero};
  if (zero)
    std::memset(data, 0, static_cast<std::size_t>(capacity));
  return {data, capacity, zero};
}

#else

// ------------------------------------------------------------------------------------------------------------ small
// --- Four sizes to a doubling, so at most a quarter of a piece is wasted. A kept piece holds the address of the next.
constexpr int classes = 4 * 13;

int size_class(int64_t bytes) { // of capacity: 64, 128, 192, 256, 320, 384, 448, 512, 640, ...
  const auto units = static_cast<uint64_t>((std::max<int64_t>(bytes, 1) + alignment - 1) / alignment);
  if (units <= 8)
    return static_cast<int>(units) - 1;
  const int shift = std::bit_width(units - 1) - 3;
  return 4 * shift + static_cast<int>((units - 1) >> shift);
}

int64_t class_capacity(int index) {
  if (index < 8)
    return alignment * (index + 1);
  const int shift = (index - 4) / 4;
  return alignment * ((int64_t{index} - 4 * shift + 1) << shift);
}

struct Small {
  void *first[classes] = {};
  int64_t bytes[classes] = {}; // kept of each size
  int64_t kept = 0;
  int victim = 0; // the size that gives way to others

  void drop(int index) noexcept {
    std::free(std::exchange(first[index], *static_cast<void **>(first[index])));
    bytes[index] -= class_capacity(index);
    kept -= class_capacity(index);
  }
  // For a piece of this size. Pieces of sizes that a script no longer uses had filled all there is room for once, and
  // each new array came from malloc.
  bool make_room(int index) noexcept {
    const int64_t capacity = class_capacity(index);
    while (kept + capacity > small_kept) {
      if (bytes[victim] == 0 || victim == index)
        victim = static_cast<int>(std::max_element(bytes, bytes + classes) - bytes);
      if (victim == index)
        return false;
      drop(victim);
    }
    return true;
  }
  void clear() noexcept {
    for (int index = 0; index < classes; ++index)
      while (first[index])
        drop(index);
  }
};

thread_local Small small;
thread_local bool ended = false; // arrays may be freed after this thread's destructors have run
struct SmallEnd {
  bool armed = true;
  ~SmallEnd() {
    ended = true;
    small.clear();
  }
};
thread_local SmallEnd small_end;

Memory take_small(int64_t bytes) {
  const int index = size_class(bytes);
  const int64_t capacity = class_capacity(index);
  if (void *data = small.first[index]) {
    small.first[index] = *static_cast<void **>(data);
    small.bytes[index] -= capacity;
    small.kept -= capacity;
    return {data, capacity, false};
  }
  return {std::aligned_alloc(alignment, static_cast<std::size_t>(capacity)), capacity, false};
}

void give_small(void *data, int64_t capacity) noexcept {
  const int index = size_class(capacity);
  if (ended || !small_end.armed || !small.make_room(index)) {
    std::free(data);
    return;
  }
  *static_cast<void **>(data) = small.first[index];
  small.first[index] = data;
  small.bytes[index] += capacity;
  small.kept += capacity;
}

// ------------------------------------------------------------------------------------------------------------ large
// ---
constexpr int64_t page = 4096, huge_page = 2 << 20;
// Collections free now more, now fewer arrays: pieces up to this size wait longer for their next use, since mapping
// them anew (some 0.3 us a page) costs more than filling them.
constexpr int64_t patient_piece = 4 << 20;

struct Piece {
  void *data;
  int64_t capacity, age; // collections since it was given back
};

struct Large {
  std::mutex mutex;
  std::vector<Piece> pieces; // the one given back last is the last
  int64_t kept = 0;

  void drop(std::size_t i) noexcept {
    kept -= pieces[i].capacity;
    munmap(pieces[i].data, static_cast<std::size_t>(pieces[i].capacity));
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(i));
  }
};

Large &large() {
  static auto *instance = new Large; // never destroyed: arrays may be freed while the process exits
  return *instance;
}

void *map(int64_t bytes) {
  // Huge pages take a hundredth of the page faults; they need addresses that are multiples of 2 MiB.
  const int64_t extra = bytes >= 2 * huge_page ? huge_page - page : 0;
  void *raw = mmap(nullptr, static_cast<std::size_t>(bytes + extra), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED)
    return nullptr;
  if (!extra)
    return raw;
  const auto start = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = (start + huge_page - 1) & ~uintptr_t(huge_page - 1), before = aligned - start;
  if (before)
    munmap(raw, before);
  if (static_cast<uintptr_t>(extra) > before)
    munmap(reinterpret_cast<void *>(aligned + static_cast<uintptr_t>(bytes)), static_cast<uintptr_t>(extra) - before);
  madvise(reinterpret_cast<void *>(aligned), static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
  return reinterpret_cast<void *>(aligned);
}

Memory take_large(int64_t bytes) {
  // To whole huge pages where at most a half of one is lost: the rest would be in hundreds of small ones, which took an
  // allreduce of 1e6 doubles by MPI half as long again.
  const int64_t whole = (bytes + huge_page - 1) / huge_page * huge_page;
  const int64_t wanted =
      bytes >= 2 * huge_page && whole - bytes <= huge_page / 2 ? whole : (bytes + page - 1) / page * page;
  Large &all = large();
  std::unique_lock lock(all.mutex);
  // The tightest fit, of these the one used last, which caches may still hold; one that wastes a quarter is no fit.
  std::size_t best = all.pieces.size();
  for (std::size_t i = all.pieces.size(); i-- > 0;) {
    const int64_t capacity = all.pieces[i].capacity;
    if (capacity >= wanted && capacity <= wanted + wanted / 4 &&
        (best == all.pieces.size() || capacity < all.pieces[best].capacity))
      best = i;
  }
  if (best < all.pieces.size()) {
    const Memory found{all.pieces[best].data, all.pieces[best].capacity, false};
    all.kept -= found.capacity;
    all.pieces.erase(all.pieces.begin() + static_cast<std::ptrdiff_t>(best));
    return found;
  }
  for (int64_t freed = 0; freed < wanted && !all.pieces.empty();) {
    freed += all.pieces.front().capacity;
    all.drop(0);
  }
  lock.unlock();
  return {map(wanted), wanted, true};
}

void give_large(void *data, int64_t capacity) noexcept {
  Large &all = large();
  std::lock_guard lock(all.mutex);
  while (!all.pieces.empty() && (all.kept + capacity > large_kept || all.pieces.size() >= 512))
    all.drop(0);
  try {
    if (capacity <= large_kept) {
      all.pieces.push_back({data, capacity, 0});
      all.kept += capacity;
      return;
    }
  } catch (...) { // no memory for the list
  }
  munmap(data, static_cast<std::size_t>(capacity));
}

Memory fresh(int64_t bytes, bool) {
  return bytes <= small_piece ? take_small(bytes) : take_large(bytes);
}

#endif

} // namespace

#if defined(PERIGEE_SANITIZED)

void give_memory(void *data, int64_t) noexcept {
  std::free(data);
}
void age_memory() noexcept {}
void trim_memory() noexcept {}
int64_t kept_memory() noexcept {
  return 0;
}

#else

void give_memory(void *data, int64_t capacity) noexcept {
  if (capacity <= small_piece)
    give_small(data, capacity);
  else
    give_large(data, capacity);
}

void age_memory() noexcept {
  Large &all = large();
  std::lock_guard lock(all.mutex);
  for (std::size_t i = all.pieces.size(); i-- > 0;)
    if (++all.pieces[i].age > (all.pieces[i].capacity <= patient_piece ? 32 : 2))
      all.drop(i);
}

void trim_memory() noexcept {
  if (!ended)
    small.clear();
  Large &all = large();
  std::lock_guard lock(all.mutex);
  while (!all.pieces.empty())
    all.drop(all.pieces.size() - 1);
}

int64_t kept_memory() noexcept {
  Large &all = large();
  std::lock_guard lock(all.mutex);
  return all.kept + (ended ? 0 : small.kept);
}

#endif

Memory take_memory(int64_t bytes, bool zero) {
  Memory memory = fresh(bytes, zero);
  if (!memory.data) {
    trim_memory();
    memory = fresh(bytes, zero);
  }
  if (memory.data && zero && !memory.zeroed)
    std::memset(memory.data, 0, static_cast<std::size_t>(std::max<int64_t>(bytes, 1)));
  return memory;
}

} // namespace perigee::core
