// A data race between two pieces of a parallel loop, which ThreadSanitizer must report: else what it says of the
// engine's threads is worth nothing.
#include "core/threads.hpp"

#include <atomic>
#include <chrono>
#include <thread>

int main() {
  using namespace perigee::core;
  set_thread_count(2);
  std::atomic<int> here{0};
  int shared = 0;
  parallel_ranges(2, 1, [&](int64_t, int64_t) {
    here.fetch_add(1, std::memory_order_relaxed); // orders nothing
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (here.load(std::memory_order_relaxed) < 2 && std::chrono::steady_clock::now() < end)
      std::this_thread::yield(); // until the pieces are on two threads
    shared = shared + 1;
  });
  return shared == 0;
}
