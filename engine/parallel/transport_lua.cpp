#include "parallel/transport_lua.hpp"

#include "core/status.hpp"

#include <array>
#include <cstring>
#include <mutex>

namespace perigee::parallel {
namespace {

enum Tag : uint8_t {
  tag_nil,
  tag_false,
  tag_true,
  tag_number,
  tag_string,
  tag_table,
  tag_seen, // a table that came before
  tag_function,
  tag_array,
  tag_shared,
  tag_named, // what every state has, by name: modules, library tables, functions of these
  tag_class, // a table whose metatable has a name
  tag_int64,
  tag_uint64,
  tag_complex,
  tag_numbers, // numbers that a compiled loop wrote (pg_numbers)
  tag_run      // of numbers, in a list
};
constexpr uint32_t flag_seen = 1; // the message has a tag_seen
constexpr int max_depth = 190;    // of tables: each level takes C stack

// What kind_of (parallel_transport.lua) says of cdata.
enum Cdata {
  cdata_other,
  cdata_array,
  cdata_row,
  cdata_shared,
  cdata_int64,
  cdata_uint64,
  cdata_complex,
  cdata_numbers
};
constexpr int lua_tcdata = 10;

int append_dump(lua_State *, const void *data, size_t size, void *user) {
  try {
    static_cast<std::string *>(user)->append(static_cast<const char *>(data), size);
    return 0;
  } catch (...) {
    return 1;
  }
}

// The dump of a function with n parameters that returns a function with n upvalues.
const std::string &frame_of(lua_State *L, unsigned n) {
  static std::mutex mutex;
  static std::array<std::string, 61> frames;
  const std::lock_guard lock(mutex);
  std::string &frame = frames.at(n);
  if (frame.empty()) {
    std::string names, uses;
    for (unsigned i = 1; i <= n; ++i) {
      const std::string name = "a" + std::to_string(i);
      names += (i > 1 ? "," : "") + name;
      uses += name + "=" + name + " ";
    }
    const std::string text = "return function(" + names + ") return function() " + uses + "end end";
    if (luaL_loadbuffer(L, text.data(), text.size(), "@perigee:frame") != 0)
      throw InternalError(std::string("the frame of a function does not load: ") + lua_tostring(L, -1));
    lua_call(L, 0, 1);
    std::string dump;
    lua_dump(L, append_dump, &dump);
    lua_pop(L, 1);
    frame = std::move(dump);
  }
  return frame;
}

} // namespace

// ------------------------------------------------------------------------------------------------------ encoding -----
class Encoder {
 public:
  Encoder(Transport &transport, lua_State *L, Message &message)
      : transport_(transport), L(L), message_(message), functions_(transport.found_), body_(transport.body_),
        tables_(transport.tables_), function_numbers_(transport.functions_), cells_(transport.cells_),
        prototypes_(transport.prototypes_) {
    for (Numbering *numbers : {&tables_, &function_numbers_, &cells_, &prototypes_})
      numbers->clear();
  }

  bool all(int first) {
    const int last = lua_gettop(L);
    transport_.push(L, transport_.coded_functions_); // kept there until their upvalues are coded
    list_ = last + 1;
    message_.clear();
    body_.clear();
    functions_.clear();
    Bytes &directory = message_.bytes;
    directory.extend(8); // number of functions and flags, below
    for (int i = first; i <= last; ++i) {
      root_ = i - first + 1;
      lua_pushvalue(L, i);
      if (!value(0))
        return failed();
      lua_pop(L, 1);
    }
    message_.count = static_cast<uint32_t>(std::max(0, last - first + 1));
    // Functions found on the way, and those found in their upvalues.
    for (size_t i = 0; i < functions_.size(); ++i)
      if (!upvalues(i))
        return failed();
    auto count = static_cast<uint32_t>(functions_.size());
    std::memcpy(directory.data(), &count, 4);
    std::memcpy(directory.data() + 4, &flags_, 4);
    directory.append(body_.data(), body_.size());
    if (body_.size() > 1 << 20) // a buffer of that size is not kept
      body_ = {};
    lua_settop(L, list_);
    forget();
    lua_settop(L, last);
    return true;
  }

