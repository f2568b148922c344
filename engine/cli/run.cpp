// `perigee run`: a script in a VM of its own. No iostreams here, nor in what it calls: an empty script starts about as
// fast as in plain LuaJIT.
#include "cli/cli.hpp"
#include "cli/rank.hpp"
#include "core/plugin_support.hpp"

#include <fcntl.h>
#include <lua.hpp>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <utility>

namespace perigee::cli {

std::string error_text(pg_vm *vm, bool bold) {
  const pg_error *error = pg_vm_error(vm);
  const bool about_file = error->status == PG_ERROR_FILE || error->status == PG_ERROR_INTERNAL;
  std::string text = "perigee: ";
  if (!about_file && error->file[0])
    text += (bold ? "\x1b[1m" : "") + std::string(error->file) +
            (error->line > 0 ? ":" + std::to_string(error->line) : "") + ": " + (bold ? "\x1b[0m" : "");
  text += std::string(error->message) + "\n";
  // A traceback of one frame only repeats the position.
  if (std::strchr(error->traceback, '\n')) {
    text += "called from, innermost first:\n";
    for (const char *line = error->traceback; *line;) {
      const char *end = strchrnul(line, '\n');
      text += "  " + std::string(line, end) + "\n";
      line = end + (*end ? 1 : 0);
    }
  }
  return text;
}

namespace {

int exit_code_of(const pg_error *error) {
  return error->status == PG_ERROR_FILE ? 2 : error->status == PG_ERROR_INTERNAL ? 3 : 1;
}

} // namespace

int print_error(pg_vm *vm) {
  const char *no_colour = std::getenv("NO_COLOR");
  const bool bold = isatty(STDERR_FILENO) && !(no_colour && *no_colour);
  std::fflush(stdout); // what the script printed comes first, also where both go to one file
  std::fputs(error_text(vm, bold).c_str(), stderr);
  return exit_code_of(pg_vm_error(vm));
}

namespace {

// Creates a VM for a script, lets `body` run in it, and gives the exit code. `rank`: of `perigee mpirun`, which is
// told.
template <class Body> int with_vm(const RunOptions &options, Body &&body, RankOutput *rank = nullptr) {
  size_t slash = options.file.rfind('/');
  std::string folder = !options.root.empty()        ? options.root
                       : slash == std::string::npos ? "."
                       : slash == 0                 ? "/"
                                                    : options.file.substr(0, slash);
  pg_interrupts_take();
  pg_vm_options vm_options{};
  vm_options.struct_size = sizeof vm_options;
  vm_options.trusted = options.trusted;
  vm_options.jit_off = options.jit_off;
  vm_options.memory_limit = static_cast<int64_t>(options.memory_mib * (1 << 20));
  vm_options.script_root = folder.c_str();
  pg_vm *vm = nullptr;
  if (const pg_status status = pg_vm_create(&vm_options, &vm); status != PG_OK) {
    const int code = status == PG_ERROR_ARGUMENT ? 2 : 3;
    if (rank)
      rank->fail(code, std::string("perigee: ") + pg_last_message());
    std::fprintf(stderr, "perigee: %s\n", pg_last_message());
    return code;
  }
  const bool fine = body(vm) == PG_OK;
  // A rank that failed leaves MPI to those who started it: to leave in order is to wait for the others, who may wait
  // for this one.
  if (!fine && rank)
    rank->fail(exit_code_of(pg_vm_error(vm)), error_text(vm));
  int code = fine ? 0 : print_error(vm);
  if (std::fflush(stdout) != 0 && code == 0) {
    std::fprintf(stderr, "perigee: cannot write standard output: %s\n", std::strerror(errno));
    code = 3;
  }
  pg_vm_destroy(vm);
  if (rank)
    rank->end(code);
  return code;
}

} // namespace

int run(const RunOptions &options) {
  std::optional<RankOutput> rank;
  if (options.mpi_rank)
    rank.emplace();
  std::vector<const char *> arguments;
  for (const std::string &argument : options.arguments)
    arguments.push_back(argument.c_str());
  auto call = [](void *state, void *user) { // of mpi.spawn
    auto *L = static_cast<lua_State *>(state);
    lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
    lua_getfield(L, -1, "require");
    lua_pushliteral(L, "mpi");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "_called");
    lua_pushstring(L, static_cast<const std::string *>(user)->c_str());
    lua_call(L, 1, 0);
  };
  auto body = [&](pg_vm *vm) {
    if (options.call)
      return pg_vm_with_state(vm, call, const_cast<std::string *>(&options.file));
    return pg_vm_run_file(vm, options.file.c_str(), static_cast<int>(arguments.size()), arguments.data());
  };
  return with_vm(options, body, rank ? &*rank : nullptr);
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

namespace {

// A second run of the script, without a profiler and with the JIT compiler on, for the time that it really takes. The
// process for it is made before the first run, while there are no threads, and waits until the first has ended; it
// reads and prints nothing.
class PlainRun {
 public:
  explicit PlainRun(const RunOptions &options) {
    int go[2], answer[2];
    if (pipe2(go, O_CLOEXEC) != 0)
      return;
    if (pipe2(answer, O_CLOEXEC) != 0) {
      close(go[0]);
      close(go[1]);
      return;
    }
    std::fflush(nullptr);
    child_ = fork();
    if (child_ == 0) {
      close(go[1]);
      close(answer[0]);
      char byte;
      if (read(go[0], &byte, 1) != 1)
        _exit(1); // nobody wants to know
      const int null = open("/dev/null", O_RDWR);
      for (const int fd : {0, 1, 2})
        dup2(null, fd);
      double seconds = -1;
      std::vector<const char *> arguments;
      for (const std::string &argument : options.arguments)
        arguments.push_back(argument.c_str());
      with_vm(options, [&](pg_vm *vm) {
        const double start = now();
        const pg_status status =
            pg_vm_run_file(vm, options.file.c_str(), static_cast<int>(arguments.size()), arguments.data());
        if (status == PG_OK)
          seconds = now() - start;
        return status;
      });
      _exit(write(answer[1], &seconds, sizeof seconds) == sizeof seconds ? 0 : 1);
    }
    close(go[0]);
    close(answer[1]);
    go_ = go[1];
    answer_ = answer[0];
  }

