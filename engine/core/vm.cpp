#include "core/vm.hpp"
#include "array/array.hpp"
#include "array/array_lua.hpp"
#include "array/owners.hpp"
#include "core/embedded.hpp"
#include "core/plugins.hpp"
#include "core/processors.hpp"
#include "core/status.hpp"
#include "io/io_lua.hpp"
#include "parallel/parallel.hpp"
#include "profiler/profiler.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

namespace perigee::core {
namespace {

constexpr size_t max_script = 1 << 20;

// The message handler below: of a stack overflow it says itself what and where, since there is no room left for a Lua
// function's frames.
int handle_error(lua_State *L) {
  size_t size = 0;
  const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &size) : "";
  lua_Debug frame;
  // (A script's own error may be called so; but 65500 slots are not full with fewer calls than these.)
  if (!std::string_view(text, size).ends_with("stack overflow") || !lua_getstack(L, 200, &frame)) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
  }
  char file[512] = "", frames[4096] = "", said[1024];
  int line = 0, shown = 0;
  size_t used = 0;
  for (int level = 1; shown < 12 && lua_getstack(L, level, &frame); ++level) {
    lua_getinfo(L, "Snl", &frame);
    if (frame.what[0] == 'C' || std::strncmp(frame.source, "@perigee:", 9) == 0)
      continue;
    const int at = frame.currentline > 0 ? frame.currentline : frame.linedefined;
    if (shown == 0) {
      std::snprintf(file, sizeof file, "%s", frame.source + (frame.source[0] == '@'));
      line = at;
    }
    const int written = std::snprintf(frames + used, sizeof frames - used, "%s%s:%d: in function '%s'",
                                      shown++ ? "\n" : "", frame.short_src, at, frame.name ? frame.name : "?");
    used = std::min(sizeof frames - 1, used + static_cast<size_t>(std::max(0, written)));
  }
  std::snprintf(said, sizeof said, "%s:%d: %s", file, line, overflow_words);
  lua_createtable(L, 0, 5);
  const std::pair<const char *, const char *> fields[] = {
      {"file", file}, {"message", overflow_words}, {"traceback", frames}, {"text", said}};
  for (const auto &[name, value] : fields) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
  }
  lua_pushinteger(L, line);
  lua_setfield(L, -2, "line");
  return 1;
}

} // namespace

const char *const overflow_words =
    "stack overflow: too many calls within calls; a function that calls itself must end somewhere";

void wrap_error_handler(lua_State *L) {
  lua_pushcclosure(L, handle_error, 1);
}

void require_text(std::string_view text, const std::string &name) {
  if (text.size() > max_script)
    throw FileError(name + " is larger than 1 MiB, which no script needs; is it the right file?");
  if (text.substr(0, 3) == "\x1bLJ" || text.substr(0, 4) == "\x1bLua")
    throw FileError(name + " is Lua bytecode; only text scripts are accepted");
  if (size_t at = text.find('\0'); at != std::string_view::npos)
    throw FileError(name + " is not a text script: it has a zero byte at offset " + std::to_string(at));
}

std::string read_script(const std::string &path) {
  struct Descriptor {
    int fd;
    ~Descriptor() {
      if (fd >= 0)
        close(fd);
    }
  } file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat info {};
  if (file.fd < 0 || fstat(file.fd, &info) != 0)
    throw FileError("cannot read " + path + ": " + std::strerror(errno));
  if (S_ISDIR(info.st_mode))
    throw FileError("cannot read " + path + ": it is a directory");
  if (!S_ISREG(info.st_mode))
    throw FileError("cannot read " + path + ": it is not a regular file");
  std::string text;
  char buffer[65536];
  ssize_t got;
  while (text.size() <= max_script && (got = ::read(file.fd, buffer, sizeof buffer)) != 0) {
    if (got < 0)
      throw FileError("cannot read " + path + ": " + std::strerror(errno));
    text.append(buffer, size_t(got));
  }
  require_text(text, path);
  if (text.starts_with("\xef\xbb\xbf"))
    text.erase(0, 3);
  return text;
}

} // namespace perigee::core

using namespace perigee;
using namespace perigee::core;

