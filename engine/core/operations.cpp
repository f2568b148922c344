#include "core/operations.hpp"

#include "core/timeline.hpp"

#include <atomic>

int32_t pg_operations_watched = 0;

namespace perigee::core {
namespace {

thread_local OperationWatcher *watcher = nullptr;
thread_local Operation running{};
thread_local int depth = 0;

} // namespace

void watch_operations(OperationWatcher *who) {
  if ((who != nullptr) != (watcher != nullptr))
    std::atomic_ref(pg_operations_watched).fetch_add(who ? 1 : -1);
  watcher = who;
  depth = 0;
}

const char *running_operation() {
  return depth == 0 ? "" : running.name[0] ? running.name : running.function;
}

} // namespace perigee::core

using namespace perigee::core;

extern "C" {

void pg_operation_begin(const char *function) {
  if (depth > 0) {
    ++depth;
    return;
  }
  if (!watcher && !timeline::recording())
    return;
  depth = 1;
  running = {function, "", "", 0, 0, monotonic_nanoseconds(), 0};
}

void pg_operation_describe(const char *name, const char *dtype, double bytes, double flops) {
  if (depth > 0 && !running.name[0]) {
    running.name = name;
    running.dtype = dtype;
    running.bytes = bytes;
    running.flops = flops;
  }
}

void pg_operation_end(void) {
  if (depth == 0 || --depth > 0) // it began before anybody watched, or it is part of another
    return;
  running.end = monotonic_nanoseconds();
  if (watcher)
    watcher->on_operation(running);
  if (timeline::recording())
    timeline::add({running.name[0] ? running.name : running.function, "operation", running.begin, running.end, 'X'});
}
}
