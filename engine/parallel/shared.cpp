#include "parallel/shared.hpp"

using namespace perigee::parallel;

void pg_shared_retain(void *object) {
  static_cast<Shared *>(object)->retain();
}

void pg_shared_release(pg_shared *shared) {
  if (auto *object = static_cast<Shared *>(std::exchange(shared->_object, nullptr)))
    object->release();
}
