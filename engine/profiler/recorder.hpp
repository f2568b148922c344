// What the engine did, operation by operation: sums for the profile of operations. (What happened when:
// core/timeline.hpp.)
#pragma once

#include "core/operations.hpp"
#include "profiler/profiler.hpp"

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

  Recorder();  // records the calling thread's operations
  ~Recorder(); // stops
  Recorder(const Recorder &) = delete;
  void stop();

  std::unordered_map<Key, Sum, Hash> sums;

 private:
  void on_operation(const core::Operation &operation) noexcept override;

  bool running_ = true;
};

} // namespace perigee::profiler
