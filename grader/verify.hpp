// What `perigee verify` proves of an exercise before a class meets it: that its tests tell right from wrong, and fast
// from slow, on this machine.
#pragma once

#include "grade.hpp"
#include "types.hpp"

#include <functional>
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

// Proves one after the other and reports each as it is known; `begin` hears what is looked at next:
//   the starter does not pass; naive.lua is right but reaches no tier; every further variant in solutions/ is right;
//   the reference passes every tier with 25% to spare; inputs of different seeds differ; results of different inputs
//   differ, unless [verify] constant_output says why not; each mutant of right results is refused, unless [verify]
//   mutants says why it is right; coding of inputs and results takes at most a tenth of the reference's time.
// Throws Interrupted.
void verify_exercise(const Exercise &exercise, Session &session, const std::function<void(const Finding &)> &report,
                     const std::function<void(const std::string &)> &begin);

// Whether the reference's speedup leaves this much to spare over a tier's ratio, at the lower end of its interval.
inline constexpr double reference_margin = 1.25;

} // namespace perigee::grader
