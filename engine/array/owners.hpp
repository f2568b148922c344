// Which references the arrays of a Lua state hold.
#pragma once

#include "core/abi.hpp"
#include "core/heap.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "array/owners_abi.h"
}
#pragma GCC visibility pop

namespace perigee::array {

/// Bytes that a Lua state takes for the struct of an array.
std::size_t owner_size();

} // namespace perigee::array

/// The collector frees the struct of an array as it frees any other object, without a finaliser; the heap tells of it.
struct pg_owners : perigee::core::LuaHeap::Listener {
  explicit pg_owners(perigee::core::LuaHeap &heap);
  ~pg_owners() override;

  /// The reference of a freed array ends with the next settle().
  void freed(std::size_t cell) noexcept override;
  /// Lets go of the references of arrays that were freed. The collector also frees while compiled code runs, which may
  /// have checked a row before: this is for when it does not.
  void settle();
  /// Lets go of the references of arrays that nothing in the heap refers to. Not to be called while compiled code runs:
  /// it keeps arrays in registers. Returns how many bytes of the heap were looked at.
  std::size_t release_dead();
  /// How many arrays there are that hold no reference any more.
  std::size_t given_up() const;
  /// False if there is no cell for it.
  bool take(const pg_array *a);
  void forget(const pg_array *a);

  int patience = 0, setback = 0; // of reclaim() in array_lua.cpp

 private:
  // The cell that an array is in, or most_cells.
  std::size_t cell_of(const pg_array *a) const;

  // The block of a cell, which then has none.
  pg_block *give_up(std::size_t cell);

  perigee::core::LuaHeap &heap_;
  pg_block **blocks_ = nullptr; // by cell; NULL: none, or given up already
  uint8_t *held_ = nullptr;     // 1 where there is one
  std::vector<pg_block *> ended_;
  std::vector<uint8_t> found_;
};
