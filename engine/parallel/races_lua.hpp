// The race detector as Lua states see it.
#pragma once

struct lua_State;

namespace perigee::parallel {

// Pushes a table of the functions that parallel_checked.lua uses.
void open_races(lua_State *L);

// races(pool) -> the list of races found
int races_list(lua_State *L);

} // namespace perigee::parallel
