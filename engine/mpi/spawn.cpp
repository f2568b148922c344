// mpi.spawn: a function on ranks of a job of its own, started by the program `perigee mpirun`. Function, arguments and
// results travel in files of a folder that lasts as long as the job. lua_CFunctions, as in mpi_lua.cpp; none of them
// needs MPI here.
#include "core/plugin_support.hpp"
#include "core/status.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <lua.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

extern char **environ;

namespace perigee::mpi {
namespace {

int refused(lua_State *L, const std::string &reason) {
  lua_pushnil(L);
  lua_pushlstring(L, reason.data(), reason.size());
  return 2;
}

// folder() -> the path of a fresh one, or nil and the reason
int folder(lua_State *L) {
  std::error_code error;
  const std::filesystem::path base = std::filesystem::temp_directory_path(error);
  std::string path = ((error ? "/tmp" : base) / "perigee-spawn-XXXXXX").string();
  if (!mkdtemp(path.data()))
    return refused(L, "cannot make a folder in " + base.string() + ": " + std::strerror(errno));
  lua_pushlstring(L, path.data(), path.size());
  return 1;
}

// remove(folder)
int remove(lua_State *L) {
  std::error_code error;
  std::filesystem::remove_all(luaL_checkstring(L, 1), error);
  return 0;
}

// write(path, values...) -> true; or false and the reason
int write(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  const void *data = nullptr;
  int64_t size = 0;
  if (pg_values_pack(&data, &size, L, 2) != PG_OK)
    return refused(L, pg_last_message());
  const std::string temporary = std::string(path) + ".part"; // so that a file that is there is whole
  std::FILE *file = std::fopen(temporary.c_str(), "wb");
  bool written = file && std::fwrite(data, 1, static_cast<size_t>(size), file) == static_cast<size_t>(size);
  written = (file && std::fclose(file) == 0) && written;
  if (!written || std::rename(temporary.c_str(), path) != 0)
    return refused(L, std::string("cannot write ") + path + ": " + std::strerror(errno));
  lua_pushboolean(L, 1);
  return 1;
}

// read(path) -> true, values...; or false and the reason
int read(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  lua_settop(L, 0);
  std::string reason;
  {
    std::vector<char> bytes; // gone before Lua may raise
    std::FILE *file = std::fopen(path, "rb");
    if (file) {
      char buffer[1 << 16];
      for (size_t count; (count = std::fread(buffer, 1, sizeof buffer, file)) > 0;)
        bytes.insert(bytes.end(), buffer, buffer + count);
      std::fclose(file);
      void *copy = lua_newuserdata(L, bytes.size() + 1);
      std::memcpy(copy, bytes.data(), bytes.size());
      lua_pushinteger(L, static_cast<lua_Integer>(bytes.size()));
    } else {
      reason = std::string("cannot read ") + path + ": " + std::strerror(errno);
    }
  }
  if (!reason.empty())
    return refused(L, reason);
  const void *data = lua_touserdata(L, 1);
  const int64_t size = lua_tointeger(L, 2);
  lua_pushboolean(L, 1);
  int32_t count = 0;
  if (pg_values_unpack(&count, L, data, size) != PG_OK)
    return refused(L, pg_last_message());
  return count + 1;
}

// program() -> the path of `perigee`, which lies beside the library, or nil and the reason
int program(lua_State *L) {
  namespace fs = std::filesystem;
  Dl_info info{};
  std::error_code error;
  if (dladdr(reinterpret_cast<const void *>(&pg_last_message), &info) && info.dli_fname) {
    const fs::path folder = fs::absolute(info.dli_fname, error).parent_path();
    for (const fs::path &path : {folder / "../bin/perigee", folder / "perigee", folder / "../../bin/perigee"})
      if (access(path.c_str(), X_OK) == 0) {
        lua_pushstring(L, fs::weakly_canonical(path, error).c_str());
        return 1;
      }
    return refused(L, "the program perigee is not beside its library " + std::string(info.dli_fname));
  }
  return refused(L, "the program perigee cannot be found");
}

// start(words) -> pid, or nil and the reason
int start(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const size_t count = lua_objlen(L, 1);
  pid_t pid = 0;
  int result;
  {
    std::vector<char *> words;
    for (size_t i = 1; i <= count; ++i) {
      lua_rawgeti(L, 1, static_cast<int>(i));
      words.push_back(const_cast<char *>(lua_tostring(L, -1))); // the table keeps them
      lua_pop(L, 1);
    }
    words.push_back(nullptr);
    std::fflush(nullptr);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    result = posix_spawn(&pid, words[0], nullptr, &attributes, words.data(), environ);
    posix_spawnattr_destroy(&attributes);
  }
  if (result != 0)
    return refused(L, std::string("cannot start perigee mpirun: ") + std::strerror(result));
  lua_pushinteger(L, pid);
  return 1;
}

// wait(pid) -> its exit code (128 + n: signal n) once it has ended, nil after a tenth of a second
int wait(lua_State *L) {
  const auto pid = static_cast<pid_t>(luaL_checkinteger(L, 1));
  for (int i = 0; i < 50; ++i) {
    int status = 0;
    const pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid || (ended < 0 && errno != EINTR)) {
      lua_pushinteger(L, ended < 0 ? 3 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
      return 1;
    }
    const timespec pause{0, 2000000};
    nanosleep(&pause, nullptr);
  }
  return 0;
}

// stop(pid): and waits for its end
int stop(lua_State *L) {
  const auto pid = static_cast<pid_t>(luaL_checkinteger(L, 1));
  kill(pid, SIGTERM);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR)
    ;
  return 0;
}

} // namespace
} // namespace perigee::mpi

// What package.loadlib finds: returns a table of these functions.
#pragma GCC visibility push(default)
extern "C" int pg_mpi_spawn_functions(lua_State *L) {
  using namespace perigee::mpi;
  const luaL_Reg functions[] = {{"folder", folder},   {"remove", remove}, {"write", write}, {"read", read},
                                {"program", program}, {"start", start},   {"wait", wait},   {"stop", stop}};
  lua_newtable(L);
  for (const luaL_Reg &f : functions) {
    lua_pushcfunction(L, f.func);
    lua_setfield(L, -2, f.name);
  }
  return 1;
}
#pragma GCC visibility pop
