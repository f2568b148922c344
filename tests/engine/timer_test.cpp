#include "timer/timer.hpp"

#include <catch2/catch.hpp>

#include <cmath>

using perigee::timer::Clock;
using perigee::timer::read;
using perigee::timer::resolution;

TEST_CASE("clocks go forward and sleeping takes no CPU time", "[timer]") {
  const double wall = read(Clock::wall), cpu = read(Clock::cpu), thread = read(Clock::thread);
  perigee::timer::sleep(0.05);
  CHECK(read(Clock::wall) - wall >= 0.05);
  CHECK(read(Clock::thread) >= thread);
  CHECK(read(Clock::cpu) - cpu < read(Clock::wall) - wall);
}

TEST_CASE("sleep returns at once where there is nothing to wait for", "[timer]") {
  perigee::timer::sleep(0);
  perigee::timer::sleep(-1);
  perigee::timer::sleep(std::nan(""));
}

TEST_CASE("a measured resolution is positive and sane", "[timer]") {
  for (const Clock clock : {Clock::wall, Clock::cpu, Clock::thread}) {
    const double step = resolution(clock);
    CHECK(step > 0);
    CHECK(step < 0.1);
  }
}
