// The supervisor's end of a sandboxed process: starts it with its control page, sends commands, waits for the answer
// while it watches the process, and moves bytes into and out of its memory.
#pragma once

#include "control.hpp"
#include "sandbox.hpp"
#include "types.hpp"

#include <nlohmann/json_fwd.hpp>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

namespace perigee::grader {

struct ChannelOptions {
  std::string role;         // "worker" or "judge"
  int64_t memory_bytes = 0; // of the whole sandbox
  int max_tasks = 4;
  std::vector<int> cpus;
  bool require_full = false;
  const std::atomic<bool> *interrupted = nullptr;
};

class Channel {
 public:
  // Returns when the process has locked itself down and waits for its first command; starting is tried twice. Throws
  // InfrastructureError.
  Channel(const ChannelOptions &options, const nlohmann::json &settings, const std::string &script);
  ~Channel();
  Channel(const Channel &) = delete;

  ControlPage &page() { return *page_; }
  Sandbox &sandbox() { return *sandbox_; }

  // Sends a command. The process may be frozen: it sees it when thawed.
  void post(Command command);

  enum class Wait { done, late, gone };
  // Waits for the answer. Late when one call (as page().progress tells) takes longer than call_seconds, or all together
  // longer than total_seconds. Throws Interrupted, having ended the process.
  Wait wait(double call_seconds, double total_seconds);

  // What the process reports about its memory, read once, at most `most` bytes; false if it cannot be.
  bool read(const Span &span, uint64_t most, Bytes &bytes);
  // Its message, made harmless (clean_text), at most 64 KiB.
  std::string text();

 private:
  void start(void *memory, SandboxOptions &options); // with a new control page

  ControlPage *page_ = nullptr;
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
