#include "parallel/shared.hpp"

#include <iterator>

using namespace perigee::parallel;

const char *perigee::parallel::kind_name(int32_t kind) {
  static constexpr const char *names[] = {"released object", "atomic", "mutex",        "rwlock", "semaphore",
                                          "barrier",         "condition", "event",     "latch",  "queue",
                                          "thread_local",    "future", "pool",         "atomic", "job"};
  return kind >= 0 && kind < static_cast<int32_t>(std::size(names)) ? names[kind] : "shared object";
}

void pg_shared_retain(void *object) {
  static_cast<Shared *>(object)->retain();
}

void pg_shared_release(pg_shared *shared) {
  if (auto *object = static_cast<Shared *>(std::exchange(shared->_object, nullptr)))
    object->release();
}
