#include "core/heap.hpp"

#include "core/isa.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

namespace perigee::core {
namespace {

// What values in the region refer to is no leak, where a script ends with its state open (os.exit).
#if defined(__SANITIZE_ADDRESS__)
void watch_for_leaks(const void *begin, std::size_t size) {
  __lsan_register_root_region(begin, size);
}
void unwatch(const void *begin, std::size_t size) {
  __lsan_unregister_root_region(begin, size);
}
#else
void watch_for_leaks(const void *, std::size_t) {}
void unwatch(const void *, std::size_t) {}
#endif

constexpr uint64_t address_bits = (uint64_t{1} << 47) - 1; // of a value; above them is its type
constexpr uint64_t region_bits = address_bits & ~uint64_t{LuaHeap::region_size - 1};

#if defined(__x86_64__)
// Whether one of 16 words points into the region at `region`.
__attribute__((target("avx2"))) inline bool any_of_16(const uint64_t *words, uint64_t region) {
  const __m256i base = _mm256_set1_epi64x(static_cast<long long>(region)),
                mask = _mm256_set1_epi64x(static_cast<long long>(region_bits));
  __m256i found = _mm256_setzero_si256();
  for (int i = 0; i < 16; i += 4) {
    const __m256i four = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(words + i));
    found = _mm256_or_si256(found, _mm256_cmpeq_epi64(_mm256_and_si256(four, mask), base));
  }
  return _mm256_testz_si256(found, found) == 0;
}

// The first place from `at` on where 16 words hold something; `end` if there is none.
__attribute__((target("avx2"))) const uint64_t *skip_avx2(const uint64_t *at, const uint64_t *end, uint64_t region) {
  while (end - at >= 16 && !any_of_16(at, region))
    at += 16;
  return at;
}
#endif

} // namespace

LuaHeap::LuaHeap(std::size_t watched) : watched_(watched) {
  // Twice the size, to cut out a piece that is aligned to it; code and the kinds of cells follow. Pages cost nothing
  // until they are touched.
  void *raw = mmap(nullptr, 2 * region_size + beside, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) {
    watched_ = 0;
    return;
  }
  auto *start = static_cast<char *>(raw);
  const std::size_t before = (region_size - reinterpret_cast<uintptr_t>(start) % region_size) % region_size;
  if (before)
    munmap(start, before);
  munmap(start + before + region_size + beside, region_size - before);
  region_ = next_cell_ = start + before;
  code_ = code_at_ = region_ + region_size;
  code_end_ = code_ + code_size;
  kinds_ = reinterpret_cast<uint8_t *>(code_end_);
  watch_for_leaks(region_, region_size);
}

LuaHeap::~LuaHeap() {
  delete listener_;
  for (char *chunk : chunks_)
    std::free(chunk);
  for (Large *list : {&large_, &large_code_})
    for (Large *block = list->next; block != list;)
      std::free(std::exchange(block, block->next));
  for (Large *block : kept_)
    std::free(block);
  if (region_) {
    unwatch(region_, region_size);
    munmap(region_, region_size + beside);
  }
}

void *LuaHeap::take(std::size_t size) {
  if (size == watched_ && !loading_ && (free_cells_ || next_cell_ + cell_size <= region_ + region_size)) {
    void *cell = free_cells_ ? std::exchange(free_cells_, *static_cast<void **>(free_cells_))
                             : std::exchange(next_cell_, next_cell_ + cell_size);
    kinds_[cell_of(cell)] = object;
    return cell;
  }
  return size <= largest_small ? take_small(size) : take_large(size);
}

void *LuaHeap::take_small(std::size_t size) {
  const std::size_t index = pieces(size);
  if (loading_)
    if (void *piece = take_code(index))
      return piece;
  if (!room_[index] && !add_slab(index))
    return nullptr;
  Slab *slab = room_[index];
  if (++slab->live == slab->most)
    unlink(slab);
  if (slab->free)
    return std::exchange(slab->free, *static_cast<void **>(slab->free));
  return std::exchange(slab->at, slab->at + slab->bytes);
}

