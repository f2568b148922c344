// Messages from and to the values of a Lua state.
#pragma once

#include "parallel/transport.hpp"

#include <lua.hpp>

#include <string>
#include <unordered_map>
#include <unordered_set>

namespace perigee::parallel {

// What a Lua state needs to send and receive. One a state: `Transport::of`. The functions run inside a protected call
// of that state; Lua may raise out of them.
class Transport {
 public:
  // The state's, made at the first call.
  static Transport &of(lua_State *L);

  // Takes from the table at the top of the stack, and pops it, the functions that only Lua can provide
  // (parallel_pool.lua).
  void connect(lua_State *L);

  // Codes the values at `first` to the top. Where one cannot travel: false, and `reason` says which, with "\1" for the
  // value's own name and `culprit`, its number from 1.
  bool encode(lua_State *L, int first, Message &message);
  std::string reason;
  int culprit = 0;

  // Pushes the values of a message and returns how many.
  int decode(lua_State *L, const Message &message);

  // The id of the code of a function that was sent or received, 0 for others.
  double code_id(lua_State *L, int index) const;

 private:
  friend class Encoder;
  friend class Decoder;
  explicit Transport(lua_State *L);
  const Prototype *prototype_of(lua_State *L, int index, unsigned upvalues);
  // Notes the prototype of the function at the top of the stack.
  void know(lua_State *L, const std::shared_ptr<const Prototype> &prototype);
  void push_factory(lua_State *L, const Prototype &prototype);
  void push(lua_State *L, int reference) const { lua_rawgeti(L, LUA_REGISTRYINDEX, reference); }
  void load_libraries(lua_State *L);

  const void *env_ = nullptr;
  // Of the registry: functions of parallel_pool.lua, and tables.
  int kind_of_ = LUA_NOREF, name_of_ = LUA_NOREF, resolve_ = LUA_NOREF, bless_ = LUA_NOREF, adopt_array_ = LUA_NOREF,
      array_address_ = LUA_NOREF, adopt_shared_ = LUA_NOREF, new_cdata_ = LUA_NOREF, libraries_ = LUA_NOREF,
      add_chunk_ = LUA_NOREF, chunk_text_ = LUA_NOREF, env_reference_ = LUA_NOREF;
  int ids_ = LUA_NOREF;       // function -> id of its prototype, weak keys
  int factories_ = LUA_NOREF; // id of a prototype -> its factory
  size_t factory_count_ = 0;
  std::unordered_map<uint64_t, std::shared_ptr<const Prototype>> sent_;
  std::unordered_set<const void *> library_tables_;
  bool libraries_known_ = false;
};

} // namespace perigee::parallel