// What Lua calls back. Each function keeps C++ exceptions inside and raises Lua errors outside of any C++ scope that
// owns something, since lua_error may not run destructors.
struct VmInternals {
  static void *allocate(void *user, void *pointer, size_t old_size, size_t new_size) {
    auto *vm = static_cast<pg_vm *>(user);
    int64_t delta = int64_t(new_size) - int64_t(pointer ? old_size : 0);
    if (!account_lua(vm->account, delta, vm->limited_))
      return nullptr;
    void *result = vm->base_alloc_(vm->base_alloc_user_, pointer, old_size, new_size);
    if (!result && new_size)
      account_lua(vm->account, -delta, false);
    return result;
  }

  static pg_vm *upvalue_vm(lua_State *L) { return static_cast<pg_vm *>(lua_touserdata(L, lua_upvalueindex(1))); }

  static int write(lua_State *L) {
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    upvalue_vm(L)->write(text, size);
    return 0;
  }

  // load(text, name, mode, environment), as Lua's for text. What a text becomes refers to no array (heap.hpp).
  static int load(lua_State *L) {
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    const char *name = luaL_checkstring(L, 2), *mode = luaL_checkstring(L, 3);
    if (load_code(L, upvalue_vm(L)->heap_.get(), {text, size}, name, mode) != 0) {
      lua_pushnil(L);
      lua_insert(L, -2);
      return 2;
    }
    if (lua_istable(L, 4)) {
      lua_pushvalue(L, 4);
      lua_setfenv(L, -2);
    }
    return 1;
  }
  static int load_code(lua_State *L, LuaHeap *heap, std::string_view text, const char *name, const char *mode) {
    const bool collects = lua_gc(L, LUA_GCISRUNNING, 0) != 0;
    lua_gc(L, LUA_GCSTOP, 0);
    if (heap)
      heap->loading(true);
    const int status = luaL_loadbufferx(L, text.data(), text.size(), name, mode); // catches all errors
    if (heap)
      heap->loading(false);
    if (collects)
      lua_gc(L, LUA_GCRESTART, -1);
    return status;
  }

  // source(name) -> the text of an embedded file and its module, or nothing.
  static int source(lua_State *L) {
    size_t size;
    const char *name = luaL_checklstring(L, 1, &size);
    for (const EmbeddedFile &file : embedded_files)
      if (file.name == std::string_view(name, size)) {
        lua_pushlstring(L, file.text.data(), file.text.size());
        lua_pushlstring(L, file.module.data(), file.module.size());
        return 2;
      }
    return 0;
  }

  // headers(module) -> the texts of its ABI headers, but those of its parts (<module>_<part>_abi.h).
  static int headers(lua_State *L) {
    const std::string_view module = luaL_checkstring(L, 1);
    lua_newtable(L);
    int count = 0;
    for (const EmbeddedFile &file : embedded_files) {
      const bool own = file.name.starts_with(module) && file.name.substr(module.size()).starts_with("_");
      if (file.module == module && file.name.ends_with(".h") && !(own && file.name.substr(module.size()) != "_abi.h")) {
        lua_pushlstring(L, file.text.data(), file.text.size());
        lua_rawseti(L, -2, ++count);
      }
    }
    return 1;
  }

  // read_script(path) -> text, or nil and the reason.
  static int read_file(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    push_text_or_reason(L, [&] { return read_script(path); });
    return lua_gettop(L) - 1;
  }

  // find_plugin(name) -> path, or nil and the reason.
  static int find_plugin(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    push_text_or_reason(L, [&] { return plugin_path(name); });
    return lua_gettop(L) - 1;
  }

  template <class Body> static void push_text_or_reason(lua_State *L, Body &&body) {
    std::string text, reason;
    try {
      text = body();
    } catch (const std::exception &e) {
      reason = e.what();
    }
    if (reason.empty()) {
      lua_pushlstring(L, text.data(), text.size());
    } else {
      lua_pushnil(L);
      lua_pushlstring(L, reason.data(), reason.size());
    }
  }