// A small piece of code; null where there is no room for one.
void *LuaHeap::take_code(std::size_t index) {
  if (void *&free = free_code_[index])
    return std::exchange(free, *static_cast<void **>(free));
  const auto bytes = static_cast<std::ptrdiff_t>(index * step);
  return code_end_ - code_at_ >= bytes ? std::exchange(code_at_, code_at_ + bytes) : nullptr;
}

// A slab of those with room for pieces of this size.
void LuaHeap::link(Slab *slab) noexcept {
  Slab *&first = room_[slab->bytes / step];
  slab->previous = nullptr;
  slab->next = first;
  if (first)
    first->previous = slab;
  first = slab;
}
void LuaHeap::unlink(Slab *slab) noexcept {
  (slab->previous ? slab->previous->next : room_[slab->bytes / step]) = slab->next;
  if (slab->next)
    slab->next->previous = slab->previous;
}

// Gives pieces of this size another slab.
bool LuaHeap::add_slab(std::size_t index) {
  if (!empty_) {
    auto *chunk = static_cast<char *>(std::aligned_alloc(slab_size, chunk_size));
    if (!chunk)
      return false;
    try {
      chunks_.push_back(chunk);
    } catch (...) {
      std::free(chunk);
      return false;
    }
    for (std::size_t at = chunk_size; at > 0; at -= slab_size)
      empty_ = new (chunk + at - slab_size) Slab{empty_, nullptr, nullptr, nullptr, 0, 0, 0};
  }
  Slab *slab = std::exchange(empty_, empty_->next);
  slab->free = nullptr;
  slab->at = slab->begin();
  slab->bytes = index * step;
  slab->most = (slab_size - sizeof(Slab)) / slab->bytes;
  link(slab);
  return true;
}

void LuaHeap::give_small(void *piece, std::size_t index) noexcept {
  auto *slab = reinterpret_cast<Slab *>(reinterpret_cast<uintptr_t>(piece) & ~uintptr_t{slab_size - 1});
  // What stood in it would go on to count as references, and memory is used again and again: half of a script's dead
  // arrays seemed alive once.
  std::memset(piece, 0, index * step);
  *static_cast<void **>(piece) = std::exchange(slab->free, piece);
  if (!slab->has_room())
    link(slab);
  if (--slab->live == 0) {
    unlink(slab);
    slab->next = std::exchange(empty_, slab);
  }
}

void *LuaHeap::take_large(std::size_t size) {
  Large *block = nullptr;
  if (size >= least_kept)
    for (Large *&kept : kept_)
      if (kept && kept->room >= size && kept->room / 2 <= size) {
        block = std::exchange(kept, nullptr);
        kept_bytes_ -= block->room;
        break;
      }
  const std::size_t room = block ? block->room : size;
  if (!block && !(block = static_cast<Large *>(std::malloc(sizeof(Large) + size))))
    return nullptr;
  Large &list = loading_ ? large_code_ : large_;
  *block = {list.next, &list, size, room};
  list.next = block->next->previous = block;
  return block + 1;
}

void LuaHeap::give(void *pointer, std::size_t size) noexcept {
  auto *piece = static_cast<char *>(pointer);
  if (size == watched_ && piece >= region_ && piece < region_ + region_size) {
    const std::size_t cell = cell_of(pointer);
    if (listener_)
      listener_->freed(cell);
    kinds_[cell] = free_cell;
    *static_cast<void **>(pointer) = std::exchange(free_cells_, pointer);
  } else if (is_code(pointer)) {
    *static_cast<void **>(pointer) = std::exchange(free_code_[pieces(size)], pointer);
  } else if (size <= largest_small) {
    give_small(pointer, pieces(size));
  } else {
    Large *block = static_cast<Large *>(pointer) - 1;
    block->previous->next = block->next;
    block->next->previous = block->previous;
    if (block->room >= least_kept && kept_bytes_ + block->room <= most_kept)
      for (Large *&kept : kept_)
        if (!kept) {
          kept_bytes_ += block->room;
          kept = block;
          return;
        }
    std::free(block);
  }
}

