// The one thread budget of the process, and loops over ranges on oneTBB within it. Everything in the engine that runs
// on more than one thread goes through here.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace perigee::core {

/// Threads that parallel work may use; at first thread_default() of processors.hpp.
int thread_count();
/// Sets it; values are clamped to 1 to 1024.
void set_thread_count(int count);
/// From here on the calling thread has a count of its own, which these functions then read and set: workers of a pool
/// have one each, so that together they use no more than the budget.
void own_thread_count(int count);

using RangeBody = void (*)(void *context, int64_t begin, int64_t end);
void parallel_ranges(int64_t n, int64_t grain, RangeBody body, void *context);

/// Calls body(begin, end) for pieces of [0, n) that are `grain` long, the last one shorter, at most thread_count() at a
/// time. The pieces do not depend on the number of threads: a result that is combined from per-piece results in order
/// is the same for any number. With one thread, or n <= grain, all run on the caller, in order, and oneTBB stays
/// unloaded. The first exception a body throws is rethrown here, after all running pieces have ended.
template <class Body> void parallel_ranges(int64_t n, int64_t grain, Body &&body) {
  parallel_ranges(
      n, grain,
      [](void *context, int64_t begin, int64_t end) {
        (*static_cast<std::remove_reference_t<Body> *>(context))(begin, end);
      },
      const_cast<void *>(static_cast<const void *>(std::addressof(body))));
}

} // namespace perigee::core
