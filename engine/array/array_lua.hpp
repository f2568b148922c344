#pragma once

struct lua_State;

namespace perigee::array {

/// Pushes a table of the functions that array.lua uses.
void open(lua_State *L);

} // namespace perigee::array
