// Which references the arrays of a Lua state hold.
#include "array/array.hpp"
#include "core/abi.hpp"
#include "core/status.hpp"

#include <cstdlib>
#include <new>
#include <utility>

#pragma GCC visibility push(default)
extern "C" {
#include "array/owners_abi.h"
}
#pragma GCC visibility pop

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_owners_grow(pg_owners *owners, int32_t capacity) {
  return guard([&] {
    const auto slots = static_cast<std::size_t>(capacity) + 1;
    auto *blocks = static_cast<pg_block **>(std::realloc(owners->blocks, slots * sizeof(pg_block *)));
    if (!blocks)
      throw std::bad_alloc();
    owners->blocks = blocks;
    auto *free = static_cast<int32_t *>(std::realloc(owners->free, slots * sizeof(int32_t)));
    if (!free)
      throw std::bad_alloc();
    owners->free = free;
    for (int32_t slot = capacity; slot > owners->capacity; --slot) { // low slots are taken first
      blocks[slot] = nullptr;
      free[owners->available++] = slot;
    }
    owners->capacity = capacity;
  });
}

int32_t pg_owners_take(pg_owners *owners, const pg_array *a) {
  const int32_t slot = owners->free[--owners->available];
  owners->blocks[slot] = a->_block;
  return slot;
}

void pg_owners_drop(pg_owners *owners, int32_t slot) {
  release(std::exchange(owners->blocks[slot], nullptr));
  owners->free[owners->available++] = slot;
}

void pg_owners_close(pg_owners *owners) {
  for (int32_t slot = 1; slot <= owners->capacity; ++slot)
    release(owners->blocks[slot]);
  std::free(owners->blocks);
  std::free(owners->free);
  *owners = pg_owners{};
}
}