  static int host_function(lua_State *L) {
    pg_vm *vm = upvalue_vm(L);
    auto function = reinterpret_cast<pg_function>(lua_touserdata(L, lua_upvalueindex(2)));
    constexpr size_t limit = 32;
    pg_value arguments[limit], results[limit];
    char message[256] = "";
    size_t count = size_t(lua_gettop(L));
    int returned = -1;
    if (count > limit) {
      std::strcpy(message, "a host function takes at most 32 arguments");
    } else {
      bool readable = true;
      for (size_t i = 0; i < count && readable; ++i) {
        arguments[i] = vm->read(int(i) + 1);
        readable = arguments[i].kind != PG_NIL || lua_isnil(L, int(i) + 1);
        if (!readable)
          snprintf(message, sizeof message, "argument %d is a %s, which cannot be passed to a host function",
                   int(i) + 1, luaL_typename(L, int(i) + 1));
      }
      if (readable) {
        returned = function(lua_touserdata(L, lua_upvalueindex(3)), arguments, count, results, limit, message);
        message[sizeof message - 1] = 0;
        if (returned < 0 && !message[0])
          std::strcpy(message, "the host function failed without a message");
      }
    }
    if (returned < 0) {
      vm->push_core("fail");
      lua_pushliteral(L, "%s");
      lua_pushstring(L, message);
      lua_call(L, 2, 0);
    }
    if (returned > int(limit))
      returned = int(limit);
    for (int i = 0; i < returned; ++i)
      vm->push(results[i]);
    return returned;
  }

  // Runs core.lua: builds `boot`, keeps the core table. Called under lua_pcall.
  static int start(lua_State *L) {
    auto *vm = static_cast<pg_vm *>(lua_touserdata(L, 1));
    auto *options = static_cast<const pg_vm_options *>(lua_touserdata(L, 2));
    luaL_openlibs(L);
    lua_pushlightuserdata(L, vm);
    lua_setfield(L, LUA_REGISTRYINDEX, "perigee.vm");
    const EmbeddedFile *core = nullptr;
    for (const EmbeddedFile &file : embedded_files)
      if (file.name == "core.lua")
        core = &file;
    lua_newtable(L);
    auto closure = [&](const char *name, lua_CFunction function) {
      lua_pushlightuserdata(L, vm);
      lua_pushcclosure(L, function, 1);
      lua_setfield(L, -2, name);
    };
    closure("write", write);
    closure("load", load);
    closure("source", source);
    closure("headers", headers);
    closure("read_script", read_file);
    closure("find_plugin", find_plugin);
    array::open(L, vm->heap_.get());
    lua_setfield(L, -2, "array");
    io::open(L);
    lua_setfield(L, -2, "io");
    push_text_or_reason(L, library_path);
    lua_setfield(L, -2, "library");
    lua_pushliteral(L, PERIGEE_VERSION);
    lua_setfield(L, -2, "version");
    profiler::open(L);
    lua_setfield(L, -2, "profiler");
    parallel::open(L);
    lua_setfield(L, -2, "parallel");
    lua_pushboolean(L, options->trusted);
    lua_setfield(L, -2, "trusted");
    lua_pushboolean(L, options->jit_off);
    lua_setfield(L, -2, "jit_off");
    if (options->modules) {
      lua_pushstring(L, options->modules);
      lua_setfield(L, -2, "modules");
    }
    if (options->script_root) {
      lua_pushstring(L, options->script_root);
      lua_setfield(L, -2, "script_root");
    }
    parallel::prepare_state(L);
    if (load_code(L, vm->heap_.get(), core->text, "@perigee:core", "t") != 0)
      return lua_error(L);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "on_error");
    wrap_error_handler(L);
    vm->handler_ = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "perigee.core");
    vm->core_ = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    vm->kept_ = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
  }
};

pg_vm::pg_vm(const pg_vm_options &given) : options(given), print_(given.print), print_user_(given.print_user) {
  if (given.modules)
    options.modules = (modules_ = given.modules).c_str();
  if (given.script_root)
    options.script_root = (script_root_ = given.script_root).c_str();
  threads_of_environment(); // refuses wrong ones
  account = open_account(options.memory_limit);
  AccountScope scope(account);
  heap_ = std::make_unique<LuaHeap>(array::owner_size());
  state = lua_newstate(LuaHeap::allocate, heap_.get());
  if (!state) { // a LuaJIT with addresses of 32 bits (no GC64) has its own allocator or none
    heap_.reset();
    state = luaL_newstate();
  }
  if (!state) {
    close_account(account);
    throw MemoryError("no memory for a Lua state");
  }
  if (options.memory_limit > 0) {
    // The allocator, counted: its bookkeeping so far is what lua_gc reports.
    base_alloc_ = lua_getallocf(state, &base_alloc_user_);
    account_lua(account, int64_t(lua_gc(state, LUA_GCCOUNT, 0)) * 1024, false);
    lua_setallocf(state, VmInternals::allocate, this);
  }
  limited_ = true;
  lua_pushcfunction(state, VmInternals::start);
  lua_pushlightuserdata(state, this);
  lua_pushlightuserdata(state, &options);
  int status = lua_pcall(state, 2, 0, 0);
  limited_ = false;
  if (status != 0) {
    const char *text = lua_tostring(state, -1);
    std::string message = text ? text : "unknown error";
    lua_close(state);
    close_account(account);
    if (status == LUA_ERRMEM)
      throw MemoryError("the memory limit is too small to start a VM (1 MiB is enough)");
    throw InternalError("the engine does not start: " + message);
  }
}

