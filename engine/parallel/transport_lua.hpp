// Messages from and to the values of a Lua state.
#pragma once

#include "parallel/transport.hpp"

#include <lua.hpp>

#include <string>
#include <unordered_map>
#include <unordered_set>

namespace perigee::parallel {

// Numbers of pointers, as they come: kept from message to message, so that coding a small one allocates nothing.
class Numbering {
 public:
  void clear() {
    ++epoch_;
    count_ = 0;
  }
  uint32_t size() const { return count_; }
  // The number of a pointer, and whether it is new: then it has the next one.
  std::pair<uint32_t, bool> number(const void *key) {
    Entry &entry = find(key);
    if (entry.epoch == epoch_)
      return {entry.number, false};
    entry = {key, epoch_, count_++};
    const uint32_t number = entry.number;
    if (count_ * 2 > entries_.size())
      grow();
    return {number, true};
  }
  // The number of a pointer, or -1.
  int64_t known(const void *key) {
    const Entry &entry = find(key);
    return entry.epoch == epoch_ ? int64_t(entry.number) : -1;
  }

 private:
  struct Entry {
    const void *key = nullptr;
    uint32_t epoch = 0, number = 0;
  };
  Entry &find(const void *key) {
    const size_t mask = entries_.size() - 1;
    size_t at = (reinterpret_cast<uintptr_t>(key) * 0x9e3779b97f4a7c15u >> 20) & mask;
    while (entries_[at].epoch == epoch_ && entries_[at].key != key)
      at = (at + 1) & mask;
    return entries_[at];
  }
  void grow() {
    std::vector<Entry> old(entries_.size() * 2);
    old.swap(entries_);
    for (const Entry &entry : old)
      if (entry.epoch == epoch_)
        find(entry.key) = entry;
  }
  std::vector<Entry> entries_ = std::vector<Entry>(16);
  uint32_t epoch_ = 1, count_ = 0;
};

// What a Lua state needs to send and receive. One a state: `Transport::of`. The functions run inside a protected call
// of that state; Lua may raise out of them.
class Transport {
 public:
  // The state's, made at the first call.
  static Transport &of(lua_State *L);

  // Takes from the table at the top of the stack, and pops it, the functions that only Lua can provide
  // (parallel_transport.lua).
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
  std::shared_ptr<const Prototype> prototype_of(lua_State *L, int index);
  // Of the function at the top of the stack; NULL where it has not travelled yet.
  const std::shared_ptr<const Prototype> *known_prototype(lua_State *L);
  // Notes the prototype of the function at the top of the stack.
  void know(lua_State *L, const std::shared_ptr<const Prototype> &prototype);
  void push_factory(lua_State *L, const Prototype &prototype);
  void push(lua_State *L, int reference) const { lua_rawgeti(L, LUA_REGISTRYINDEX, reference); }
  void load_libraries(lua_State *L);

  const void *env_ = nullptr;
  // Of the message that is coded or decoded.
  Numbering tables_, functions_, cells_, prototypes_;
  struct FoundFunction {
    int parent, upvalue; // where it was found: in the upvalue of a function, or (-1) in the value with number `root`
    int root;
  };
  std::vector<FoundFunction> found_;
  struct Cell {
    int function, upvalue; // the first function that has it, as which
  };
  std::vector<Cell> made_cells_;
  Bytes body_;
  // Of the registry: functions of parallel_transport.lua, and tables.
  int kind_of_ = LUA_NOREF, name_of_ = LUA_NOREF, resolve_ = LUA_NOREF, bless_ = LUA_NOREF, adopt_array_ = LUA_NOREF,
      array_address_ = LUA_NOREF, adopt_shared_ = LUA_NOREF, new_cdata_ = LUA_NOREF, libraries_ = LUA_NOREF,
      add_chunk_ = LUA_NOREF, chunk_text_ = LUA_NOREF, env_reference_ = LUA_NOREF;
  int ids_ = LUA_NOREF;                                             // function -> id of its prototype, weak keys
  int factories_ = LUA_NOREF;                                       // id of a prototype -> its factory
  int coded_functions_ = LUA_NOREF, decoded_functions_ = LUA_NOREF; // lists, of the message at hand
  size_t factory_count_ = 0;
  std::unordered_map<uint64_t, std::shared_ptr<const Prototype>> sent_;
  std::unordered_set<const void *> library_tables_;
  bool libraries_known_ = false;
};

} // namespace perigee::parallel
