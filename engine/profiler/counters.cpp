// Counters of the processor, by perf_event_open.
#include "core/status.hpp"
#include "profiler/profiler.hpp"

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#pragma GCC visibility push(default)
extern "C" {
#include "profiler/profiler_abi.h"
}
#pragma GCC visibility pop

namespace perigee::profiler {
namespace {

struct Event {
  uint32_t type;
  uint64_t config;
};

constexpr std::array<Event, PG_COUNTERS> events{{
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
    {PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES},
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS},
    {PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES},
}};

thread_local std::array<int, PG_COUNTERS> descriptors{-1, -1, -1, -1, -1, -1, -1, -1};

int open_event(const Event &event) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = event.type;
  attributes.config = event.config;
  attributes.disabled = 1;
  attributes.exclude_kernel = event.type == PERF_TYPE_HARDWARE; // more may not be allowed
  attributes.exclude_hv = 1;
  attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  return int(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

std::string reason(int error) {
  if (error == ENOENT || error == EOPNOTSUPP || error == ENODEV)
    return "this machine shows no such counters of its processor, as is usual for virtual machines";
  if (error == EACCES || error == EPERM) {
    int level = 0;
    std::ifstream("/proc/sys/kernel/perf_event_paranoid") >> level;
    return "the kernel does not allow them (kernel.perf_event_paranoid is " + std::to_string(level) +
           "; root can set it to 1), or the sandbox does not";
  }
  if (error == ENOSYS)
    return "this kernel has no performance events";
  return std::strerror(error);
}

void close_all() {
  for (int &descriptor : descriptors) {
    if (descriptor >= 0)
      close(descriptor);
    descriptor = -1;
  }
}

} // namespace
} // namespace perigee::profiler

using namespace perigee;
using namespace perigee::profiler;

int32_t pg_profiler_counters_start(void) {
  return guard([] {
    close_all();
    int error = 0, open = 0;
    for (size_t i = 0; i < events.size(); ++i) {
      descriptors[i] = open_event(events[i]);
      if (descriptors[i] >= 0)
        ++open;
      else if (!error)
        error = errno;
    }
    if (!open)
      throw UnsupportedError(reason(error));
    for (int descriptor : descriptors)
      if (descriptor >= 0)
        ioctl(descriptor, PERF_EVENT_IOC_ENABLE, 0);
  });
}

int32_t pg_profiler_counters_stop(double *values) {
  return guard([&] {
    for (int descriptor : descriptors)
      if (descriptor >= 0)
        ioctl(descriptor, PERF_EVENT_IOC_DISABLE, 0);
    int error = 0;
    for (size_t i = 0; i < events.size(); ++i) {
      uint64_t counted[3]; // value, nanoseconds enabled, nanoseconds counted
      values[i] = std::numeric_limits<double>::quiet_NaN();
      if (descriptors[i] < 0) {
        if (int again = open_event(events[i]); again >= 0)
          close(again);
        else if (!error)
          error = errno;
      } else if (read(descriptors[i], counted, sizeof counted) == ssize_t(sizeof counted) &&
                 (counted[2] > 0 || events[i].type == PERF_TYPE_SOFTWARE)) {
        values[i] = double(counted[0]);
        if (counted[2] > 0 && counted[1] > counted[2])
          values[i] *= double(counted[1]) / double(counted[2]);
      } else if (!error) {
        error = ENOENT;
      }
    }
    close_all();
    pg_set_last_message(error ? reason(error).c_str() : "");
  });
}
