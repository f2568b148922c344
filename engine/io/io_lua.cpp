// What io.lua needs that runs inside the VM: Lua's values as JSON. In Lua this took five times as long, because string
// patterns and next() are interpreted.
#include "io/io_lua.hpp"
#include "io/json.hpp"
#include "io/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <lua.hpp>
#include <new>
#include <string>
#include <vector>

namespace perigee::io {
namespace {

// Lives in a userdata with a finaliser, for Lua's errors may leave json() without a look at C++ objects on its stack.
struct JsonWriter {
  lua_State *L;
  int depth;
  std::size_t indent;
  bool nan;
  const void *null, *empty_object; // a table, a metatable
  int other = 0;                   // where the function for other values is

  Pool<char> text = {};
  Pool<std::string_view> keys = {}; // of the objects that are being written, inner ones last; they live in their tables
  std::vector<std::string> path = {}; // of what failed, from the inside
  const char *problem = nullptr;      // what io.lua knows it by; its details are on Lua's stack

  bool fail(const char *what) {
    problem = what;
    return false;
  }
  void put(std::string_view s) { text.append(s.data(), s.size()); }
  void line(int level) {
    if (indent == 0)
      return;
    const std::size_t n = indent * static_cast<std::size_t>(level);
    char *to = text.extend(n + 1);
    *to = '\n';
    std::memset(to + 1, ' ', n);
  }

  // False, with the reason on Lua's stack, where it is not UTF-8.
  bool string(std::string_view s) {
    static constexpr auto kinds = [] { // 0: as it is; 1: with a backslash; 2: a control character; 3: not ASCII
      std::array<uint8_t, 256> k{};
      for (std::size_t c = 0; c < 256; ++c)
        k[c] = c < 0x20 ? 2 : c >= 0x80 ? 3 : c == '"' || c == '\\';
      return k;
    }();
    uint8_t kind = 0;
    for (const char c : s)
      kind |= kinds[static_cast<unsigned char>(c)];
    if (kind == 0) {
      char *to = text.extend(s.size() + 2);
      *to = '"';
      std::memcpy(to + 1, s.data(), s.size());
      to[s.size() + 1] = '"';
      return true;
    }
    try {
      json_string(text, s);
    } catch (const ArgumentError &e) {
      lua_pushstring(L, e.what());
      return fail("text");
    }
    return true;
  }

  bool number(double value) {
    if (!std::isfinite(value)) {
      if (!nan) {
        lua_pushnumber(L, value);
        return fail("number");
      }
      put("null");
      return true;
    }
    char digits[32];
    text.append(digits, static_cast<std::size_t>(put_number(digits, value) - digits));
    return true;
  }

  // The value on top of Lua's stack, which stays there.
  bool value(int level) {
    switch (lua_type(L, -1)) {
    case LUA_TNUMBER:
      return number(lua_tonumber(L, -1));
    case LUA_TSTRING: {
      std::size_t size;
      const char *s = lua_tolstring(L, -1, &size);
      return string({s, size});
    }
    case LUA_TBOOLEAN:
      put(lua_toboolean(L, -1) ? "true" : "false");
      return true;
    case LUA_TTABLE:
      if (lua_topointer(L, -1) == null) {
        put("null");
        return true;
      }
      return table(level);
    default: {
      // other(value): its text, or nil, a message and what kind of error it is.
      luaL_checkstack(L, 4, "values");
      lua_pushvalue(L, other);
      lua_pushvalue(L, -2);
      lua_call(L, 1, 3);
      if (lua_isnil(L, -3))
        return fail("other");
      std::size_t size;
      const char *s = lua_tolstring(L, -3, &size);
      put({s, size});
      lua_pop(L, 3);
      return true;
    }
    }
  }

