// What parallel_checked.lua calls of the race detector: accesses are placed at the script's line by a look at the
// stack.
#include "parallel/races_lua.hpp"
#include "array/array.hpp"
#include "parallel/pool.hpp"
#include "parallel/waiting.hpp"

#include <lua.hpp>

#include <cstring>

namespace perigee::parallel {
namespace {

// "file:line" of the innermost frame that is not the engine's.
std::string position(lua_State *L) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(L, level, &frame); ++level) {
    lua_getinfo(L, "Sl", &frame);
    if (frame.currentline > 0 && std::strncmp(frame.source, "@perigee:", 9) != 0)
      return std::string(frame.short_src) + ":" + std::to_string(frame.currentline);
  }
  return "a function's last call (return f(...))"; // which takes the function's place
}

RaceThread *thread() {
  const Participant *me = ThreadParticipant::current();
  return me ? me->race : nullptr;
}

// What a pointer that is cdata points to.
char *pointer_at(lua_State *L, int index) {
  return *static_cast<char *const *>(lua_topointer(L, index));
}

int found(lua_State *L, const RaceThread &me) {
  lua_pushboolean(L, !me.unnamed.empty());
  return 1;
}

void access(RaceThread &me, const void *address, int32_t dtype, Access kind, const std::string &where) {
  const size_t size = static_cast<size_t>(array::element_size(dtype));
  if (kind == Access::atomic)
    return race_atomic(me, address, size, where);
  if (!array::is_complex(dtype))
    return race_access(me, address, size, kind, where);
  // Real and imaginary parts have views of their own.
  race_access(me, address, size / 2, kind, where);
  race_access(me, static_cast<const char *>(address) + size / 2, size / 2, kind, where);
}

// touch(data, dtype, i, kind) -> whether that was a race that was not known
int touch(lua_State *L) {
  RaceThread *me = thread();
  if (!me)
    return 0;
  const auto dtype = static_cast<int32_t>(lua_tointeger(L, 2));
  const auto offset = static_cast<int64_t>(lua_tonumber(L, 3)) * static_cast<int64_t>(array::element_size(dtype));
  access(*me, pointer_at(L, 1) + offset, dtype, static_cast<Access>(lua_tointeger(L, 4)), position(L));
  return found(L, *me);
}

// touch_all(pg_array *, kind) -> the same for all elements
int touch_all(lua_State *L) {
  RaceThread *me = thread();
  if (!me)
    return 0;
  const auto &a = *reinterpret_cast<const pg_array *>(pointer_at(L, 1));
  const auto kind = static_cast<Access>(lua_tointeger(L, 2));
  if (!a._block || a._size == 0)
    return 0;
  const std::string where = position(L);
  const auto size = static_cast<int64_t>(array::element_size(a._dtype));
  int64_t index[8] = {}, offset = 0;
  for (int64_t i = 0; i < a._size; ++i) {
    access(*me, static_cast<char *>(a._data) + offset * size, a._dtype, kind, where);
    for (int axis = a._ndim - 1; axis >= 0; --axis) {
      offset += a._strides[axis];
      if (++index[axis] < a._shape[axis])
        break;
      offset -= a._strides[axis] * a._shape[axis];
      index[axis] = 0;
    }
  }
  return found(L, *me);
}

// name(text): says which element it was about
int name(lua_State *L) {
  size_t size = 0;
  const char *text = lua_tolstring(L, 1, &size);
  race_name(*thread(), std::string(text, size));
  return 0;
}

// races(pool) -> {{element, first = {where, worker, access}, second = ..., count, text}, ...}
} // namespace

int races_list(lua_State *L) {
  auto *shared = static_cast<Shared *>(static_cast<const pg_shared *>(lua_topointer(L, 1))->_object);
  const auto races = races_found(static_cast<Pool *>(shared)->id);
  lua_createtable(L, static_cast<int>(races.size()), 0);
  int i = 0;
  auto set = [L](const char *key, const std::string &text) {
    lua_pushlstring(L, text.data(), text.size());
    lua_setfield(L, -2, key);
  };
  for (const Race &race : races) {
    lua_createtable(L, 0, 5);
    set("element", race.element);
    set("text", describe(race));
    lua_pushnumber(L, static_cast<lua_Number>(race.count));
    lua_setfield(L, -2, "count");
    auto side = [&](const char *key, const std::string &where, const std::string &worker, Access kind) {
      lua_createtable(L, 0, 3);
      set("where", where);
      set("worker", worker);
      set("access", kind == Access::read ? "read" : kind == Access::write ? "write" : "atomic");
      lua_setfield(L, -2, key);
    };
    side("first", race.first_where, race.first_worker, race.first);
    side("second", race.second_where, race.second_worker, race.second);
    lua_rawseti(L, -2, ++i);
  }
  return 1;
}

void open_races(lua_State *L) {
  lua_newtable(L);
  const luaL_Reg functions[] = {{"touch", touch}, {"touch_all", touch_all}, {"name", name}, {nullptr, nullptr}};
  for (const luaL_Reg *f = functions; f->name; ++f) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
}

} // namespace perigee::parallel
