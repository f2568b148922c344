// What array.lua needs that runs inside the VM.
#include "array/array_lua.hpp"

#include "array/array.hpp"
#include "array/owners.hpp"
#include "core/memory.hpp"

#include <lua.hpp>

#include <algorithm>

namespace perigee::array {
namespace {

// The finaliser of arrays that are not in a cell: a C function, since a call through the FFI by the collector takes 0.2
// us more.
int release_array(lua_State *L) {
  pg_array_release(static_cast<pg_array *>(const_cast<void *>(lua_topointer(L, 1))));
  return 0;
}

// How many calls of reclaim() do nothing after one that was not worth its time.
constexpr int most_patience = 15;

// reclaim() -> whether enough memory of dead arrays was given back to do without a collection. Takes a fraction of the
// time of one. Called from Lua, it is never in the middle of compiled code.
int reclaim(lua_State *L) {
  auto *owners = static_cast<pg_owners *>(lua_touserdata(L, lua_upvalueindex(1)));
  bool enough = false;
  std::size_t looked_at = 0;
  if (owners->patience > 0) {
    --owners->patience;
  } else {
    const int64_t before = core::account_growth();
    looked_at = owners->release_dead();
    // (Memory of other states is on their accounts.)
    const bool worth = before > 0 && core::account_growth() <= before / 2;
    enough = worth && !core::account_unproved();
    owners->setback = worth ? 0 : std::min(2 * owners->setback + 1, most_patience);
    owners->patience = owners->setback;
  }
  if (enough)
    core::note_reclaimed(static_cast<int64_t>(looked_at));
  lua_pushboolean(L, enough);
  return 1;
}

// The finaliser of an object that nothing refers to, so it runs at the end of each collection, and makes the next such
// object. Upvalues: the owners, the object's metatable.
int settle(lua_State *L) {
  static_cast<pg_owners *>(lua_touserdata(L, lua_upvalueindex(1)))->settle();
  lua_newuserdata(L, 0);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_setmetatable(L, -2);
  return 0;
}

// For tests. release_dead(): what reclaim() does at its best; returns how many bytes it looked at. given_up() -> how
// many arrays are there whose references were let go of.
int release_dead(lua_State *L) {
  lua_pushnumber(
      L, static_cast<lua_Number>(static_cast<pg_owners *>(lua_touserdata(L, lua_upvalueindex(1)))->release_dead()));
  return 1;
}
int given_up(lua_State *L) {
  lua_pushinteger(
      L, static_cast<lua_Integer>(static_cast<const pg_owners *>(lua_touserdata(L, lua_upvalueindex(1)))->given_up()));
  return 1;
}

} // namespace

void open(lua_State *L, core::LuaHeap *heap) {
  lua_newtable(L);
  lua_pushcfunction(L, release_array);
  lua_setfield(L, -2, "release");
  if (!heap)
    return;
  auto *owners = new pg_owners(*heap);
  heap->listen(owners);
  lua_pushlightuserdata(L, owners);
  lua_setfield(L, -2, "owners");
  lua_newtable(L);
  lua_pushlightuserdata(L, owners);
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, settle, 2);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__gc");
  lua_call(L, 0, 0);
  lua_pop(L, 1);
  const luaL_Reg functions[] = {{"reclaim", reclaim}, {"release_dead", release_dead}, {"given_up", given_up}};
  for (const luaL_Reg &f : functions) {
    lua_pushlightuserdata(L, owners);
    lua_pushcclosure(L, f.func, 1);
    lua_setfield(L, -2, f.name);
  }
}

} // namespace perigee::array
