// A worker: one untrusted submission in a sandboxed process, driven over a control page of shared words. The clock, the
// inputs and everything that is checked stay on this side; DESIGN section 6 says why each step is as it is.
#pragma once

#include "types.hpp"

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace perigee::grader {

// Why a worker gave no result. What is the machine's fault is never one of these: it is thrown as InfrastructureError.
enum class FailureKind {
  none,
  load_error,       // the script does not parse, fails while loading, or has no entry function
  script_error,     // the entry function raised an error
  bad_result,       // nothing returned, or something that cannot leave a worker (a function, a cyclic table, ...)
  shared_memory,    // the result shares memory with an input, or with the result of another call
  changed_input,    // the call wrote to its input though the exercise does not allow it
  time_limit,       // a call (or loading) took longer than allowed
  memory_limit,     // more memory than allowed
  output_limit,     // a result larger than allowed
  flood,            // printed without end
  crashed,          // ended by a signal
  exited,           // ended before it had answered
  denied_call,      // made a system call that the sandbox refuses
  ran_while_frozen, // used CPU time while it had to stand still
  forged_protocol,  // its answer is not one that Perigee's own code writes
};

// "time_limit": for JSON and tests.
const char *failure_name(FailureKind kind);
// Passed on `none`; else wrong, error or over_limit.
Verdict verdict_of(FailureKind kind);

struct WorkerOptions {
  std::vector<int> cpus;          // pin the sandbox to these; empty: no pinning
  bool require_full = false;      // refuse to run where the sandbox lacks a layer
  int64_t output_bytes = 1 << 20; // how large the encoded result of one call may be
  int ranks = 0;                  // of MPI that run the submission; 0: none, it runs in one process
  double slice_seconds = 30.0;    // how long one batch may take (at least the exercise's limit for one call)
  const std::atomic<bool> *interrupted = nullptr; // once true: run() ends the worker at once and throws Interrupted
};

// Keep the inputs of one batch within this, or within the exercise's memory limit if that is more.
inline constexpr int64_t most_input_bytes = 256 << 20;

// What became of one batch of calls.
struct Slice {
  std::vector<Bytes> results; // one a call, in order; empty after a failure
  std::vector<Bytes> records; // of exercises for a GPU: what each call had devices do
  double wall = 0.0;          // seconds for the whole batch, from go until every task was confirmed stopped
  double cpu = 0.0;           // seconds of CPU time of all its tasks, the same span
  double waited = 0.0; // wall-clock exercises: seconds its tasks waited for a core that others held, a core's share
  double others =
      HUGE_VAL; // of several cores: CPU seconds that others used of them, by a clock of 10 ms; unknown: HUGE_VAL
  FailureKind kind = FailureKind::none;
  std::string failure;         // for the learner; may have several lines (a traceback)
  std::size_t failed_call = 0; // 0-based; which call of the batch failed, where that is known

  bool ok() const { return kind == FailureKind::none; }
};

class Worker {
 public:
  // Starts the sandbox and loads the submission in it: about 10 ms. A script that cannot be loaded is no exception but
  // load_kind(); a machine that cannot run sandboxes is (InfrastructureError). script_name appears in the learner's
  // messages ("solve.lua").
  Worker(const Exercise &exercise, const std::string &script_text, const std::string &script_name,
         const WorkerOptions &options);
  ~Worker();
  Worker(Worker &&) noexcept;
  Worker &operator=(Worker &&) noexcept;

  FailureKind load_kind() const;
  const std::string &load_error() const;

  // Calls the entry function once for each of `inputs` (wire format: the list of arguments) and measures the batch. Of
  // ranks, all call it: rank 0 with the inputs, the others without any; the results are rank 0's, and a call is over
  // when all have returned from it.
  // Correctness trials, warm-up and timed slices all take this path, so the script cannot tell them apart. No inputs
  // at all measure what the hand-over itself costs. After a
  // failure other than script_error, bad_result, shared_memory, changed_input and output_limit the worker is dead.
  Slice run(const std::vector<Bytes> &inputs);

  // Of as many ranks as there are cores: gives rank r the core options.cpus[(r + shift) % ranks] from now on.
  void spread(std::size_t shift);

  // Can take another batch.
  bool usable() const;
  // What the script printed, cut at 64 KiB.
  std::string output();
  // Bytes, sampled from outside.
  int64_t memory_peak();
  // Wall seconds from the start of the sandbox until the submission was loaded.
  double start_seconds() const;
  // Wall seconds spent in run() outside the measured spans, all slices together.
  double overhead_seconds() const;
  // "not protected: ..." names, where the machine lacks a layer.
  std::vector<std::string> unprotected() const;
  // Ends the process tree now.
  void kill();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace perigee::grader
