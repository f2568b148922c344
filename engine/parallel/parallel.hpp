// Parallel work of Lua states: what the core needs to know of it.
#pragma once

struct lua_State;

namespace perigee::parallel {

// Pushes a table of the functions that the module's Lua files use.
void open(lua_State *L);

// A new state, with the core's `boot` at the top of the stack: sets it up as its worker's pool says (WorkerMode).
void prepare_state(lua_State *L);

} // namespace perigee::parallel
