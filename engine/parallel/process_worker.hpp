// What a parent and its worker processes say to each other.
#pragma once

#include "parallel/courier.hpp"
#include "parallel/pool.hpp"
#include "parallel/process.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "parallel/process_abi.h"
}
#pragma GCC visibility pop

#include <memory>

namespace perigee::parallel {

class Parent;

/// Packet::kind. A worker answers each request before it takes the next; on its way to the answer it may call.
enum class ProcessPacket : uint32_t {
  // to a worker
  echo = 1,     // the packet comes back: for tests and measurements
  die = 2,      // ends with exit code `tag`, or by signal `tag` - 128: for tests
  open = 3,     // its number and the options of its VM
  task = 4,     // a job's id, 0 for none, with its message where it is new; the task's message
  returned = 5, // what a call of the worker's came to
  // from a worker
  outcome = 16,
  print = 17, // text for the host's function
  call = 18,  // an operation on an object of the parent's (remote.hpp)
  drop = 19,  // the worker has let go of a reference to such an object, `tag`
};

/// How many jobs a worker keeps; the parent knows which, since both forget the oldest.
inline constexpr std::size_t jobs_kept = 8;

/// The executor of the worker process with this number, for a pool of the VM with these options. Throws where the
/// process cannot be started.
std::unique_ptr<Executor> make_process_executor(std::shared_ptr<Parent> parent, int number);

/// What is left to say of a shared object that cannot travel.
[[noreturn]] void refuse_to_send(const Shared &object, const char *why);

void put_outcome(Writer &writer, Courier &courier, const Outcome &outcome);
Outcome get_outcome(Reader &reader, Courier &courier);

} // namespace perigee::parallel
