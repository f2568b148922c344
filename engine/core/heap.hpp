// The memory of one Lua state. LuaJIT's own allocator would do, but here it is known where everything lies, and objects
// of one size (the structs of arrays) lie together: so it can be told, without the collector, which of them nothing
// refers to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace perigee::core {

class LuaHeap {
 public:
  /// What is told of a watched object that the state frees, and, when the heap ends, told last.
  struct Listener {
    virtual ~Listener() = default;
    virtual void freed(std::size_t cell) noexcept = 0;
  };

  /// Objects of `watched` bytes lie in cells. Where there is no room for cells, none is watched.
  explicit LuaHeap(std::size_t watched);
  LuaHeap(const LuaHeap &) = delete;
  ~LuaHeap();

  /// A lua_Alloc; `user` is the heap.
  static void *allocate(void *user, void *pointer, std::size_t old_size, std::size_t new_size);

  /// Takes ownership. One at most.
  void listen(Listener *listener) { listener_ = listener; }

  static constexpr std::size_t cell_size = 192, region_size = 16 << 20, most_cells = region_size / cell_size;
  const char *cells() const { return region_; }
  /// How many cells were ever used.
  std::size_t used_cells() const { return static_cast<std::size_t>(next_cell_ - region_) / cell_size; }

  /// counts[cell] = 0 or 1 if nothing in the heap refers to the object in that cell, but for the list of all objects.
  /// Not exact: what merely looks like a reference counts, and so do those from garbage. Of a cell with bare[cell] only
  /// the first word is looked at, the collector's.
  void find_references(std::vector<uint8_t> &counts, const std::vector<bool> &bare) const;

 private:
  static constexpr std::size_t step = 16, largest_small = 512, chunk_size = 64 << 10;

  // What is larger stands in a list. As many bytes as keep what follows aligned as malloc does.
  struct Large {
    Large *next, *previous;
    std::size_t size, room; // asked for; there is
  };

  // Tables of many elements are made anew by every map of a pool and every function that returns a list; malloc would
  // give their pages back each time, and fetching 1 MB again takes some 0.2 ms. The last few are kept.
  static constexpr std::size_t least_kept = 64 << 10, most_kept = 4 << 20;

  void *take(std::size_t size);
  void give(void *pointer, std::size_t size) noexcept;
  void scan(const void *begin, const void *end, std::vector<uint8_t> &counts) const;
  void note(uint64_t word, std::vector<uint8_t> &counts) const;

  std::size_t watched_;
  char *region_ = nullptr, *next_cell_ = nullptr;
  void *free_cells_ = nullptr; // a free piece holds the address of the next
  void *free_[largest_small / step + 1] = {};
  std::vector<char *> chunks_;
  char *chunk_at_ = nullptr, *chunk_end_ = nullptr;
  Large large_{&large_, &large_, 0, 0};
  Large *kept_[4] = {};
  std::size_t kept_bytes_ = 0;
  Listener *listener_ = nullptr;
};

} // namespace perigee::core
