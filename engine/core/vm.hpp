// One Lua state with the engine's modules: what is behind a pg_vm.
#pragma once

#include "core/abi.hpp"
#include "core/heap.hpp"
#include "core/memory.hpp"

#include <lua.hpp>

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

struct pg_vm {
  explicit pg_vm(const pg_vm_options &options);
  ~pg_vm();
  pg_vm(const pg_vm &) = delete;

  pg_status run(std::string_view text, const char *name, int argument_count, const char *const *arguments,
                pg_value *results, size_t capacity, size_t *count);
  pg_status run_file(const char *path, int argument_count, const char *const *arguments);
  pg_status load_submission(std::string_view text, const char *name, const char *entry);
  pg_status call(const char *function, const pg_value *arguments, size_t argument_count, pg_value *results,
                 size_t capacity, size_t *count);
  pg_status with_state(void (*function)(void *state, void *user), void *user);
  void set_global(const char *name, const pg_value &value);
  void register_function(const char *name, pg_function function, void *user);

  void push(const pg_value &value);
  // Reads the value at `index`; strings and arrays stay alive through the table of kept results.
  pg_value read(int index);
  void write(const char *text, size_t size);

  // Keeps a failure for pg_vm_error and returns its status.
  pg_status fail(pg_status status, std::string message, std::string file = "", int line = 0,
                 std::string traceback = "");

  // The VM of a Lua state.
  static pg_vm &of(lua_State *L);

  lua_State *state = nullptr;
  // What it was made with; the texts are its own.
  pg_vm_options options{};
  int64_t account = 0;
  pg_error error{};
  // Of calls of options.print, which the workers of pools make as well.
  const std::shared_ptr<std::recursive_mutex> print_mutex = std::make_shared<std::recursive_mutex>();

 private:
  friend struct VmInternals;
  void push_core(const char *field);
  // lua_pcall with the message handler; on failure fills `error`. The function and arguments are on the stack.
  pg_status protected_call(int argument_count, int result_count);
  pg_status collect_results(int base, pg_value *results, size_t capacity, size_t *count);
  pg_status fail_syntax(int base);
  void forget_results();

  std::string message_, file_, traceback_, modules_, script_root_;
  pg_print print_ = nullptr;
  void *print_user_ = nullptr;
  std::unique_ptr<perigee::core::LuaHeap> heap_; // NULL: the state has LuaJIT's own
  lua_Alloc base_alloc_ = nullptr;
  void *base_alloc_user_ = nullptr;
  bool limited_ = false; // a script is running: the host side's own few allocations must not fail at the limit
  int core_ = LUA_NOREF, kept_ = LUA_NOREF, submission_ = LUA_NOREF, handler_ = LUA_NOREF;
};

namespace perigee::core {

// Replaces the function at the top of the stack, which describes errors in a table for lua_pcall, by one that describes
// stack overflows itself, with the same fields ("file", "line", "message", "traceback"; "text", as workers have it).
void wrap_error_handler(lua_State *L);
extern const char *const overflow_words; // what it says

// Reads a script: text, at most 1 MiB. Throws FileError or ArgumentError, naming the file and what is wrong with it.
std::string read_script(const std::string &path);
// Throws FileError where `text` is not a text script (bytecode, a zero byte).
void require_text(std::string_view text, const std::string &name);

} // namespace perigee::core
