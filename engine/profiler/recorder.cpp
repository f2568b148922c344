#include "profiler/recorder.hpp"

#include "core/status.hpp"
#include "core/timeline.hpp"

#include <bit>
#include <cmath>
#include <new>

#pragma GCC visibility push(default)
extern "C" {
#include "profiler/profiler_abi.h"
}
#pragma GCC visibility pop

namespace perigee::profiler {

Recorder::Recorder() {
  core::watch_operations(this);
}

Recorder::~Recorder() {
  stop();
}

void Recorder::stop() {
  if (!running_)
    return;
  running_ = false;
  core::watch_operations(nullptr);
}

void Recorder::on_operation(const core::Operation &operation) noexcept {
  try {
    const int size = operation.bytes > 0 ? std::ilogb(operation.bytes) / 2 : 0;
    Sum &sum = sums[{operation.function, operation.name, operation.dtype, size}];
    const int64_t took = operation.end - operation.begin;
    ++sum.count;
    sum.nanoseconds += took;
    sum.bytes += operation.bytes;
    sum.flops += operation.flops;
    sum.longest = std::max(sum.longest, took);
  } catch (const std::bad_alloc &) { // no memory to note it in: the profile lacks it
  }
}

} // namespace perigee::profiler

using namespace perigee;
namespace timeline = core::timeline;

// Not through guard(): these are no operations of the engine.
template <class Body> static int32_t quietly(Body &&body) noexcept {
  try {
    if (timeline::recording())
      body();
    return PG_OK;
  } catch (const std::bad_alloc &) {
    return set_last_error(PG_ERROR_MEMORY, "this machine has no memory left for the timeline");
  }
}

int32_t pg_profiler_recording(void) {
  return timeline::recording();
}

int32_t pg_profiler_span_begin(const char *name, const char *category) {
  return quietly([&] { timeline::begin(timeline::keep(name), timeline::keep(category)); });
}

int32_t pg_profiler_span_end(void) {
  return quietly([] { timeline::end(); });
}

int32_t pg_profiler_mark(const char *name, const char *category) {
  return quietly([&] {
    timeline::add({timeline::keep(name), timeline::keep(category), core::monotonic_nanoseconds(), 0, 'i'});
  });
}

int32_t pg_profiler_counter(const char *name, double value) {
  return quietly([&] {
    timeline::add({timeline::keep(name), "counter", core::monotonic_nanoseconds(), std::bit_cast<int64_t>(value), 'C'});
  });
}
