// What `perigee verify` proves of an exercise before a class meets it: that its tests tell right from wrong, and fast
// from slow, on this machine.
#pragma once

#include "grade.hpp"
#include "types.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace perigee::grader {

// One claim and what became of it.
struct Finding {
  enum class State {
    proved,
    declared, // does not hold, and exercise.toml says why that is right ([verify])
    failed,
    open, // could not be decided: the measurement was inconclusive or the machine is at fault
  };
  std::string claim; // "the starter does not pass"
  State state = State::proved;
  std::string message; // the figures behind it, or what is wrong
};

std::string_view name_of(Finding::State state);

// One exercise, in two steps, so that of many all mistakes that need no clock are known within minutes. Each claim is
// reported as it is known; `begin` hears what is looked at next. Both throw Interrupted.
class Verification {
 public:
  Verification(const Exercise &exercise, Session &session, std::function<void(const Finding &)> report,
               std::function<void(const std::string &)> begin);
  ~Verification();
  Verification(Verification &&) noexcept;

  // The starter does not pass, where it is wrong; every script in solutions/ is right; inputs of different seeds
  // differ; results of different inputs differ, unless [verify] constant_output says why not; each mutant of right
  // results is refused, unless [verify] mutants says why it is right. Tiers that compare counts are judged here, too.
  void rightness();
  // Whether a claim has failed so far, and whether there are tiers to measure.
  bool failed() const;
  bool has_speeds() const;
  // The starter does not pass; naive.lua reaches no tier; the reference passes every tier with 25% to spare; coding of
  // inputs and results takes at most a tenth of the reference's time.
  void speed();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether the reference's speedup leaves this much to spare over a tier's ratio, at the lower end of its interval.
inline constexpr double reference_margin = 1.25;

} // namespace perigee::grader
