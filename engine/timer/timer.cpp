#include "timer/timer.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <limits>
#include <time.h>

#pragma GCC visibility push(default)
extern "C" {
#include "timer/timer_abi.h"
}
#pragma GCC visibility pop

namespace perigee::timer {
namespace {

clockid_t id(Clock clock) {
  switch (clock) {
  case Clock::cpu:
    return CLOCK_PROCESS_CPUTIME_ID;
  case Clock::thread:
    return CLOCK_THREAD_CPUTIME_ID;
  case Clock::wall:
    break;
  }
  return CLOCK_MONOTONIC;
}

} // namespace

double read(Clock clock) {
  timespec t;
  clock_gettime(id(clock), &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void sleep(double seconds) {
  if (!(seconds > 0))
    return;
  // An absolute deadline: a signal that interrupts the sleep does not lengthen it.
  timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  seconds = std::min(seconds, 1e9);
  const double whole = std::floor(seconds);
  until.tv_sec += static_cast<time_t>(whole);
  until.tv_nsec += static_cast<long>(std::ceil((seconds - whole) * 1e9));
  if (until.tv_nsec >= 1000000000L) {
    until.tv_nsec -= 1000000000L;
    ++until.tv_sec;
  }
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

double resolution(Clock clock) {
  // clock_getres says 1 ns for clocks that need 300 ns to be read, so the step is measured. The number of readings is
  // bounded for clocks that stand still.
  double smallest = std::numeric_limits<double>::infinity();
  double last = read(clock);
  for (int i = 0; i < 500; ++i) {
    const double now = read(clock);
    if (now > last)
      smallest = std::min(smallest, now - last);
    last = now;
  }
  if (std::isfinite(smallest))
    return smallest;
  timespec tick;
  return clock_getres(id(clock), &tick) == 0
             ? static_cast<double>(tick.tv_sec) + 1e-9 * static_cast<double>(tick.tv_nsec)
             : std::numeric_limits<double>::quiet_NaN();
}

} // namespace perigee::timer

using namespace perigee::timer;

double pg_timer_now(void) {
  return read(Clock::wall);
}
double pg_timer_cpu(void) {
  return read(Clock::cpu);
}
double pg_timer_thread(void) {
  return read(Clock::thread);
}
void pg_timer_sleep(double seconds) {
  sleep(seconds);
}

double pg_timer_resolution(int32_t clock) {
  if (clock < PG_CLOCK_WALL || clock > PG_CLOCK_THREAD)
    return std::numeric_limits<double>::quiet_NaN();
  return resolution(static_cast<Clock>(clock));
}