 private:
  template <class T> static void append(Bytes &to, const T &x) { std::memcpy(to.extend(sizeof x), &x, sizeof x); }
  void put(Tag tag) { *body_.extend(1) = static_cast<char>(tag); }
  void put32(uint32_t x) { append(body_, x); }
  void put_bytes(const void *data, size_t size) { body_.append(data, size); }
  void put_string(const char *text, size_t size) {
    put32(static_cast<uint32_t>(size));
    put_bytes(text, size);
  }

  bool fail(std::string what) {
    what_ = std::move(what);
    return false;
  }

  // Where the function with this number came from, for an error.
  std::string origin(int function) {
    const auto &f = functions_[size_t(function)];
    if (f.parent < 0) {
      transport_.culprit = f.root;
      return "\1";
    }
    return upvalue_name(f.parent, f.upvalue) + " of " + origin(f.parent);
  }
  std::string upvalue_name(int function, int upvalue) {
    lua_rawgeti(L, list_, function + 1);
    const char *name = lua_getupvalue(L, -1, upvalue);
    std::string text = "upvalue '" + std::string(name ? name : "?") + "'";
    lua_pop(L, name ? 2 : 1);
    return text;
  }

  bool failed() {
    transport_.culprit = root_;
    std::string place = parent_ < 0 ? "\1" + path_ : upvalue_name(parent_, upvalue_) + path_ + " of " + origin(parent_);
    transport_.reason = place + " (" + what_ + ")";
    lua_settop(L, list_);
    forget();
    return false;
  }

  void forget() {
    for (size_t i = functions_.size(); i > 0; --i) {
      lua_pushnil(L);
      lua_rawseti(L, list_, static_cast<int>(i));
    }
  }

  // The value at the top of the stack, which stays.
  bool value(int depth) {
    switch (lua_type(L, -1)) {
    case LUA_TNIL:
      put(tag_nil);
      return true;
    case LUA_TBOOLEAN:
      put(lua_toboolean(L, -1) ? tag_true : tag_false);
      return true;
    case LUA_TNUMBER:
      put(tag_number);
      append(body_, lua_tonumber(L, -1));
      return true;
    case LUA_TSTRING: {
      size_t size;
      const char *text = lua_tolstring(L, -1, &size);
      if (size > UINT32_MAX)
        return fail("a string of more than 4 GiB");
      put(tag_string);
      put_string(text, size);
      return true;
    }
    case LUA_TTABLE:
      return table(depth);
    case LUA_TFUNCTION:
      return function();
    case lua_tcdata:
      return cdata();
    case LUA_TTHREAD:
      return fail("a coroutine");
    default:
      return fail(luaL_typename(L, -1));
    }
  }

  // What every state has: false where name_of knows none.
  bool named() {
    transport_.push(L, transport_.name_of_);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 2); // name or nil; what it is else
    if (lua_isnil(L, -2)) {
      what_ = lua_isstring(L, -1) ? lua_tostring(L, -1) : "";
      lua_pop(L, 2);
      return false;
    }
    size_t size;
    const char *name = lua_tolstring(L, -2, &size);
    put(tag_named);
    put_string(name, size);
    lua_pop(L, 2);
    return true;
  }

  bool table(int depth) {
    const void *self = lua_topointer(L, -1);
    transport_.load_libraries(L);
    if (transport_.library_tables_.count(self))
      return named();
    bool of_class = false;
    if (lua_getmetatable(L, -1)) {
      lua_pushliteral(L, "__plain"); // a list such as a.shape, whose metatable only prints and compares it
      lua_rawget(L, -2);
      const bool plain = lua_toboolean(L, -1);
      lua_pop(L, 2);
      if (!plain) {
        transport_.push(L, transport_.kind_of_);
        lua_pushvalue(L, -2);
        lua_call(L, 1, 1); // the class's name, false: a module, nil: neither
        if (lua_isboolean(L, -1)) {
          lua_pop(L, 1);
          return named();
        }
        if (lua_isnil(L, -1)) {
          lua_pop(L, 1);
          return fail("a table with a metatable");
        }
        of_class = true;
      } else {
        lua_pushnil(L);
      }
    } else {
      lua_pushnil(L);
    }
    // The name of the class or nil is on the stack above the table.
    const auto [seen, fresh] = tables_.number(self);
    if (!fresh) {
      put(tag_seen);
      put32(seen);
      flags_ |= flag_seen;
      lua_pop(L, 1);
      return true;
    }
    if (depth == max_depth || !lua_checkstack(L, 16))
      return fail("tables nested more than 190 deep");
    if (of_class) {
      size_t size;
      const char *name = lua_tolstring(L, -1, &size);
      put(tag_class);
      put_string(name, size);
    } else {
      put(tag_table);
    }
    lua_pop(L, 1);
    return fields(depth);
  }

