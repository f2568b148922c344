// The memory of one Lua state. LuaJIT's own allocator would do, but here it is known where everything lies, and objects
// of one size (the structs of arrays) lie together: so it can be told, without the collector, which of them nothing
// refers to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace perigee::core {

/// Calls body(i) for each of n bytes, from the last to the first, of which a bit of `bits` is set and, in the n bytes
/// at `but`, is not. Eight at a time: nearly none are.
template <class Body>
void each_marked(const uint8_t *bytes, const uint8_t *but, std::size_t n, uint8_t bits, const Body &body) {
  const uint64_t mask = bits * (~uint64_t{0} / 255);
  const auto marked = [&](std::size_t i) { return bytes[i] & bits & ~(but ? but[i] : 0); };
  while (n % 8 > 0)
    if (marked(--n))
      body(n);
  while (n > 0) {
    n -= 8;
    uint64_t eight = 0, without = 0;
    std::memcpy(&eight, bytes + n, 8);
    if (but)
      std::memcpy(&without, but + n, 8);
    if (eight & ~without & mask)
      for (std::size_t i = n + 8; i-- > n;)
        if (marked(i))
          body(i);
  }
}

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
  /// While `on`, what is newly made is code: prototypes, their constants and names, which never refer to a watched
  /// object. It lies apart and is not looked through: half of the heap of a script that uses some modules. The
  /// collector must be stopped meanwhile, since its finalisers make other things.
  void loading(bool on) { loading_ = on; }

  /// How many cells were ever used.
  std::size_t used_cells() const { return static_cast<std::size_t>(next_cell_ - region_) / cell_size; }

  /// The object in this cell refers to no other (a struct that the FFI made).
  void bare(std::size_t cell) { kinds_[cell] = bare_cell; }
  bool is_bare(std::size_t cell) const { return kinds_[cell] == bare_cell; }

  /// found[cell] = whether a value anywhere in the heap refers to the object in that cell; free and bare cells and code
  /// are not looked through. Not exact: what merely looks like a reference counts, and so do those from garbage. What
  /// the state itself refers to objects by does not count: the list of all objects, and the constants of compiled code,
  /// whose use is guarded by values that refer to the same objects. Returns how many bytes were looked at.
  std::size_t find_references(std::vector<uint8_t> &found) const;

 private:
  // Small pieces of code lie in a region of their own, so that it is known of each which it is when it is freed.
  static constexpr std::size_t code_size = 16 << 20, beside = code_size + (most_cells + 4095) / 4096 * 4096;

  static constexpr std::size_t step = 16, largest_small = 512, chunk_size = 64 << 10, slab_size = 8 << 10;

  // Small pieces of one size. A slab without any is not looked through, and serves any size: a script whose garbage
  // once took 4 MB, while 0.4 MB of it lived, had all of the 4 MB looked through each time, which took 0.3 ms.
  struct alignas(64) Slab {
    Slab *next, *previous; // of those with room for this size
    void *free;            // a free piece holds the address of the next
    char *at;              // what was never used begins here
    std::size_t bytes, live, most;
    bool has_room() const { return live < most; }
    char *begin() { return reinterpret_cast<char *>(this + 1); }
  };

  // What is larger stands in a list. As many bytes as keep what follows aligned as malloc does.
  struct Large {
    Large *next, *previous;
    std::size_t size, room; // asked for; there is
  };

  // Tables of many elements are made anew by every map of a pool and every function that returns a list; malloc would
  // give their pages back each time, and fetching 1 MB again takes some 0.2 ms. The last few are kept.
  static constexpr std::size_t least_kept = 64 << 10, most_kept = 4 << 20;

  static std::size_t pieces(std::size_t size) { return (size + step - 1) / step; }
  std::size_t cell_of(const void *piece) const {
    return static_cast<std::size_t>(static_cast<const char *>(piece) - region_) / cell_size;
  }
  bool is_code(const void *piece) const { return piece >= code_ && piece < code_end_; }
  void *take(std::size_t size);
  void *take_small(std::size_t size);
  void *take_code(std::size_t index);
  bool add_slab(std::size_t index);
  void give_small(void *piece, std::size_t index) noexcept;
  void link(Slab *slab) noexcept;
  void unlink(Slab *slab) noexcept;
  void *take_large(std::size_t size);
  void give(void *pointer, std::size_t size) noexcept;
  void scan(const void *begin, const void *end, std::vector<uint8_t> &found) const;
  void note(uint64_t word, std::vector<uint8_t> &found) const;

  // Of a cell. A script that made thousands of arrays and now makes few has thousands of free ones; to look through
  // each of them took 0.1 ms a time once.
  enum Kind : uint8_t { free_cell = 0, object = 1, bare_cell = 2 };

  std::size_t watched_;
  uint8_t *kinds_ = nullptr;
  char *region_ = nullptr, *next_cell_ = nullptr;
  void *free_cells_ = nullptr;                // a free piece holds the address of the next
  Slab *room_[largest_small / step + 1] = {}; // the slabs of each size that have room
  Slab *empty_ = nullptr;                     // those without a piece
  std::vector<char *> chunks_;                // of slabs
  Large large_{&large_, &large_, 0, 0}, large_code_{&large_code_, &large_code_, 0, 0};
  bool loading_ = false;
  char *code_ = nullptr, *code_at_ = nullptr, *code_end_ = nullptr;
  void *free_code_[largest_small / step + 1] = {};
  Large *kept_[4] = {};
  std::size_t kept_bytes_ = 0;
  Listener *listener_ = nullptr;
};

} // namespace perigee::core
