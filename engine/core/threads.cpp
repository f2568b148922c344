#include "core/threads.hpp"

#include "core/abi.hpp"
#include "core/memory.hpp"
#include "core/plugin_support.hpp"
#include "core/processors.hpp"
#include "core/status.hpp"
#include "core/timeline.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#if defined(PERIGEE_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace perigee::core {
namespace {

thread_local int own = 0; // 0: the process's

std::atomic<int> &budget() {
  static std::atomic<int> count{thread_default().count};
  return count;
}

// ThreadSanitizer does not see how oneTBB hands work over. So this file, where all of its templates are, is compiled
// without it (CMakeLists.txt) and says what happens before what.
#if defined(PERIGEE_TSAN)
void release(void *moment) {
  __tsan_release(moment);
}
void acquire(void *moment) {
  __tsan_acquire(moment);
}
#else
void release(void *) {}
void acquire(void *) {}
#endif

// oneTBB starts no more threads than there are processors, with a warning on stderr, unless it is told to.
void allow(int threads) {
  static std::mutex mutex;
  static std::unique_ptr<tbb::global_control> control;
  static int allowed = available_processors();
  const std::lock_guard lock(mutex);
  if (threads > allowed) {
    control.reset();
    control = std::make_unique<tbb::global_control>(tbb::global_control::max_allowed_parallelism, threads);
    allowed = threads;
  }
}

// One arena for each calling thread and size: making one costs microseconds.
tbb::task_arena &arena(int threads) {
  thread_local std::unique_ptr<tbb::task_arena> mine;
  thread_local int size = 0;
  if (!mine || size != threads) {
    allow(threads);
    mine = std::make_unique<tbb::task_arena>(threads);
    size = threads;
  }
  return *mine;
}

// oneTBB's threads have no names.
void name_thread() {
  static std::atomic<int> count{0};
  thread_local bool named = false;
  if (!std::exchange(named, true))
    timeline::name_thread("oneTBB thread " + std::to_string(++count));
}

} // namespace

int thread_count() {
  return own > 0 ? own : budget().load(std::memory_order_relaxed);
}

void set_thread_count(int count) {
  count = std::clamp(count, 1, 1024);
  if (own > 0)
    own = count;
  else
    budget().store(count, std::memory_order_relaxed);
}

void own_thread_count(int count) {
  own = std::clamp(count, 1, 1024);
}

void parallel_ranges(int64_t n, int64_t grain, RangeBody body, void *context) {
  grain = std::max<int64_t>(grain, 1);
  const int64_t pieces = n > 0 ? (n - 1) / grain + 1 : 0;
  const int threads = thread_count();
  if (threads == 1 || pieces <= 1) {
    for (int64_t begin = 0; begin < n; begin += grain)
      body(context, begin, std::min(begin + grain, n));
    return;
  }
  const int64_t account = pg_memory_owner(); // what the pieces allocate is the caller's
  // For the timeline: what the threads that join in do. The caller's share is in the span of its operation.
  const char *name = timeline::recording() ? running_operation() : "";
  const auto caller = std::this_thread::get_id();
  char begun, done;
  release(&begun);
  arena(threads).execute([&] {
    tbb::parallel_for(int64_t{0}, pieces, [&](int64_t piece) {
      acquire(&begun);
      AccountScope scope(account);
      const bool timed = name[0] && std::this_thread::get_id() != caller;
      if (timed)
        name_thread();
      const int64_t since = timed ? monotonic_nanoseconds() : 0;
      body(context, piece * grain, std::min((piece + 1) * grain, n));
      if (timed)
        timeline::add({name, "part", since, monotonic_nanoseconds(), 'X'});
      release(&done);
    });
  });
  acquire(&done);
}

} // namespace perigee::core

extern "C" {

int32_t pg_threads_get(void) {
  return perigee::core::thread_count();
}

void pg_threads_set(int32_t count) {
  perigee::core::set_thread_count(count);
}

int32_t pg_parallel_ranges(int64_t n, int64_t grain, void (*body)(void *, int64_t, int64_t), void *context) {
  return perigee::guard([&] { perigee::core::parallel_ranges(n, grain, body, context); });
}
}