  bool fields(int depth) {
    const int self = lua_gettop(L);
    const size_t head = body_.size();
    put32(0); // items and pairs, below
    put32(0);
    uint32_t items = 0, pairs = 0;
    size_t run = 0; // where the open run's count is, 0 for none
    auto item = [&] {
      ++items;
      if (lua_type(L, -1) == LUA_TNUMBER) {
        if (run == 0) {
          put(tag_run);
          run = body_.size();
          put32(0);
        }
        uint32_t count;
        std::memcpy(&count, body_.data() + run, 4);
        ++count;
        std::memcpy(body_.data() + run, &count, 4);
        append(body_, lua_tonumber(L, -1));
        return true;
      }
      run = 0;
      if (value(depth + 1))
        return true;
      path_ = "[" + std::to_string(items) + "]" + path_;
      return false;
    };
    // lua_next gives the array part in order, so a list is coded as it comes. What lies in the hash part may come in
    // any order: the rest of the list is then fetched by index, and the pass goes on with the other keys.
    bool listing = true;
    lua_pushnil(L);
    while (lua_next(L, self)) {
      const int key_type = lua_type(L, -2);
      if (listing) {
        if (key_type == LUA_TNUMBER && lua_tonumber(L, -2) == double(items) + 1) {
          if (!item())
            return false;
          lua_pop(L, 1);
          continue;
        }
        listing = false;
        for (;;) {
          lua_rawgeti(L, self, int(items + 1));
          if (lua_isnil(L, -1))
            break;
          if (!item())
            return false;
          lua_pop(L, 1);
        }
        lua_pop(L, 1);
      }
      if (key_type == LUA_TNUMBER) {
        const double key = lua_tonumber(L, -2);
        if (key >= 1 && key <= double(items) && key == double(uint32_t(key))) {
          lua_pop(L, 1);
          continue;
        }
      }
      ++pairs;
      lua_pushvalue(L, -2);
      if (!value(depth + 1)) {
        path_ = ", a key";
        return false;
      }
      lua_pop(L, 1);
      const int key_at = lua_gettop(L) - 1;
      if (!value(depth + 1)) {
        lua_pushvalue(L, key_at);
        const char *key = lua_tostring(L, -1);
        path_ = (key_type == LUA_TSTRING ? "." + std::string(key) : "[" + std::string(key ? key : "?") + "]") + path_;
        return false;
      }
      lua_pop(L, 1);
    }
    std::memcpy(body_.data() + head, &items, 4);
    std::memcpy(body_.data() + head + 4, &pairs, 4);
    return true;
  }

  bool function() {
    const void *self = lua_topointer(L, -1);
    if (const int64_t known = function_numbers_.known(self); known >= 0) {
      put(tag_function);
      put32(static_cast<uint32_t>(known));
      return true;
    }
    if (!transport_.known_prototype(L)) {
      if (lua_iscfunction(L, -1))
        return named() || fail(what_.empty() ? "a C function" : what_);
      lua_Debug info;
      lua_pushvalue(L, -1);
      lua_getinfo(L, ">S", &info);
      if (std::strncmp(info.source, "@perigee:", 9) == 0)
        return named() || fail(what_.empty() ? "a function inside Perigee" : what_);
      lua_getfenv(L, -1);
      const bool usual = lua_topointer(L, -1) == transport_.env_;
      lua_pop(L, 1);
      if (!usual)
        return fail("a function with an environment of its own");
    }
    const uint32_t number = function_numbers_.number(self).first;
    functions_.push_back({parent_, upvalue_, root_});
    lua_pushvalue(L, -1);
    lua_rawseti(L, list_, static_cast<int>(number) + 1);
    put(tag_function);
    put32(number);
    return true;
  }

