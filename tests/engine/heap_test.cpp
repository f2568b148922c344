// The memory of Lua states: pieces of every size, their contents kept when they grow, and large ones used again.
#include "core/heap.hpp"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

using perigee::core::LuaHeap;

namespace {

void *take(LuaHeap &heap, std::size_t size) {
  return LuaHeap::allocate(&heap, nullptr, 0, size);
}
void give(LuaHeap &heap, void *pointer, std::size_t size) {
  LuaHeap::allocate(&heap, pointer, size, 0);
}

} // namespace

TEST_CASE("heap: pieces do not overlap and keep what is in them", "[core]") {
  LuaHeap heap(184);
  std::mt19937 random(1);
  struct Piece {
    unsigned char *at;
    std::size_t size;
    unsigned char mark;
  };
  std::vector<Piece> pieces;
  std::size_t wrong = 0;
  const auto check = [&](const Piece &piece, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
      wrong += piece.at[i] != piece.mark;
  };
  const std::size_t sizes[] = {1, 16, 17, 184, 192, 500, 512, 513, 4096, 70000, 100000, 200000, 1 << 20};
  for (int round = 0; round < 3000; ++round) {
    const std::size_t size = sizes[random() % std::size(sizes)];
    const auto mark = static_cast<unsigned char>(random());
    if (pieces.size() < 20 || random() % 3 == 0) {
      pieces.push_back({static_cast<unsigned char *>(take(heap, size)), size, mark});
      std::memset(pieces.back().at, mark, size);
      continue;
    }
    const std::size_t which = random() % pieces.size();
    Piece &piece = pieces[which];
    check(piece, piece.size);
    if (random() % 2) {
      give(heap, piece.at, piece.size);
      pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(which));
    } else {
      piece.at = static_cast<unsigned char *>(LuaHeap::allocate(&heap, piece.at, piece.size, size));
      check(piece, std::min(piece.size, size));
      piece.size = size;
      piece.mark = mark;
      std::memset(piece.at, mark, size);
    }
  }
  for (const Piece &piece : pieces) {
    check(piece, piece.size);
    give(heap, piece.at, piece.size);
  }
  CHECK(wrong == 0);
}

TEST_CASE("heap: a large block is used again, where it is not twice too large", "[core]") {
  LuaHeap heap(184);
  void *first = take(heap, 1 << 20);
  give(heap, first, 1 << 20);
  CHECK(take(heap, 3 << 20) != first);
  CHECK(take(heap, 64 << 10) != first);
  CHECK(take(heap, 900 << 10) == first);
}

namespace {

constexpr std::size_t watched = 184;

// Whether a value refers to `object`, as the heap sees it.
std::size_t cell_of(const LuaHeap &heap, const void *object) {
  return static_cast<std::size_t>(static_cast<const char *>(object) - heap.cells()) / LuaHeap::cell_size;
}
bool found(const LuaHeap &heap, const void *object) {
  std::vector<uint8_t> cells;
  heap.find_references(cells);
  return cells.at(cell_of(heap, object)) != 0;
}

void *take_empty(LuaHeap &heap, std::size_t size) {
  return std::memset(take(heap, size), 0, size);
}

// A reference as LuaJIT keeps it: the address with a type above it, or without one.
void refer(void *at, std::size_t word, const void *object, bool typed) {
  static_cast<uint64_t *>(at)[word] =
      reinterpret_cast<uint64_t>(object) | (typed ? uint64_t{0x1fff5} << 47 : uint64_t{0});
}

} // namespace