  // The seconds it took; negative where it failed, or took longer than `most` seconds.
  double seconds(double most) {
    double result = -1;
    if (child_ <= 0 || write(go_, "g", 1) != 1)
      return result;
    pollfd ready{answer_, POLLIN, 0};
    const auto milliseconds = static_cast<int>(std::min(most * 1e3, 2e9));
    if (poll(&ready, 1, milliseconds) <= 0 || read(answer_, &result, sizeof result) != sizeof result)
      return -1;
    return result;
  }

  ~PlainRun() {
    if (child_ <= 0)
      return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    close(go_);
    close(answer_);
  }
  PlainRun(const PlainRun &) = delete;

 private:
  static double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
  pid_t child_ = -1;
  int go_ = -1, answer_ = -1;
};

struct Profiled {
  const ProfileOptions &options;
  PlainRun *plain;
};

} // namespace

int profile(const ProfileOptions &options) {
  // Known before the script has run for minutes: what cannot be read or written.
  for (const auto &[path, mode] : {std::pair(&options.script.file, "r"), std::pair(&options.out, "a")})
    if (!path->empty()) {
      const bool there = access(path->c_str(), F_OK) == 0;
      std::FILE *file = std::fopen(path->c_str(), mode);
      if (!file) {
        std::fprintf(stderr, "perigee: cannot %s %s: %s\n", *mode == 'r' ? "read" : "write", path->c_str(),
                     std::strerror(errno));
        return 2;
      }
      std::fclose(file);
      if (!there)
        unlink(path->c_str());
    }
  auto command = [](void *state, void *user) {
    auto *L = static_cast<lua_State *>(state);
    const auto &[options, plain] = *static_cast<const Profiled *>(user);
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
    set("mode", options.sample     ? "sample"
                : options.lines    ? "lines"
                : options.jit      ? "jit"
                : options.memory   ? "memory"
                : options.ops      ? "ops"
                : options.timeline ? "timeline"
                                   : "trace");
    if (options.sampled) {
      lua_pushboolean(L, 1);
      lua_setfield(L, -2, "sampled");
    }
    set("sort", options.sort);
    set("out", options.out);
    set("format", options.format);
    lua_newtable(L);
    for (size_t i = 0; i < options.functions.size(); ++i) {
      lua_pushstring(L, options.functions[i].c_str());
      lua_rawseti(L, -2, static_cast<int>(i) + 1);
    }
    lua_setfield(L, -2, "functions");
    if (plain) {
      lua_pushlightuserdata(L, plain);
      lua_pushcclosure(
          L,
          [](lua_State *state) {
            auto *run = static_cast<PlainRun *>(lua_touserdata(state, lua_upvalueindex(1)));
            lua_pushnumber(state, run->seconds(lua_tonumber(state, 1)));
            return 1;
          },
          1);
      lua_setfield(L, -2, "plain_seconds");
    }
    luaL_checkstack(L, static_cast<int>(options.script.arguments.size()), "arguments");
    for (const std::string &argument : options.script.arguments)
      lua_pushstring(L, argument.c_str());
    lua_call(L, 1 + static_cast<int>(options.script.arguments.size()), 0);
  };
  std::optional<PlainRun> plain;
  if (!options.once && !options.sampled &&
      !(options.sample || options.jit || options.memory || options.ops || options.timeline)) // those of calls and lines
    plain.emplace(options.script);
  Profiled profiled{options, plain ? &*plain : nullptr};
  return with_vm(options.script, [&](pg_vm *vm) { return pg_vm_with_state(vm, command, &profiled); });
}

} // namespace perigee::cli
