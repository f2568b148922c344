#pragma once

struct lua_State;

namespace perigee::io {

/// Pushes a table of the functions that io.lua uses.
void open(lua_State *L);

} // namespace perigee::io
