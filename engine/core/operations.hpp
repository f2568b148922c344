// Who watches the engine's operations on a thread. The functions of the C ABI report through guard() (status.hpp).
#pragma once

#include "core/abi.hpp"

#include <cstdint>
#include <ctime>

namespace perigee::core {

inline int64_t monotonic_nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

struct Operation {
  const char *function; // of the C ABI
  const char *name;     // what it did, "" where it does not say
  const char *dtype;
  double bytes, flops;
  int64_t begin, end; // nanoseconds of CLOCK_MONOTONIC
};

struct OperationWatcher {
  virtual void on_operation(const Operation &operation) noexcept = 0;

 protected:
  ~OperationWatcher() = default;
};

// Watches the calling thread's operations from now on; NULL ends it.
void watch_operations(OperationWatcher *watcher);

// What the calling thread's operation does, as far as it has said so, or its function; "" where none runs or nobody
// watches.
const char *running_operation();

} // namespace perigee::core
