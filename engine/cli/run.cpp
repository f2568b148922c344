// `perigee run`: a script in a VM of its own. No iostreams here, nor in what it calls: an empty script starts about as
// fast as in plain LuaJIT.
#include "cli/cli.hpp"

#include <lua.hpp>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace perigee::cli {

int print_error(pg_vm *vm) {
  const pg_error *error = pg_vm_error(vm);
  bool about_file = error->status == PG_ERROR_FILE || error->status == PG_ERROR_INTERNAL;
  const char *no_colour = std::getenv("NO_COLOR");
  bool bold = isatty(STDERR_FILENO) && !(no_colour && *no_colour);
  std::fflush(stdout); // what the script printed comes first, also where both go to one file
  std::string position;
  if (!about_file && error->file[0])
    position = std::string(error->file) + (error->line > 0 ? ":" + std::to_string(error->line) : "") + ": ";
  std::fprintf(stderr, "perigee: %s%s%s%s\n", bold ? "\x1b[1m" : "", position.c_str(), bold ? "\x1b[0m" : "",
               error->message);
  // A traceback of one frame only repeats the position.
  if (std::strchr(error->traceback, '\n')) {
    std::fputs("called from, innermost first:\n", stderr);
    for (const char *line = error->traceback; *line;) {
      const char *end = std::strchr(line, '\n');
      int length = static_cast<int>(end ? end - line : static_cast<long>(std::strlen(line)));
      std::fprintf(stderr, "  %.*s\n", length, line);
      line += length + (end ? 1 : 0);
    }
  }
  return error->status == PG_ERROR_FILE ? 2 : error->status == PG_ERROR_INTERNAL ? 3 : 1;
}

namespace {

// Creates a VM for a script, lets `body` run in it, and gives the exit code.
template <class Body> int with_vm(const RunOptions &options, Body &&body) {
  size_t slash = options.file.rfind('/');
  std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : options.file.substr(0, slash);
  pg_vm_options vm_options{};
  vm_options.struct_size = sizeof vm_options;
  vm_options.trusted = options.trusted;
  vm_options.jit_off = options.jit_off;
  vm_options.memory_limit = static_cast<int64_t>(options.memory_mib * (1 << 20));
  vm_options.script_root = folder.c_str();
  pg_vm *vm = nullptr;
  if (const pg_status status = pg_vm_create(&vm_options, &vm); status != PG_OK) {
    std::fprintf(stderr, "perigee: %s\n", pg_last_message());
    return status == PG_ERROR_ARGUMENT ? 2 : 3;
  }
  int code = body(vm) == PG_OK ? 0 : print_error(vm);
  if (std::fflush(stdout) != 0 && code == 0) {
    std::fprintf(stderr, "perigee: cannot write standard output: %s\n", std::strerror(errno));
    code = 3;
  }
  pg_vm_destroy(vm);
  return code;
}

} // namespace

int run(const RunOptions &options) {
  std::vector<const char *> arguments;
  for (const std::string &argument : options.arguments)
    arguments.push_back(argument.c_str());
  return with_vm(options, [&](pg_vm *vm) {
    return pg_vm_run_file(vm, options.file.c_str(), static_cast<int>(arguments.size()), arguments.data());
  });
}

int log_tree(const std::string &file) {
  if (access(file.c_str(), R_OK) != 0) {
    std::fprintf(stderr, "perigee: cannot read %s: %s\n", file.c_str(), std::strerror(errno));
    return 2;
  }
  auto command = [](void *state, void *user) {
    auto *L = static_cast<lua_State *>(state);
    lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
    lua_getfield(L, -1, "write");
    lua_getfield(L, -2, "require");
    lua_pushliteral(L, "log");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "tree");
    lua_pushstring(L, static_cast<const std::string *>(user)->c_str());
    lua_call(L, 1, 1);
    lua_remove(L, -2);
    lua_pushliteral(L, "\n");
    lua_concat(L, 2);
    lua_call(L, 1, 0);
  };
  return with_vm({}, [&](pg_vm *vm) { return pg_vm_with_state(vm, command, const_cast<std::string *>(&file)); });
}

int roofline(bool fresh) {
  auto command = [](void *state, void *user) {
    auto *L = static_cast<lua_State *>(state);
    lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
    lua_getfield(L, -1, "require");
    lua_pushliteral(L, "profiler");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "_roofline");
    lua_pushboolean(L, *static_cast<bool *>(user));
    lua_call(L, 1, 0);
  };
  return with_vm({}, [&](pg_vm *vm) { return pg_vm_with_state(vm, command, &fresh); });
}

int profile(const ProfileOptions &options) {
  // Known before the script has run for minutes: what cannot be read or written.
  for (const auto &[path, mode] : {std::pair(&options.script.file, "r"), std::pair(&options.out, "a")})
    if (!path->empty()) {
      std::FILE *file = std::fopen(path->c_str(), mode);
      if (!file) {
        std::fprintf(stderr, "perigee: cannot %s %s: %s\n", *mode == 'r' ? "read" : "write", path->c_str(),
                     std::strerror(errno));
        return 2;
      }
      std::fclose(file);
    }
  auto command = [](void *state, void *user) {
    auto *L = static_cast<lua_State *>(state);
    const auto &options = *static_cast<const ProfileOptions *>(user);
    lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
    lua_getfield(L, -1, "require");
    lua_pushliteral(L, "profiler");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "_command");
    lua_newtable(L);
    auto set = [L](const char *name, const std::string &value) {
      if (!value.empty()) {
        lua_pushlstring(L, value.data(), value.size());
        lua_setfield(L, -2, name);
      }
    };
    set("file", options.script.file);
    set("mode", options.sample   ? "sample"
                : options.lines  ? "lines"
                : options.jit    ? "jit"
                : options.memory ? "memory" : options.ops ? "ops" : options.timeline ? "timeline" : "trace");
    set("sort", options.sort);
    set("out", options.out);
    set("format", options.format);
    lua_newtable(L);
    for (size_t i = 0; i < options.functions.size(); ++i) {
      lua_pushstring(L, options.functions[i].c_str());
      lua_rawseti(L, -2, static_cast<int>(i) + 1);
    }
    lua_setfield(L, -2, "functions");
    luaL_checkstack(L, static_cast<int>(options.script.arguments.size()), "arguments");
    for (const std::string &argument : options.script.arguments)
      lua_pushstring(L, argument.c_str());
    lua_call(L, 1 + static_cast<int>(options.script.arguments.size()), 0);
  };
  return with_vm(options.script,
                 [&](pg_vm *vm) { return pg_vm_with_state(vm, command, const_cast<ProfileOptions *>(&options)); });
}

} // namespace perigee::cli
