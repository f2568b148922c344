// Results as a grading could have made them.
#pragma once

#include "grader/report.hpp"

namespace perigee::grader::testing {

inline Exercise synthetic_exercise() {
  Exercise e;
  e.id = "basics/double";
  e.title = "Double it";
  e.lesson = "basics";
  e.name = "double";
  e.correctness_points = 4;
  e.cases = {{"small", "3", 5}, {"large", "100", 1}};
  e.tiers = {{"5x the speed of the naive script", "time", Against::naive, 5, 3, "large"},
             {"0.5x the speed of the reference", "time", Against::reference, 0.5, 3, "large"}};
  e.hints = {"Add it to itself."};
  return e;
}

inline Result synthetic_result(const std::string &learner, Verdict verdict) {
  Result r;
  r.learner = learner;
  r.exercise = "basics/double";
  r.file = learner + "/double.lua";
  r.verdict = verdict;
  r.max_points = 10;
  r.clock = "CPU time";
  r.wall_seconds = 2.5;
  r.overhead_seconds = 0.12;
  r.peak_memory = 23 << 20;
  for (const Tier &tier : synthetic_exercise().tiers)
    r.tiers.push_back({tier, TierState::not_measured, {}});
  auto measured = [&](double against_naive, double against_reference, double spread, TierState naive,
                      TierState reference) {
    r.tiers[0].speedup = {against_naive / spread, against_naive, against_naive * spread};
    r.tiers[1].speedup = {against_reference / spread, against_reference, against_reference * spread};
    r.tiers[0].state = naive;
    r.tiers[1].state = reference;
    r.reference_seconds = 1.2e-3;
    r.seconds = r.reference_seconds / against_reference;
    r.naive_seconds = r.seconds * against_naive;
    r.rounds = 48;
    r.generations = 3;
  };
  switch (verdict) {
  case Verdict::passed:
    measured(31, 0.97, 1.02, TierState::granted, TierState::granted);
    r.points = 10;
    r.summary = "fast enough for every tier";
    break;
  case Verdict::too_slow:
    measured(9.6, 0.3, 1.034, TierState::granted, TierState::missed);
    r.points = 7;
    r.summary = "0.30x the reference's speed; the next tier needs 0.5x";
    break;
  case Verdict::inconclusive:
    measured(16, 0.5, 1.2, TierState::granted, TierState::inconclusive);
    r.summary = "too unsteady to decide";
    break;
  case Verdict::wrong:
    r.summary = "case \"small\", trial 2: element 3 of 3 is 0, expected 5.5";
    r.detail = "case \"small\", trial 2: element 3 of 3 is 0, expected 5.5\n  expected  1.5  2.5  5.5\n  got       1.5 "
               " 2.5  0\n"
               "Only the last element is wrong: does your loop stop one too early?";
    r.output = "n = 3\n";
    break;
  case Verdict::error:
    r.summary = "double.lua:3: '=' expected near 'x'";
    r.detail = "double.lua:3: '=' expected near 'x'";
    break;
  case Verdict::over_limit:
    r.summary = "a call took longer than 2.5 s";
    r.detail = "Case \"large\": the call was ended after 2.5 s. Does a loop never end?";
    break;
  case Verdict::infrastructure_error:
    r.summary = "bwrap did not start";
    r.detail = "bwrap did not start: no user namespaces. This is not the learner's fault.";
    break;
  }
  r.notes = {"not protected: control groups"};
  return r;
}

// One learner of each kind, one who handed in nothing, one file that is nothing.
inline Report synthetic_class() {
  Report report;
  report.started = "2026-01-02T03:04:05Z";
  report.finished = "2026-01-02T03:05:05Z";
  report.machine = "Some CPU, 2 cores";
  report.exercises = {synthetic_exercise()};
  report.learners = {"ada", "alan", "barbara", "dennis", "edsger", "grace", "linus", "nobody"};
  report.results = {synthetic_result("ada", Verdict::passed),
                    synthetic_result("alan", Verdict::too_slow),
                    synthetic_result("barbara", Verdict::wrong),
                    synthetic_result("dennis", Verdict::error),
                    synthetic_result("edsger", Verdict::over_limit),
                    synthetic_result("grace", Verdict::inconclusive),
                    synthetic_result("linus", Verdict::infrastructure_error)};
  report.skipped = {{"ada", "ada/duoble.lua", "is no exercise's name; did you mean basics/double?"}};
  return report;
}

} // namespace perigee::grader::testing
