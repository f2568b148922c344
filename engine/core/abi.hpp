// core_abi.h as C++ sees it.
#pragma once

#include "perigee/perigee.h"

#include <atomic>

#pragma GCC visibility push(default)
extern "C" {
#include "core/core_abi.h"
}
#pragma GCC visibility pop

namespace perigee {

// Whether anybody watches operations on any thread. Who begins or ends to watch changes the count while others read it.
inline bool operations_watched() noexcept {
  return std::atomic_ref(pg_operations_watched).load(std::memory_order_relaxed) > 0;
}

} // namespace perigee