void *LuaHeap::allocate(void *user, void *pointer, std::size_t old_size, std::size_t new_size) {
  auto *heap = static_cast<LuaHeap *>(user);
  if (new_size == 0) {
    if (pointer)
      heap->give(pointer, old_size);
    return nullptr;
  }
  if (!pointer)
    return heap->take(new_size);
  if (new_size <= largest_small && pieces(old_size) == pieces(new_size) && old_size != heap->watched_ &&
      new_size != heap->watched_)
    return pointer;
  if (old_size > largest_small && new_size > largest_small) {
    auto *block = static_cast<Large *>(pointer) - 1;
    auto *moved = static_cast<Large *>(std::realloc(block, sizeof(Large) + new_size));
    if (!moved)
      return nullptr;
    moved->size = moved->room = new_size;
    moved->previous->next = moved->next->previous = moved;
    return moved + 1;
  }
  void *to = heap->take(new_size);
  if (!to)
    return nullptr;
  std::memcpy(to, pointer, std::min(old_size, new_size));
  heap->give(pointer, old_size);
  return to;
}

// LuaJIT (GC64) keeps a reference as an address, in the lower 47 bits of a word, with the value's type above it.
// Without a type it is one of the collector's own.
inline void LuaHeap::note(uint64_t word, std::vector<uint8_t> &found) const {
  if ((word & region_bits) != reinterpret_cast<uint64_t>(region_) || word >> 47 == 0)
    return;
  const std::size_t cell = (word & (region_size - 1)) / cell_size;
  if (cell < found.size())
    found[cell] = 1;
}

// Whether a large block is a trace: the type is where objects have it, and where a trace has the addresses of its
// snapshots and their map are addresses within the block. No table, stack or other object has two of those in a row,
// but where LuaJIT had a trace look different, none would be found to be one. They are a third of the heap of a script
// with many loops, and hold no values.
inline bool is_trace(const void *block, std::size_t size) {
  constexpr std::size_t type = 9, least = 64;
  constexpr uint8_t trace = 9;
  if (size < least || static_cast<const uint8_t *>(block)[type] != trace)
    return false;
  const auto *words = static_cast<const uint64_t *>(block);
  const auto start = reinterpret_cast<uint64_t>(block);
  return words[6] - start < size && words[7] - start < size;
}

void LuaHeap::scan(const void *begin, const void *end, std::vector<uint8_t> &found) const {
  const auto region = reinterpret_cast<uint64_t>(region_);
  const auto *at = static_cast<const uint64_t *>(begin), *last = static_cast<const uint64_t *>(end);
#if defined(__x86_64__)
  const bool vectors = isa() >= Isa::avx2;
#endif
  while (at < last) {
#if defined(__x86_64__)
    if (vectors)
      at = skip_avx2(at, last, region);
#endif
    for (const uint64_t *stop = std::min(last, at + 16); at < stop; ++at)
      note(*at, found);
  }
}

std::size_t LuaHeap::find_references(std::vector<uint8_t> &found) const {
  found.assign(used_cells(), 0);
  std::size_t bytes = 0;
  const auto look = [&](const void *at, std::size_t size) {
    scan(at, static_cast<const char *>(at) + size, found);
    bytes += size;
  };
  for (const Large *block = large_.next; block != &large_; block = block->next)
    if (!is_trace(block + 1, block->size))
      look(block + 1, block->size / 8 * 8);
  for (char *chunk : chunks_)
    for (char *at = chunk; at < chunk + chunk_size; at += slab_size)
      if (auto *slab = reinterpret_cast<Slab *>(at); slab->live > 0)
        look(slab->begin(), static_cast<std::size_t>(slab->at - slab->begin()));
  each_marked(kinds_, nullptr, found.size(), object,
              [&](std::size_t cell) { look(region_ + cell * cell_size, cell_size); });
  return bytes;
}

} // namespace perigee::core