  // Codes the function's entry in the directory, and the upvalues that no function before it has.
  bool upvalues(size_t number) {
    parent_ = static_cast<int>(number);
    lua_rawgeti(L, list_, parent_ + 1);
    const int function = lua_gettop(L);
    const std::shared_ptr<const Prototype> prototype = transport_.prototype_of(L, function);
    const unsigned count = prototype->upvalues;
    const auto [place, fresh] = prototypes_.number(prototype.get());
    if (fresh)
      message_.prototypes.push_back(prototype);
    append(message_.bytes, place);
    append(message_.bytes, static_cast<char>(count));
    for (unsigned i = 1; i <= count; ++i) {
      const void *id = lua_upvalueid(L, function, static_cast<int>(i));
      const auto [cell, unseen] = cells_.number(id);
      append(message_.bytes, cell);
      if (!unseen)
        continue;
      upvalue_ = static_cast<int>(i);
      path_.clear();
      lua_getupvalue(L, function, upvalue_);
      if (!value(0))
        return false;
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return true;
  }

  bool cdata() {
    transport_.push(L, transport_.kind_of_);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    const auto kind = static_cast<Cdata>(lua_tointeger(L, -1));
    lua_pop(L, 1);
    const void *data = lua_topointer(L, -1);
    switch (kind) {
    case cdata_array:
    case cdata_row: {
      put(tag_array);
      put32(static_cast<uint32_t>(message_.arrays.size()));
      if (kind == cdata_array) {
        message_.arrays.push_back(array::share(*static_cast<const pg_array *>(data)));
        return true;
      }
      transport_.push(L, transport_.array_address_);
      lua_pushvalue(L, -2);
      lua_call(L, 1, 2);
      message_.arrays.push_back(array::share(*reinterpret_cast<const pg_array *>(uintptr_t(lua_tonumber(L, -2)))));
      lua_pop(L, 2);
      return true;
    }
    case cdata_shared: {
      auto *object = static_cast<Shared *>(static_cast<const pg_shared *>(data)->_object);
      if (!object)
        return fail("an object that was released");
      put(tag_shared);
      put32(static_cast<uint32_t>(message_.shared.size()));
      message_.shared.push_back(Ref<>::share(object));
      return true;
    }
    case cdata_int64:
    case cdata_uint64:
      put(kind == cdata_int64 ? tag_int64 : tag_uint64);
      put_bytes(data, 8);
      return true;
    case cdata_complex:
      put(tag_complex);
      put_bytes(data, 16);
      return true;
    case cdata_numbers: { // pg_numbers: how many, and they
      int64_t count;
      std::memcpy(&count, data, 8);
      put(tag_numbers);
      append(body_, count);
      put_bytes(static_cast<const char *>(data) + 8, static_cast<size_t>(count) * 8);
      return true;
    }
    default:
      return fail("cdata");
    }
  }

  Transport &transport_;
  lua_State *L;
  Message &message_;
  std::vector<Transport::FoundFunction> &functions_;
  Bytes &body_;
  Numbering &tables_, &function_numbers_, &cells_, &prototypes_;
  int root_ = 0, parent_ = -1, upvalue_ = 0, list_ = 0;
  uint32_t flags_ = 0;
  std::string path_, what_;
};

// ------------------------------------------------------------------------------------------------------ decoding -----
class Decoder {
 public:
  Decoder(Transport &transport, lua_State *L, const Message &message)
      : transport_(transport), L(L), message_(message), at_(message.bytes.data()), end_(at_ + message.bytes.size()),
        cells_(transport.made_cells_) {
    cells_.clear();
  }

