// One line on a terminal that says what is going on, once it has taken longer than a second. Nothing where standard
// error is no terminal.
#pragma once

#include "text.hpp"

#include <chrono>
#include <string>

namespace perigee::grader {

class ProgressLine {
 public:
  explicit ProgressLine(const Console &console) : console_(console) {}
  ProgressLine(const ProgressLine &) = delete;
  ~ProgressLine() { clear(); }

  // What the next updates are about ("3/56 ada arrays/pairwise"); starts the second anew unless the line is shown.
  void begin(const std::string &what);
  // done: 0 to 1.
  void update(std::string_view phase, double done);
  // Removes the line, for other output.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  const Console &console_;
  std::string what_;
  Clock::time_point start_ = Clock::now(), last_{};
  bool shown_ = false;
};

} // namespace perigee::grader
