// What array.lua needs that runs inside the VM: finalisers. In Lua they would be interpreted, since finalisers start no
// traces, and each call through the FFI would take 0.2 us: as much as the whole array otherwise costs.
#include "array/array_lua.hpp"
#include "array/array.hpp"

#include <lua.hpp>

#pragma GCC visibility push(default)
extern "C" {
#include "array/owners_abi.h"
}
#pragma GCC visibility pop

namespace perigee::array {
namespace {

int release_array(lua_State *L) {
  pg_array_release(static_cast<pg_array *>(const_cast<void *>(lua_topointer(L, 1))));
  return 0;
}

// The finaliser of an object that nothing refers to, so it runs at the end of each collection: lets go of the
// references of arrays that the collector has found dead, and makes the next such object. Upvalues: the weak table of
// arrays, the pg_owners (whose cdata stays alive), the object's metatable.
int sweep(lua_State *L) {
  auto *owners = static_cast<pg_owners *>(lua_touserdata(L, lua_upvalueindex(2)));
  // Downwards, so that new arrays take memory upwards again: what is freed last is used first.
  for (int32_t slot = owners->capacity; slot > 0; --slot) {
    lua_rawgeti(L, lua_upvalueindex(1), slot);
    if (lua_isnil(L, -1)) {
      lua_pushboolean(L, 0);
      lua_rawseti(L, lua_upvalueindex(1), slot);
      pg_owners_drop(owners, slot);
    }
    lua_pop(L, 1);
  }
  lua_newuserdata(L, 0);
  lua_pushvalue(L, lua_upvalueindex(3));
  lua_setmetatable(L, -2);
  return 0;
}

// watch(owned, owners): sweeps from now on.
int watch(lua_State *L) {
  auto *owners = const_cast<void *>(lua_topointer(L, 2));
  lua_newtable(L);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, owners);
  lua_pushvalue(L, -3);
  lua_pushcclosure(L, sweep, 3);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__gc");
  lua_call(L, 0, 0);
  return 0;
}

} // namespace

void open(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, release_array);
  lua_setfield(L, -2, "release");
  lua_pushcfunction(L, watch);
  lua_setfield(L, -2, "watch");
}

} // namespace perigee::array
