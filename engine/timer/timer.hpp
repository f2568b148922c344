// Clocks. Everything is in seconds.
#pragma once

#include <cstdint>

namespace perigee::timer {

enum class Clock : int32_t { wall = 0, cpu = 1, thread = 2 }; // as enum pg_clock

double read(Clock clock);
void sleep(double seconds);
double resolution(Clock clock);

} // namespace perigee::timer
