#include "profiler/recorder.hpp"

#include "core/status.hpp"

#include <algorithm>
#include <cmath>

#pragma GCC visibility push(default)
extern "C" {
#include "profiler/profiler_abi.h"
}
#pragma GCC visibility pop

namespace perigee::profiler {
namespace {

thread_local Recorder *recorder = nullptr; // with events

struct Open { // a span of a script
  const char *name;
  int64_t begin;
};
thread_local std::vector<Open> spans;

} // namespace

Recorder::Recorder(size_t most_events) : most_events_(most_events) {
  if (most_events_) {
    if (recorder)
      throw ArgumentError("a timeline is being recorded already");
    events.reserve(std::min<size_t>(most_events_, 1 << 16));
    recorder = this;
    spans.clear();
  }
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
  if (recorder == this) {
    recorder = nullptr;
    const int64_t end = core::monotonic_nanoseconds();
    for (; !spans.empty(); spans.pop_back()) // an error left them open
      add({spans.back().name, "span", spans.back().begin, end, 'X'});
  }
}

const char *Recorder::keep(const std::string &text) {
  return texts_.try_emplace(text, 0).first->first.c_str(); // nodes stay where they are
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
    if (most_events_)
      add({operation.name[0] ? operation.name : operation.function, "operation", operation.begin, operation.end, 'X'});
  } catch (const std::bad_alloc &) {
    ++dropped;
  }
}

} // namespace perigee::profiler

using namespace perigee;
using namespace perigee::profiler;

// Not through guard(): these are no operations of the engine.
template <class Body> static int32_t quietly(Body &&body) noexcept {
  try {
    if (recorder)
      body();
    return PG_OK;
  } catch (const std::bad_alloc &) {
    return set_last_error(PG_ERROR_MEMORY, "this machine has no memory left for the timeline");
  }
}

int32_t pg_profiler_recording(void) {
  return recorder != nullptr;
}

int32_t pg_profiler_span_begin(const char *name) {
  return quietly([&] { spans.push_back({recorder->keep(name), core::monotonic_nanoseconds()}); });
}

int32_t pg_profiler_span_end(void) {
  return quietly([&] {
    if (!spans.empty()) {
      recorder->add({spans.back().name, "span", spans.back().begin, core::monotonic_nanoseconds(), 'X'});
      spans.pop_back();
    }
  });
}

int32_t pg_profiler_mark(const char *name) {
  return quietly([&] { recorder->add({recorder->keep(name), "mark", core::monotonic_nanoseconds(), 0, 'i'}); });
}