pg_vm &pg_vm::of(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "perigee.vm");
  auto *vm = static_cast<pg_vm *>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  return *vm;
}

pg_vm::~pg_vm() {
  {
    AccountScope scope(account);
    lua_close(state);
  }
  close_account(account);
}

pg_status pg_vm::fail(pg_status status, std::string message, std::string file, int line, std::string traceback) {
  message_ = std::move(message);
  file_ = std::move(file);
  traceback_ = std::move(traceback);
  error = {status, line, file_.c_str(), message_.c_str(), traceback_.c_str()};
  return status;
}

void pg_vm::push_core(const char *field) {
  lua_rawgeti(state, LUA_REGISTRYINDEX, core_);
  lua_getfield(state, -1, field);
  lua_remove(state, -2);
}

void pg_vm::forget_results() {
  lua_newtable(state);
  lua_rawseti(state, LUA_REGISTRYINDEX, kept_);
}

pg_status pg_vm::protected_call(int argument_count, int result_count) {
  int base = lua_gettop(state) - argument_count;
  lua_rawgeti(state, LUA_REGISTRYINDEX, handler_);
  lua_insert(state, base);
  account_was_refused(account, true);
  bool was_limited = std::exchange(limited_, true);
  int status = lua_pcall(state, argument_count, result_count, base);
  limited_ = was_limited;
  lua_remove(state, base);
  if (status == 0)
    return PG_OK;
  if (lua_istable(state, -1)) {
    auto text = [&](const char *field) {
      lua_getfield(state, -1, field);
      size_t size = 0;
      const char *data = lua_tolstring(state, -1, &size);
      std::string value(data ? data : "", size);
      lua_pop(state, 1);
      return value;
    };
    lua_getfield(state, -1, "line");
    int line = int(lua_tointeger(state, -1));
    lua_pop(state, 1);
    std::string message = text("message");
    bool memory = account_was_refused(account, false) && message.find("memory limit reached") != std::string::npos;
    fail(memory ? PG_ERROR_MEMORY : PG_ERROR_RUNTIME, message, text("file"), line, text("traceback"));
  } else {
    // Out of memory, or an error inside the message handler: there is only a string.
    size_t size = 0;
    const char *data = lua_tolstring(state, -1, &size);
    std::string message(data ? data : "unknown error", data ? size : 13);
    if (status == LUA_ERRMEM)
      fail(PG_ERROR_MEMORY, account_was_refused(account, false)
                                ? "memory limit reached: the Lua heap has grown too large"
                                : "this machine has no memory left for the Lua heap");
    else // (an overflow in compiled code may leave no room for any handler)
      fail(PG_ERROR_RUNTIME, message == "stack overflow" ? overflow_words : message);
  }
  lua_pop(state, 1);
  if (error.status == PG_ERROR_MEMORY) { // what filled the heap is garbage now; the next call starts with room
    lua_gc(state, LUA_GCCOLLECT, 0);
    lua_gc(state, LUA_GCCOLLECT, 0);
  }
  return pg_status(error.status);
}

void pg_vm::push(const pg_value &value) {
  lua_checkstack(state, 4);
  switch (value.kind) {
  case PG_BOOLEAN:
    lua_pushboolean(state, value.boolean);
    break;
  case PG_NUMBER:
    lua_pushnumber(state, value.number);
    break;
  case PG_STRING:
    lua_pushlstring(state, value.string, value.length);
    break;
  case PG_ARRAY: {
    // The Lua side takes over a reference of its own.
    pg_array shared = array::share(*value.array).detach();
    push_core("push_array");
    lua_pushnumber(state, double(reinterpret_cast<uintptr_t>(&shared)));
    lua_call(state, 1, 1);
    break;
  }
  default:
    lua_pushnil(state);
  }
}

