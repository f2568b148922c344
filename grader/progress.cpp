#include "progress.hpp"

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace perigee::grader {

void ProgressLine::begin(const std::string &what) {
  what_ = what;
  if (!shown_)
    start_ = Clock::now();
}

void ProgressLine::update(std::string_view phase, double done) {
  using namespace std::chrono_literals;
  auto now = Clock::now();
  if (!console_.err_terminal || now - start_ < 1s || now - last_ < 100ms)
    return;
  last_ = now;
  shown_ = true;
  int full = static_cast<int>(std::clamp(done, 0.0, 1.0) * 20);
  char tail[96];
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - start_).count();
  std::snprintf(tail, sizeof tail, " [%.*s%.*s] %d:%02d", full, "####################", 20 - full,
                "....................", static_cast<int>(seconds / 60), static_cast<int>(seconds % 60));
  std::string text = what_ + (what_.empty() ? "" : ": ") + std::string(phase);
  console_.err << "\r\x1b[K" << shorten(text, console_.columns > 40 ? console_.columns - 36 : 20) << tail << std::flush;
}

void ProgressLine::clear() {
  if (shown_)
    console_.err << "\r\x1b[K" << std::flush;
  shown_ = false;
}

} // namespace perigee::grader
