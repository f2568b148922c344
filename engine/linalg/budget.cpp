#include "linalg/blas.hpp"

#include <condition_variable>
#include <mutex>

namespace perigee::linalg {
namespace {

std::mutex mutex;
std::condition_variable changed;
int told = 0;                  // what OpenBLAS was told last
int inside = 0;                // calls in progress, all with that
uint64_t arrived = 0, let = 0; // numbers of those that came, and that were let in: nobody overtakes
thread_local int depth = 0;

} // namespace

ThreadBudget::ThreadBudget() {
  if (depth++ > 0)
    return;
  const int threads = pg_threads_get();
  std::unique_lock lock(mutex);
  const uint64_t turn = arrived++;
  changed.wait(lock, [&] { return let == turn && (inside == 0 || told == threads); });
  if (told != threads) {
    openblas_set_num_threads(threads);
    told = threads;
  }
  ++inside;
  ++let;
  if (let != arrived)
    changed.notify_all();
}

ThreadBudget::~ThreadBudget() {
  if (--depth > 0)
    return;
  const std::lock_guard lock(mutex);
  if (--inside == 0 && let != arrived)
    changed.notify_all();
}

} // namespace perigee::linalg