TEST_CASE("heap: references are found wherever they are", "[core]") {
  for (const std::size_t size : {16, 48, 512, 520, 4096, 70000, 184}) {
    LuaHeap heap(watched);
    void *object = take_empty(heap, watched), *other = take_empty(heap, watched), *holder = take_empty(heap, size);
    REQUIRE_FALSE(found(heap, object));
    for (std::size_t word = 0; word < size / 8; word += std::max<std::size_t>(1, size / 64)) {
      refer(holder, word, object, true);
      CHECK(found(heap, object));
      CHECK_FALSE(found(heap, other));
      refer(holder, word, object, false);
      CHECK_FALSE(found(heap, object)); // the collector's list of all objects
      static_cast<uint64_t *>(holder)[word] = 0;
    }
    refer(holder, size / 8 - 1, static_cast<char *>(object) + 16, true); // to the struct behind the header
    CHECK(found(heap, object));
    give(heap, holder, size);
    CHECK_FALSE(found(heap, object)); // what is free refers to nothing
    give(heap, object, watched);
    give(heap, other, watched);
  }
}

TEST_CASE("heap: bare and free cells are not looked through", "[core]") {
  LuaHeap heap(watched);
  void *object = take_empty(heap, watched), *holder = take_empty(heap, watched);
  refer(holder, 3, object, true);
  CHECK(found(heap, object));
  heap.bare(cell_of(heap, holder));
  CHECK_FALSE(found(heap, object));
  give(heap, holder, watched);
  CHECK(take(heap, watched) == holder); // an object of another kind, as far as is known
  CHECK_FALSE(heap.is_bare(cell_of(heap, holder)));
  CHECK(found(heap, object));

  // A loop over small arrays leaves thousands of cells free: they do not count as what is looked at.
  std::vector<uint8_t> cells;
  const std::size_t before = heap.find_references(cells);
  std::vector<void *> many;
  for (int i = 0; i < 5000; ++i)
    many.push_back(take_empty(heap, watched));
  CHECK(heap.find_references(cells) == before + 5000 * LuaHeap::cell_size);
  for (void *piece : many)
    give(heap, piece, watched);
  CHECK(heap.find_references(cells) == before);
}

TEST_CASE("heap: what is made while code is loaded is not looked through", "[core]") {
  LuaHeap heap(watched);
  void *object = take_empty(heap, watched);
  std::vector<std::pair<void *, std::size_t>> code;
  heap.loading(true);
  for (const std::size_t size : {16, 40, 184, 512, 513, 5000, 100000}) {
    code.emplace_back(take_empty(heap, size), size);
    refer(code.back().first, 0, object, true);
  }
  heap.loading(false);
  CHECK_FALSE(found(heap, object));
  // Its memory serves code again, and nothing else.
  for (const auto &[piece, size] : code)
    give(heap, piece, size);
  for (const auto &[piece, size] : code) {
    void *other = take_empty(heap, size);
    refer(other, 1, object, true);
    CHECK(found(heap, object));
    std::memset(other, 0, size);
    REQUIRE_FALSE(found(heap, object));
  }
  // What grows after the loading is looked through.
  heap.loading(true);
  void *small = take_empty(heap, 40);
  refer(small, 1, object, true);
  heap.loading(false);
  CHECK_FALSE(found(heap, object));
  LuaHeap::allocate(&heap, small, 40, 400);
  CHECK(found(heap, object));
}

TEST_CASE("heap: memory that small pieces once took is not looked through, and serves others", "[core]") {
  LuaHeap heap(watched);
  void *object = take_empty(heap, watched), *stays = take_empty(heap, 96);
  std::vector<uint8_t> cells;
  const std::size_t before = heap.find_references(cells);
  for (const std::size_t size : {96, 16, 500, 96}) {
    std::vector<void *> many;
    for (int i = 0; i < 20000; ++i)
      many.push_back(take_empty(heap, size));
    CHECK(heap.find_references(cells) >= before + 20000 * size);
    refer(many[10000], 1, object, true);
    CHECK(found(heap, object));
    for (std::size_t i = 0; i < many.size(); ++i)
      give(heap, many[(i * 7) % many.size()], size);
    CHECK_FALSE(found(heap, object));
    CHECK(heap.find_references(cells) <= before + 8192); // of the slab with the piece that stays
  }
  give(heap, stays, 96);
  give(heap, object, watched);
}
