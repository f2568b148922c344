// What the engine did, operation by operation: sums for the profile of operations, and events for the timeline.
#pragma once

#include "core/operations.hpp"
#include "profiler/profiler.hpp"

#include <string>
#include <vector>

namespace perigee::profiler {

class Recorder final : core::OperationWatcher {
 public:
  struct Key {
    const char *function, *name, *dtype; // addresses tell them apart: all are constants
    int size;                            // of a call: log4 of its bytes
    bool operator==(const Key &) const = default;
  };
  struct Sum {
    int64_t count = 0, nanoseconds = 0;
    double bytes = 0, flops = 0;
    int64_t longest = 0;
  };
  struct Hash {
    size_t operator()(const Key &k) const {
      return ((reinterpret_cast<size_t>(k.function) * 31 + reinterpret_cast<size_t>(k.name)) * 31 +
              reinterpret_cast<size_t>(k.dtype)) *
                 31 +
             size_t(k.size);
    }
  };
  // Of the timeline. Phase as in Chrome's trace format: 'X' a span, 'i' an instant, 'C' a counter (its value in `end`).
  struct Event {
    const char *name, *category;
    int64_t begin, end;
    char phase;
  };

  // Records the calling thread's operations; with `events`, at most so many events as well.
  explicit Recorder(size_t events);
  ~Recorder(); // stops
  Recorder(const Recorder &) = delete;
  void stop();

  void add(const Event &event) {
    if (events.size() < most_events_)
      events.push_back(event);
    else
      ++dropped;
  }
  // A text that lives as long as the recorder: names of spans.
  const char *keep(const std::string &text);

  std::unordered_map<Key, Sum, Hash> sums;
  std::vector<Event> events;
  int64_t dropped = 0;

 private:
  void on_operation(const core::Operation &operation) noexcept override;

  size_t most_events_;
  bool running_ = true;
  std::unordered_map<std::string, int> texts_;
};

} // namespace perigee::profiler
