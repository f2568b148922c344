// What both programs inside a sandbox have in common (perigee-worker, as worker and as judge): the control page, a VM,
// the input buffer, answers. Everything here runs on the untrusted side.
#pragma once

#include "control.hpp"
#include "frames.hpp"

#include "core/wire.hpp"

#include <lua.hpp>
#include <nlohmann/json.hpp>
#include <perigee/perigee.h>

#include <functional>
#include <memory>
#include <string>

namespace perigee::grader {

// What the script prints, kept until the end of a command: a system call for every print would be part of its time.
class Printer {
 public:
  void write(const char *text, std::size_t size);
  void flush();

 private:
  std::string buffer_;
};

// Memory for inputs, written by the supervisor. It grows by taking new memory and never goes back: a script may have
// kept an array that lies in the old one.
class InputBuffer {
 public:
  void ensure(std::size_t capacity); // throws std::bad_alloc
  frames::Blob all() const { return {memory_, capacity_}; }

 private:
  std::byte *memory_ = nullptr;
  std::size_t capacity_ = 0;
};

class Role {
 public:
  // settings: {name, jit, memory, modules (an array, or null for all), ...}
  Role(ControlPage &page, nlohmann::json settings, std::string script);
  virtual ~Role() = default;

  // Loads Open MPI and starts it, in a process that mpirun has started. Throws what a person can read.
  void start_mpi();

  // Takes commands until the process is killed.
  [[noreturn]] void serve();

 protected:
  virtual Status load() = 0;
  virtual Status answer(Command command) = 0; // call and request

  // Runs `body` on the VM's account, protected; false leaves the error in the VM. What is raised may skip destructors
  // of `body`'s own locals.
  template <class Body> bool with_lua(Body &&body) {
    auto call = [](void *state, void *user) {
      (*static_cast<std::remove_reference_t<Body> *>(user))(static_cast<lua_State *>(state));
    };
    return pg_vm_with_state(vm_, call, &body) == PG_OK;
  }
  // Pushes a field of the engine's core table.
  static void push_core(lua_State *L, const char *field);

  static void report(Span &span, const void *data, std::size_t size);
  Status fail(Status status, std::string message);
  // The VM's error as a person reads it: file:line: message, then the traceback.
  std::string vm_error() const;
  // Fails with it; as memory_limit where that is what it was.
  Status fail_vm(Status status);

  ControlPage &page_;
  const nlohmann::json settings_;
  const std::string script_;
  pg_vm *vm_ = nullptr;
  InputBuffer input_;
  frames::Writer output_;
  wire::ArrayBridge bridge_;
  std::unique_ptr<wire::Encoder> encoder_;

 private:
  Status carry_out(Command command);
  Status prepare();

  Printer printer_;
  std::string text_;
};

// The two roles. A worker's settings also hold {entry}, a judge's {tolerance: [relative, absolute, nan_equal]}.
std::unique_ptr<Role> make_worker(ControlPage &page, nlohmann::json settings, std::string script);
std::unique_ptr<Role> make_judge(ControlPage &page, nlohmann::json settings, std::string script);

} // namespace perigee::grader
