#include "array/owners.hpp"

#include "array/array.hpp"

#include <sys/mman.h>
#include <utility>

using perigee::core::LuaHeap;

namespace perigee::array {
namespace {

constexpr std::size_t header = 16; // what LuaJIT has before a struct

} // namespace

std::size_t owner_size() {
  return header + sizeof(pg_array);
}

} // namespace perigee::array

using namespace perigee::array;

pg_owners::pg_owners(LuaHeap &heap) : heap_(heap) {
  void *raw = heap.cells() ? mmap(nullptr, LuaHeap::most_cells * (sizeof(pg_block *) + 1), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                           : MAP_FAILED;
  if (raw != MAP_FAILED) {
    blocks_ = static_cast<pg_block **>(raw);
    held_ = reinterpret_cast<uint8_t *>(blocks_ + LuaHeap::most_cells);
  }
}

pg_owners::~pg_owners() {
  for (std::size_t cell = 0; blocks_ && cell < heap_.used_cells(); ++cell)
    freed(cell);
  settle();
  if (blocks_)
    munmap(blocks_, LuaHeap::most_cells * (sizeof(pg_block *) + 1));
}

std::size_t pg_owners::cell_of(const pg_array *a) const {
  const auto offset = static_cast<std::size_t>(reinterpret_cast<const char *>(a) - heap_.cells());
  return blocks_ && offset < LuaHeap::region_size ? offset / LuaHeap::cell_size : LuaHeap::most_cells;
}

pg_block *pg_owners::give_up(std::size_t cell) {
  held_[cell] = 0;
  return std::exchange(blocks_[cell], nullptr);
}

bool pg_owners::take(const pg_array *a) {
  const std::size_t cell = cell_of(a);
  if (cell == LuaHeap::most_cells)
    return false;
  blocks_[cell] = a->_block;
  held_[cell] = 1;
  heap_.bare(cell);
  return true;
}

void pg_owners::forget(const pg_array *a) {
  if (const std::size_t cell = cell_of(a); cell != LuaHeap::most_cells)
    give_up(cell);
}

void pg_owners::freed(std::size_t cell) noexcept {
  if (!blocks_)
    return;
  if (pg_block *block = give_up(cell)) {
    try {
      ended_.push_back(block);
    } catch (...) { // no memory for the list: the block stays
    }
  }
}

void pg_owners::settle() {
  while (!ended_.empty()) {
    release(ended_.back());
    ended_.pop_back();
  }
}

std::size_t pg_owners::release_dead() {
  if (!blocks_)
    return 0;
  settle();
  const std::size_t bytes = heap_.find_references(found_);
  // Downwards, so that new arrays take memory upwards again: what is freed last is used first.
  perigee::core::each_marked(held_, found_.data(), found_.size(), 1, [&](std::size_t cell) { release(give_up(cell)); });
  return bytes;
}

std::size_t pg_owners::given_up() const {
  std::size_t count = 0;
  for (std::size_t cell = 0; blocks_ && cell < heap_.used_cells(); ++cell)
    count += heap_.is_bare(cell) && !held_[cell];
  return count;
}

extern "C" {

int32_t pg_owners_take(pg_owners *owners, const pg_array *a) {
  return owners->take(a) ? 1 : 0;
}

int32_t pg_owners_stretch(pg_owners *owners, pg_array *out, const pg_array *a, int64_t start, int64_t length) {
  out->_block = a->_block;
  if (!owners->take(out)) {
    out->_block = nullptr;
    return 0;
  }
  retain(a->_block);
  out->_data = static_cast<char *>(a->_data) + start * a->_strides[0] * static_cast<int64_t>(element_size(a->_dtype));
  out->_size = out->_shape[0] = length;
  out->_dtype = a->_dtype;
  out->_ndim = 1;
  out->_flags = a->_flags | PG_ARRAY_VIEW;
  out->_device = a->_device;
  out->_strides[0] = a->_strides[0];
  return 1;
}

void pg_owners_forget(pg_owners *owners, const pg_array *a) {
  owners->forget(a);
}
}
