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