  int all() {
    if (message_.count == 0)
      return 0;
    luaL_checkstack(L, static_cast<int>(message_.count) + 16, "too many values");
    const uint32_t functions = get<uint32_t>();
    const uint32_t flags = get<uint32_t>();
    const int base = lua_gettop(L);
    lua_pushnil(L); // tables that were seen
    lua_pushnil(L); // functions
    seen_ = base + 1;
    list_ = base + 2;
    if (flags & flag_seen) {
      lua_newtable(L);
      lua_replace(L, seen_);
      remember_ = true;
    }
    if (functions > 0)
      directory(functions);
    for (uint32_t i = 0; i < message_.count; ++i)
      value();
    for (const Transport::Cell &cell : cells_) {
      lua_rawgeti(L, list_, cell.function);
      value();
      lua_setupvalue(L, -2, cell.upvalue);
      lua_pop(L, 1);
    }
    for (uint32_t i = functions; i > 0; --i) {
      lua_pushnil(L);
      lua_rawseti(L, list_, static_cast<int>(i));
    }
    lua_remove(L, list_);
    lua_remove(L, seen_);
    return static_cast<int>(message_.count);
  }

 private:
  const char *take(size_t size) {
    if (size > static_cast<size_t>(end_ - at_))
      throw InternalError("a message ends early");
    const char *data = at_;
    at_ += size;
    return data;
  }
  template <class T> T get() {
    T x;
    std::memcpy(&x, take(sizeof x), sizeof x);
    return x;
  }
  std::string_view get_string() {
    const auto size = get<uint32_t>();
    return {take(size), size};
  }

  // Makes the functions, their upvalues still nil, and joins those that are one.
  void directory(uint32_t functions) {
    transport_.push(L, transport_.decoded_functions_);
    lua_replace(L, list_);
    for (uint32_t i = 1; i <= functions; ++i) {
      const auto &prototype = message_.prototypes.at(get<uint32_t>());
      transport_.push_factory(L, *prototype);
      lua_call(L, 0, 1);
      transport_.know(L, prototype);
      const auto upvalues = static_cast<uint8_t>(get<char>());
      for (int u = 1; u <= upvalues; ++u) {
        const auto cell = get<uint32_t>();
        if (cell == cells_.size()) {
          cells_.push_back({static_cast<int>(i), u});
        } else if (const Transport::Cell &first = cells_.at(cell); first.function == static_cast<int>(i)) {
          lua_upvaluejoin(L, -1, u, -1, first.upvalue);
        } else {
          lua_rawgeti(L, list_, first.function);
          lua_upvaluejoin(L, -2, u, -1, first.upvalue);
          lua_pop(L, 1);
        }
      }
      lua_rawseti(L, list_, static_cast<int>(i));
    }
  }

  void value() {
    switch (static_cast<Tag>(get<uint8_t>())) {
    case tag_nil:
      lua_pushnil(L);
      break;
    case tag_false:
      lua_pushboolean(L, 0);
      break;
    case tag_true:
      lua_pushboolean(L, 1);
      break;
    case tag_number:
      lua_pushnumber(L, get<double>());
      break;
    case tag_string: {
      const auto text = get_string();
      lua_pushlstring(L, text.data(), text.size());
      break;
    }
    case tag_table:
      table();
      break;
    case tag_class: {
      const auto name = get_string();
      table();
      transport_.push(L, transport_.bless_);
      lua_pushvalue(L, -2);
      lua_pushlstring(L, name.data(), name.size());
      lua_call(L, 2, 0);
      break;
    }
    case tag_seen:
      lua_rawgeti(L, seen_, static_cast<int>(get<uint32_t>()) + 1);
      break;
    case tag_function:
      lua_rawgeti(L, list_, static_cast<int>(get<uint32_t>()) + 1);
      break;
    case tag_array: {
      pg_array shared = array::share(*message_.arrays.at(get<uint32_t>())).detach();
      transport_.push(L, transport_.adopt_array_);
      lua_pushnumber(L, double(reinterpret_cast<uintptr_t>(&shared)));
      lua_call(L, 1, 1);
      break;
    }
    case tag_shared: {
      Shared *object = message_.shared.at(get<uint32_t>()).get();
      transport_.push(L, transport_.adopt_shared_);
      lua_pushnumber(L, double(reinterpret_cast<uintptr_t>(object)));
      lua_pushinteger(L, object->kind);
      object->retain();
      lua_call(L, 2, 1);
      break;
    }
    case tag_named: {
      const auto name = get_string();
      transport_.push(L, transport_.resolve_);
      lua_pushlstring(L, name.data(), name.size());
      lua_call(L, 1, 1);
      break;
    }
    case tag_int64:
      cdata(cdata_int64, 0, 8);
      break;
    case tag_uint64:
      cdata(cdata_uint64, 0, 8);
      break;
    case tag_complex:
      cdata(cdata_complex, 0, 16);
      break;
    case tag_numbers: {
      const auto count = get<int64_t>();
      transport_.push(L, transport_.new_cdata_);
      lua_pushinteger(L, cdata_numbers);
      lua_pushnumber(L, double(count));
      lua_call(L, 2, 1);
      const auto size = static_cast<size_t>(count) * 8;
      std::memcpy(static_cast<char *>(const_cast<void *>(lua_topointer(L, -1))) + 8, take(size), size);
      break;
    }
    default:
      throw InternalError("a message has a value of unknown kind");
    }
  }