pg_value pg_vm::read(int index) {
  pg_value value{};
  if (index < 0)
    index = lua_gettop(state) + 1 + index;
  auto keep = [&] { // what the caller is given stays alive until the next call
    lua_rawgeti(state, LUA_REGISTRYINDEX, kept_);
    lua_insert(state, -2);
    lua_rawseti(state, -2, int(lua_objlen(state, -2)) + 1);
    lua_pop(state, 1);
  };
  switch (lua_type(state, index)) {
  case LUA_TBOOLEAN:
    value.kind = PG_BOOLEAN;
    value.boolean = lua_toboolean(state, index);
    break;
  case LUA_TNUMBER:
    value.kind = PG_NUMBER;
    value.number = lua_tonumber(state, index);
    break;
  case LUA_TSTRING:
    value.kind = PG_STRING;
    value.string = lua_tolstring(state, index, &value.length);
    lua_pushvalue(state, index);
    keep();
    break;
  default:
    if (lua_type(state, index) <= LUA_TTHREAD) // not cdata
      break;
    push_core("array_address"); // -> address, object to keep
    lua_pushvalue(state, index);
    if (lua_pcall(state, 1, 2, 0) != 0) {
      lua_pop(state, 1);
      break;
    }
    if (lua_isnumber(state, -2)) {
      value.kind = PG_ARRAY;
      value.array = reinterpret_cast<const pg_array *>(uintptr_t(lua_tonumber(state, -2)));
      keep();
      lua_pop(state, 1);
    } else {
      lua_pop(state, 2);
    }
  }
  return value;
}

void pg_vm::write(const char *text, size_t size) {
  if (print_) {
    const std::lock_guard lock(*print_mutex);
    print_(print_user_, text, size);
  } else {
    fwrite(text, 1, size, stdout);
  }
}

pg_status pg_vm::collect_results(int base, pg_value *results, size_t capacity, size_t *count) {
  size_t available = size_t(lua_gettop(state) - base);
  pg_status status = PG_OK;
  for (size_t i = 0; i < available && i < capacity; ++i) {
    int index = base + 1 + int(i);
    results[i] = read(index);
    if (results[i].kind == PG_NIL && !lua_isnil(state, index) && status == PG_OK)
      status =
          fail(PG_ERROR_ARGUMENT, "result " + std::to_string(i + 1) + " is a " + luaL_typename(state, index) +
                                      "; nil, a boolean, a number, a string or an array can be returned to a host");
  }
  if (count)
    *count = available;
  lua_settop(state, base);
  return status;
}

// A chunk did not parse: nil, message, file and line are on top of the stack.
pg_status pg_vm::fail_syntax(int base) {
  std::string message = lua_tostring(state, -3), file = lua_tostring(state, -2);
  int line = int(lua_tointeger(state, -1));
  lua_settop(state, base);
  return fail(PG_ERROR_SYNTAX, message, file, line);
}

static std::string chunk_file(const char *name) {
  return name && *name ? name : "script";
}

pg_status pg_vm::run(std::string_view text, const char *name, int argument_count, const char *const *arguments,
                     pg_value *results, size_t capacity, size_t *count) {
  std::string file = chunk_file(name);
  try {
    require_text(text, file);
  } catch (const Error &e) {
    return fail(e.status, e.what(), file);
  }
  AccountScope scope(account);
  int base = lua_gettop(state);
  forget_results();
  push_core("load_script");
  lua_pushlstring(state, text.data(), text.size());
  lua_pushlstring(state, file.data(), file.size());
  if (pg_status status = protected_call(2, 4))
    return status;
  if (lua_isnil(state, -4))
    return fail_syntax(base);
  lua_pop(state, 3);
  if (argument_count >= 0) {
    push_core("set_global");
    lua_pushliteral(state, "arg");
    lua_createtable(state, argument_count, 1);
    lua_pushlstring(state, file.data(), file.size());
    lua_rawseti(state, -2, 0);
    for (int i = 0; i < argument_count; ++i) {
      lua_pushstring(state, arguments[i]);
      lua_rawseti(state, -2, i + 1);
    }
    lua_call(state, 2, 0);
    luaL_checkstack(state, argument_count, "arguments");
    for (int i = 0; i < argument_count; ++i)
      lua_pushstring(state, arguments[i]);
  }
  if (pg_status status = protected_call(argument_count < 0 ? 0 : argument_count, LUA_MULTRET)) {
    lua_settop(state, base);
    return status;
  }
  return collect_results(base, results, capacity, count);
}

