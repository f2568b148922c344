#pragma once

struct lua_State;
namespace perigee::core {
class LuaHeap;
}

namespace perigee::array {

/// Pushes a table of the functions that array.lua uses. `heap` is the state's, NULL if it has another allocator.
void open(lua_State *L, core::LuaHeap *heap);

} // namespace perigee::array