  void cdata(Cdata kind, int64_t count, size_t size) {
    transport_.push(L, transport_.new_cdata_);
    lua_pushinteger(L, kind);
    lua_pushnumber(L, double(count));
    lua_call(L, 2, 1);
    std::memcpy(const_cast<void *>(lua_topointer(L, -1)), take(size), size);
  }

  void table() {
    const auto items = get<uint32_t>(), pairs = get<uint32_t>();
    luaL_checkstack(L, 16, "a message is nested too deep");
    lua_createtable(L, static_cast<int>(items), static_cast<int>(pairs));
    ++tables_;
    if (remember_) {
      lua_pushvalue(L, -1);
      lua_rawseti(L, seen_, static_cast<int>(tables_));
    }
    for (uint32_t i = 1; i <= items;) {
      if (static_cast<Tag>(*at_) == tag_run) {
        ++at_;
        const auto count = get<uint32_t>();
        for (uint32_t k = 0; k < count; ++k) {
          lua_pushnumber(L, get<double>());
          lua_rawseti(L, -2, static_cast<int>(i++));
        }
      } else {
        value();
        lua_rawseti(L, -2, static_cast<int>(i++));
      }
    }
    for (uint32_t i = 0; i < pairs; ++i) {
      value();
      value();
      lua_rawset(L, -3);
    }
  }

  Transport &transport_;
  lua_State *L;
  const Message &message_;
  const char *at_, *end_;
  std::vector<Transport::Cell> &cells_;
  int seen_ = 0, list_ = 0;
  uint32_t tables_ = 0;
  bool remember_ = false;
};

// ------------------------------------------------------------------------------------------------ a state's part -----
Transport &Transport::of(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "perigee.transport");
  auto *transport = static_cast<Transport **>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  if (transport)
    return **transport;
  auto **made = static_cast<Transport **>(lua_newuserdata(L, sizeof(Transport *)));
  *made = new Transport(L);
  lua_newtable(L);
  lua_pushcfunction(L, [](lua_State *state) {
    delete *static_cast<Transport **>(lua_touserdata(state, 1));
    return 0;
  });
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_setfield(L, LUA_REGISTRYINDEX, "perigee.transport");
  return **made;
}

Transport::Transport(lua_State *L) {
  lua_newtable(L);
  lua_newtable(L);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  ids_ = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_newtable(L);
  factories_ = luaL_ref(L, LUA_REGISTRYINDEX);
  for (int *list : {&coded_functions_, &decoded_functions_}) {
    lua_createtable(L, 4, 0);
    *list = luaL_ref(L, LUA_REGISTRYINDEX);
  }
}

void Transport::connect(lua_State *L) {
  auto take = [L](const char *name) {
    lua_getfield(L, -1, name);
    return luaL_ref(L, LUA_REGISTRYINDEX);
  };
  kind_of_ = take("kind_of");
  name_of_ = take("name_of");
  resolve_ = take("resolve");
  bless_ = take("bless");
  adopt_array_ = take("adopt_array");
  array_address_ = take("array_address");
  adopt_shared_ = take("adopt_shared");
  new_cdata_ = take("new_cdata");
  libraries_ = take("libraries");
  add_chunk_ = take("add_chunk");
  chunk_text_ = take("chunk_text");
  lua_getfield(L, -1, "env");
  env_ = lua_topointer(L, -1);
  env_reference_ = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pop(L, 1);
}