  bool table(int level) {
    if (level >= depth)
      return fail("deep");
    luaL_checkstack(L, 4, "tables within one another");
    const std::size_t count = lua_objlen(L, -1), first = keys.size();
    lua_pushnil(L);
    while (lua_next(L, -2)) {
      lua_pop(L, 1);
      if (lua_type(L, -1) == LUA_TSTRING) {
        std::size_t size;
        const char *s = lua_tolstring(L, -1, &size);
        keys.push_back({s, size});
        continue;
      }
      const double number = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
      if (!(number >= 1 && number <= static_cast<double>(count) && number == std::floor(number)))
        return fail("key");
    }
    const std::size_t behind = keys.size();
    if (behind > first && count > 0) {
      lua_pushlstring(L, keys[first].data(), keys[first].size());
      return fail("both");
    }
    if (behind == first && count == 0) {
      const bool object = lua_getmetatable(L, -1) != 0;
      put(object && lua_topointer(L, -1) == empty_object ? "{}" : "[]");
      lua_pop(L, object);
      return true;
    }
    if (behind == first) {
      text.push_back('[');
      for (std::size_t i = 1; i <= count; ++i) {
        if (i > 1)
          text.push_back(',');
        line(level + 1);
        lua_rawgeti(L, -1, static_cast<int>(i));
        if (!value(level + 1)) {
          path.push_back("[" + std::to_string(i) + "]");
          return false;
        }
        lua_pop(L, 1);
      }
      line(level);
      text.push_back(']');
      return true;
    }
    std::sort(keys.data() + first, keys.data() + behind);
    text.push_back('{');
    for (std::size_t i = first; i < behind; ++i) {
      if (i > first)
        text.push_back(',');
      line(level + 1);
      const std::string_view key = keys[i];
      bool good = string(key);
      if (good) {
        put(indent > 0 ? ": " : ":");
        lua_pushlstring(L, key.data(), key.size());
        lua_rawget(L, -2);
        good = value(level + 1);
      }
      if (!good) {
        path.push_back("." + std::string(key));
        return false;
      }
      lua_pop(L, 1);
    }
    keys.truncate(first);
    line(level);
    text.push_back('}');
    return true;
  }
};

constexpr const char *writer_type = "perigee.io.json_writer";

// json(value, depth, indent, nan, null, metatable of empty objects, other): the text; or nil, the place, what is wrong
// there, and up to two details.
int json(lua_State *L) {
  lua_settop(L, 7);
  auto *writer =
      new (lua_newuserdata(L, sizeof(JsonWriter))) JsonWriter{.L = L,
                                                              .depth = static_cast<int>(lua_tointeger(L, 2)),
                                                              .indent = static_cast<std::size_t>(lua_tointeger(L, 3)),
                                                              .nan = lua_toboolean(L, 4) != 0,
                                                              .null = lua_topointer(L, 5),
                                                              .empty_object = lua_topointer(L, 6),
                                                              .other = 7};
  luaL_getmetatable(L, writer_type);
  lua_setmetatable(L, -2);
  pg_status status = PG_OK;
  try {
    lua_pushvalue(L, 1);
    if (writer->value(0)) {
      lua_pushlstring(L, writer->text.data(), writer->text.size());
      writer->text.free();
      return 1;
    }
    const std::size_t parts = writer->path.size();
    const bool cut = parts > 8 && std::string_view(writer->problem) == "deep";
    std::string place = "the value";
    for (std::size_t i = 0; i < (cut ? 8 : parts); ++i)
      place += writer->path[parts - 1 - i];
    writer->path.push_back(place + (cut ? "..." : "")); // (Lua's errors would leave this string behind)
  } catch (const Error &e) {
    status = set_last_error(e.status, e.what());
  } catch (const std::exception &e) {
    status = set_last_error(PG_ERROR_MEMORY, e.what());
  }
  if (status != PG_OK) {
    lua_pushnil(L);
    lua_pushliteral(L, "the value");
    lua_pushliteral(L, "status");
    lua_pushinteger(L, status);
    return 4;
  }
  lua_pushnil(L);
  lua_pushlstring(L, writer->path.back().data(), writer->path.back().size());
  lua_pushstring(L, writer->problem);
  lua_pushvalue(L, -4);
  lua_pushvalue(L, -6);
  return 5;
}

} // namespace

void open(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, json);
  lua_setfield(L, -2, "json");
  luaL_newmetatable(L, writer_type);
  lua_pushcfunction(L, [](lua_State *state) {
    static_cast<JsonWriter *>(lua_touserdata(state, 1))->~JsonWriter();
    return 0;
  });
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

} // namespace perigee::io