pg_status pg_vm::run_file(const char *path, int argument_count, const char *const *arguments) {
  std::string text;
  try {
    text = read_script(path);
  } catch (const Error &e) {
    return fail(e.status, e.what(), path);
  }
  if (text.starts_with("#"))
    text.insert(0, "--"); // a #! line
  return run(text, path, argument_count, arguments, nullptr, 0, nullptr);
}

pg_status pg_vm::load_submission(std::string_view text, const char *name, const char *entry) {
  AccountScope scope(account);
  int base = lua_gettop(state);
  std::string file = chunk_file(name);
  try {
    require_text(text, file);
  } catch (const Error &e) {
    return fail(e.status, e.what(), file);
  }
  push_core("load_submission");
  lua_pushlstring(state, text.data(), text.size());
  lua_pushlstring(state, file.data(), file.size());
  lua_pushstring(state, entry);
  if (pg_status status = protected_call(3, 4)) {
    lua_settop(state, base);
    return status;
  }
  if (lua_isnil(state, -4))
    return fail_syntax(base);
  lua_pop(state, 3);
  lua_pushvalue(state, -1);
  lua_setfield(state, LUA_REGISTRYINDEX, "perigee.submission");
  luaL_unref(state, LUA_REGISTRYINDEX, submission_);
  submission_ = luaL_ref(state, LUA_REGISTRYINDEX);
  return PG_OK;
}

pg_status pg_vm::call(const char *function, const pg_value *arguments, size_t argument_count, pg_value *results,
                      size_t capacity, size_t *count) {
  AccountScope scope(account);
  int base = lua_gettop(state);
  if (!lua_checkstack(state, int(argument_count) + 8))
    return fail(PG_ERROR_ARGUMENT, "too many arguments");
  if (submission_ != LUA_NOREF) {
    lua_rawgeti(state, LUA_REGISTRYINDEX, submission_);
    lua_pushstring(state, function);
    lua_rawget(state, -2);
    lua_remove(state, -2);
  } else {
    push_core("get_global");
    lua_pushstring(state, function);
    lua_call(state, 1, 1);
  }
  if (!lua_isfunction(state, -1)) {
    std::string kind = luaL_typename(state, -1);
    lua_settop(state, base);
    return fail(PG_ERROR_ARGUMENT, "'" + std::string(function) + "' is a " + kind + ", not a function");
  }
  for (size_t i = 0; i < argument_count; ++i)
    push(arguments[i]);
  forget_results(); // after the arguments: they may be results of the call before
  if (pg_status status = protected_call(int(argument_count), LUA_MULTRET)) {
    lua_settop(state, base);
    return status;
  }
  return collect_results(base, results, capacity, count);
}

pg_status pg_vm::with_state(void (*function)(void *state, void *user), void *user) {
  AccountScope scope(account);
  lua_pushcfunction(state, [](lua_State *L) {
    auto function = reinterpret_cast<void (*)(void *, void *)>(lua_touserdata(L, 1));
    void *user = lua_touserdata(L, 2);
    lua_settop(L, 0);
    function(L, user);
    return 0;
  });
  lua_pushlightuserdata(state, reinterpret_cast<void *>(function));
  lua_pushlightuserdata(state, user);
  return protected_call(2, 0);
}

void pg_vm::set_global(const char *name, const pg_value &value) {
  AccountScope scope(account);
  push_core("set_global");
  lua_pushstring(state, name);
  push(value);
  lua_call(state, 2, 0);
}

void pg_vm::register_function(const char *name, pg_function function, void *user) {
  AccountScope scope(account);
  push_core("set_global");
  lua_pushstring(state, name);
  lua_pushlightuserdata(state, this);
  lua_pushlightuserdata(state, reinterpret_cast<void *>(function));
  lua_pushlightuserdata(state, user);
  lua_pushcclosure(state, VmInternals::host_function, 3);
  lua_call(state, 2, 0);
}
