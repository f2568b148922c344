// Grading one submission from file to result: loads, checks every case, measures, judges, words the outcome.
#pragma once

#include "types.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace perigee::grader {

struct Submission {
  std::string learner; // "" at the desk
  std::filesystem::path file;
};

// For a progress line: which phase ("starting", "checking", "measuring") and how much of it is done, 0 to 1.
struct Progress {
  std::string_view phase;
  double done = 0.0;
};

struct SessionOptions {
  bool quick = false;                // indicative only, never for grades: six rounds with one pair of processes
  bool require_full_sandbox = false; // refuse to grade where protections are missing
  std::filesystem::path record;      // folder for recorded rounds as JSON, one file a submission; empty: none
  std::function<void(const Progress &)> progress; // may be empty
};

// What is shared by all submissions graded in one run: the secret seed, the choice of cores, what freezing costs here,
// and what naive scripts measured against references. Grades one submission at a time.
class Session {
 public:
  // Confines this thread (and what it starts) to the cores that workers are not pinned to, until it is destroyed. A
  // machine without sandboxes shows in the results.
  explicit Session(SessionOptions options);
  ~Session();
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  // Stops the grading under way within a slice; safe to call in a signal handler. grade_submission then throws
  // Interrupted, with all workers gone.
  void interrupt() noexcept;
  bool interrupted() const noexcept;

  // What freezing a worker costs on this machine: median seconds, wall clock and CPU clock; measured on first use.
  struct FreezeCost {
    double wall = 0.0, cpu = 0.0;
  };
  FreezeCost freeze_cost();

  const SessionOptions &options() const;
  // The cores that timed single-core workers are pinned to: the last of this process's own.
  std::vector<int> worker_cpus() const;

  struct State; // grade.cpp's own
  State &state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// Grades one file. A learner's failures, and the machine's, are in the result; throws only Interrupted.
Result grade_submission(const Exercise &exercise, const Submission &submission, Session &session);

// "passed", "too slow", "wrong", "error", "over limit", "inconclusive", "infrastructure error"
std::string_view name_of(Verdict verdict);
std::string_view name_of(TierState state); // "granted", "at the threshold", "missed", "inconclusive", "not measured"

} // namespace perigee::grader
