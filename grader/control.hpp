// The control page: the only memory that a sandboxed process shares with the supervisor. Control words, no data: inputs
// are written into the process's private memory and results read from it, while it is frozen (process_vm_writev and
// process_vm_readv). The page is hostile territory: the supervisor reads each word once, and believes none of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace perigee::grader {

enum class Command : uint32_t {
  load,    // run the script: a submission, or cases.lua
  prepare, // worker: drop results, collect garbage, have an input buffer of `capacity` bytes
  call,    // worker: call the entry function with each of the `count` inputs
  request, // judge: answer the request in the input buffer
};

// How a command went.
enum class Status : uint32_t {
  ok,
  load_error,   // `text` says why
  script_error, // in call number `failed`
  bad_result,
  output_limit,
  memory_limit,
  internal, // a bug on our side of the process
};

// A span of the process's private memory.
struct Span {
  std::atomic<uint64_t> address, bytes;
};

struct ControlPage {
  // Supervisor to process. `go` counts commands: the process sleeps on it, and takes `command` when it changes.
  std::atomic<uint32_t> go;
  std::atomic<Command> command;
  std::atomic<uint32_t> count;        // calls in this batch
  std::atomic<uint64_t> capacity;     // bytes of input buffer wanted
  std::atomic<uint64_t> output_bytes; // most bytes of one result
  int32_t rank;                       // of MPI: those above 0 are called without inputs, and give no results

  // Process to supervisor. `done` is set to the number of the command that has been carried out.
  alignas(64) std::atomic<uint32_t> done;
  std::atomic<Status> status;
  std::atomic<uint32_t> failed;
  std::atomic<uint32_t> progress; // calls finished in this batch
  uint32_t denied;                // number of the system call that seccomp refused (lockdown.hpp), 0 for none
  std::atomic<int32_t> pid;       // its own, as it knows it; before it is first done
  Span input;                     // the input buffer
  Span output;                    // results: uint64_t offsets[count + 1] relative to the address, then the blobs
  Span text;                      // an error message
};
static_assert(sizeof(ControlPage) <= 4096);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// Sleeps until `word` is no longer `value`, for at most `nanoseconds` (0: no limit); may wake early. A sleeping process
// costs no CPU time, which is what a spinning one would burn on the submission's clock.
inline void futex_wait(const std::atomic<uint32_t> &word, uint32_t value, int64_t nanoseconds) {
  timespec limit{nanoseconds / 1000000000, nanoseconds % 1000000000};
  syscall(SYS_futex, &word, FUTEX_WAIT, value, nanoseconds ? &limit : nullptr, nullptr, 0);
}

inline void futex_wake(const std::atomic<uint32_t> &word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

} // namespace perigee::grader