// Plain tables that every state has: math, string and the like.
void Transport::load_libraries(lua_State *L) {
  if (libraries_known_)
    return;
  libraries_known_ = true;
  push(L, libraries_);
  lua_call(L, 0, 1);
  const int count = static_cast<int>(lua_objlen(L, -1));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, -1, i);
    library_tables_.insert(lua_topointer(L, -1));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

const std::shared_ptr<const Prototype> *Transport::known_prototype(lua_State *L) {
  const double id = code_id(L, lua_gettop(L));
  if (id == 0)
    return nullptr;
  const auto found = sent_.find(static_cast<uint64_t>(id));
  return found == sent_.end() ? nullptr : &found->second;
}

std::shared_ptr<const Prototype> Transport::prototype_of(lua_State *L, int index) {
  lua_pushvalue(L, index);
  if (const auto *known = known_prototype(L)) {
    lua_pop(L, 1);
    return *known;
  }
  std::string dump;
  if (lua_dump(L, append_dump, &dump) != 0)
    throw InternalError("a function cannot be dumped");
  lua_Debug info;
  lua_getinfo(L, ">Su", &info);
  std::shared_ptr<const Chunk> chunk;
  if (info.source[0] == '@') {
    push(L, chunk_text_);
    lua_pushstring(L, info.source + 1);
    lua_call(L, 1, 1);
    size_t size;
    if (const char *text = lua_tolstring(L, -1, &size))
      chunk = intern_chunk(info.source + 1, {text, size});
    lua_pop(L, 1);
  }
  const auto upvalues = static_cast<unsigned>(info.nups);
  auto prototype = intern_prototype(make_factory(dump, frame_of(L, upvalues), upvalues), upvalues, std::move(chunk));
  if (sent_.size() > 4096) // of a script that makes ever new code
    sent_.clear();
  lua_pushvalue(L, index);
  know(L, prototype);
  lua_pop(L, 1);
  return prototype;
}

void Transport::know(lua_State *L, const std::shared_ptr<const Prototype> &prototype) {
  push(L, ids_);
  lua_pushvalue(L, -2);
  lua_pushnumber(L, double(prototype->id));
  lua_rawset(L, -3);
  lua_pop(L, 1);
  sent_.try_emplace(prototype->id, prototype);
}

double Transport::code_id(lua_State *L, int index) const {
  push(L, ids_);
  lua_pushvalue(L, index);
  lua_rawget(L, -2);
  const double id = lua_tonumber(L, -1);
  lua_pop(L, 2);
  return id;
}

void Transport::push_factory(lua_State *L, const Prototype &prototype) {
  push(L, factories_);
  lua_pushnumber(L, double(prototype.id));
  lua_rawget(L, -2);
  if (!lua_isnil(L, -1)) {
    lua_remove(L, -2);
    return;
  }
  lua_pop(L, 1);
  if (++factory_count_ > 4096) { // see above
    lua_pop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, factories_);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    factories_ = luaL_ref(L, LUA_REGISTRYINDEX);
    factory_count_ = 1;
  }
  if (prototype.chunk) {
    push(L, add_chunk_);
    lua_pushlstring(L, prototype.chunk->name.data(), prototype.chunk->name.size());
    lua_pushlstring(L, prototype.chunk->text.data(), prototype.chunk->text.size());
    lua_call(L, 2, 0);
  }
  if (luaL_loadbuffer(L, prototype.code.data(), prototype.code.size(), "=function") != 0)
    throw InternalError(std::string("a function that was sent does not load: ") + lua_tostring(L, -1));
  push(L, env_reference_);
  lua_setfenv(L, -2);
  // Compiled code is for one closure until there have been a few of the prototype, and then for all of them: a function
  // that is sent time and again would be compiled time and again before.
  for (int i = 0; i < 4; ++i) {
    lua_pushvalue(L, -1);
    lua_call(L, 0, 0);
  }
  lua_pushnumber(L, double(prototype.id));
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  lua_remove(L, -2);
}

bool Transport::encode(lua_State *L, int first, Message &message) {
  Encoder encoder(*this, L, message);
  return encoder.all(first);
}

int Transport::decode(lua_State *L, const Message &message) {
  return Decoder(*this, L, message).all();
}

} // namespace perigee::parallel
