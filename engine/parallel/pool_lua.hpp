// Executors that are Lua states.
#pragma once

#include "core/abi.hpp"
#include "parallel/pool.hpp"

#include <memory>
#include <mutex>
#include <string>

namespace perigee::parallel {

// What workers need of the VM that made their pool, which may be gone when they end.
class Parent {
 public:
  Parent(const pg_vm_options &options, std::shared_ptr<std::recursive_mutex> print_mutex);
  Parent(const Parent &) = delete;
  // Calls the host's function, which one thread at a time may call.
  void print(const char *text, size_t size);

  pg_vm_options options;

 private:
  std::string modules_, script_root_;
  const std::shared_ptr<std::recursive_mutex> print_mutex_; // the VM's
};

// A new Lua state that runs tasks, for the calling thread.
std::unique_ptr<Executor> make_lua_executor(std::shared_ptr<Parent> parent);

} // namespace perigee::parallel
