// What a parent asks of its worker processes.
#pragma once

#include "parallel/process.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "parallel/process_abi.h"
}
#pragma GCC visibility pop

namespace perigee::parallel {

/// Packet::kind of what is sent to a worker.
enum class ProcessRequest : uint32_t {
  echo = 1, // the message comes back: for tests and measurements
  die = 2,  // ends with exit code `tag`, or by signal `tag` - 128: for tests
};

} // namespace perigee::parallel
