// The supervisor's end of a sandboxed process: starts it with its control page, sends commands, waits for the answer
// while it watches the process, and moves bytes into and out of its memory. Of a submission that runs on ranks of MPI
// each rank is such a process, in one sandbox (ranks.hpp); all get the same commands.
#pragma once

#include "control.hpp"
#include "sandbox.hpp"
#include "types.hpp"

#include <nlohmann/json_fwd.hpp>

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace perigee::grader {

struct ChannelOptions {
  std::string role;         // "worker" or "judge"
  int ranks = 0;            // of MPI, each a worker; 0: no MPI
  int64_t memory_bytes = 0; // of the whole sandbox
  int max_tasks = 4;
  std::vector<int> cpus;
  bool require_full = false;
  const std::atomic<bool> *interrupted = nullptr;
};

/// The program inside sandboxes. Throws InfrastructureError where it is not.
std::filesystem::path worker_program();

class Channel {
 public:
  // Returns when the process has locked itself down and waits for its first command; starting is tried twice. Throws
  // InfrastructureError.
  Channel(const ChannelOptions &options, const nlohmann::json &settings, const std::string &script);
  ~Channel();
  Channel(const Channel &) = delete;

  ControlPage &page(std::size_t rank = 0) { return *pages_[rank]; }
  std::size_t size() const { return pages_.size(); }
  Sandbox &sandbox() { return *sandbox_; }

  // Sends a command. The process may be frozen: it sees it when thawed.
  void post(Command command);

  enum class Wait { done, late, gone, stuck };
  // Waits for the answer of all ranks, or for the first that is not ok: the others may wait for that rank for ever.
  // Late when one call (as the pages' progress tells) takes longer than call_seconds, or all together longer than
  // total_seconds; stuck when `stuck` says so, which is asked twice a second. Throws Interrupted, having ended the
  // process.
  Wait wait(double call_seconds, double total_seconds);
  std::function<bool()> stuck;
  // Whether this rank has carried out the present command.
  bool done(std::size_t rank) const { return pages_[rank]->done == sequence_; }

  // What the process reports about its memory, read once, at most `most` bytes; false if it cannot be.
  bool read(const Span &span, uint64_t most, Bytes &bytes);
  // Its message, made harmless (clean_text), at most 64 KiB.
  std::string text(std::size_t rank = 0);
  // The first rank whose answer is not ok; size() where all are. To be asked after Wait::done.
  std::size_t failed() const;

 private:
  void start(SandboxOptions &options); // with new control pages
  void unmap();
  bool done() const;         // whether wait() has what it waits for
  uint32_t progress() const; // grows with every call of a rank

  std::vector<ControlPage *> pages_; // one a rank
  std::optional<Sandbox> sandbox_;
  const std::vector<int> cpus_; // of the worker
  const std::atomic<bool> *interrupted_;
  uint32_t sequence_ = 1;
};

// Monotonic seconds and nanoseconds that no clock adjustment touches.
int64_t raw_nanoseconds();

// Text of a hostile process for terminals, JSON and HTML: valid UTF-8, no control characters but newline and tab, at
// most `most` bytes.
std::string clean_text(std::string_view text, std::size_t most = 64 << 10);

} // namespace perigee::grader
