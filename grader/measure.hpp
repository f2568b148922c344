// Interleaved rounds between two candidates, until the interval settles every goal or the budget ends (DESIGN
// sections 5 and 6). It knows neither processes nor Lua: candidates and inputs are abstract, so that the same code is
// tested with synthetic candidates of known speed.
#pragma once

#include "verdict.hpp"

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <random>
#include <string>
#include <vector>

namespace perigee::grader {

// Fresh inputs, encoded, for the calls `first` to `first + inputs.size() - 1` of a case.
struct Batch {
  uint64_t first = 0;
  std::vector<Bytes> inputs;
};

// What one slice took, in seconds.
struct SliceTime {
  double wall = 0.0;   // from go to all tasks confirmed stopped
  double clock = 0.0;  // on the exercise's clock: CPU time, or wall time (one thread's without waiting for its core)
  double waited = 0.0; // part of `clock` in which others may have held its cores; 0 on the CPU clock and of one thread
  double cores = 1.0;  // that it may use
  double others = HUGE_VAL; // CPU seconds that others used of them in the slice, within some ms; HUGE_VAL: unknown
};

class Contestant {
 public:
  virtual ~Contestant() = default;
  // A fresh process takes over from the present one, which ends. `prefetch` may start that process early; it is called
  // only while nothing is being measured.
  virtual void prefetch() {}
  virtual void renew() = 0;
  // Runs every input of the batch once. Throws what ends the grading (a failed call, a broken sandbox).
  virtual SliceTime slice(const Batch &batch) = 0;
};

// Draws inputs, and checks what the contestants made of them.
class Referee {
 public:
  virtual ~Referee() = default;
  // At most `calls` fresh inputs; fewer if they would not fit the workers.
  virtual Batch draw(size_t calls) = 0;
  // Both contestants have run the batch: checks every output. Throws on a wrong one.
  virtual void check(const Batch &batch) = 0;
};

struct MeasureOptions {
  bool fresh_state = false; // each call gets a new process: slices of one call, no warm-up
  double least_slice_seconds = 5e-3;
  int least_generation = 4;      // rounds with one pair of processes; three of them are a look
  size_t calls_step = 1;         // a slice has a multiple of so many calls, where so many fit
  double freeze_seconds = 50e-6; // what freezing costs on this machine, on the clock in use
  double budget_seconds = 60.0;  // wall clock; ends the measurement, though never before the first look
  int most_rounds = looks.back();
  double precision = 0.0;  // no goals given: stop at a look where the half-width is at most this
  uint64_t order_seed = 0; // of the random order
  std::function<void(int rounds)> progress;
  const std::atomic<bool> *interrupted = nullptr; // set: throws Interrupted
};

// What was measured. Times are medians over the rounds, in seconds per call.
struct Measurement {
  Series series; // log(other / yours)
  double yours = 0.0;
  double other = 0.0;
  size_t calls_per_slice = 1;
  bool short_slices = false; // slices could not be made as long as they should be
  double slice_wall = 0.0;   // seconds inside slices, warm-up included
  bool budget_ended = false;
};

// Measures `yours` against `other`. Goals are what it must settle.
Measurement measure(Contestant &yours, Contestant &other, Referee &referee, const std::vector<Goal> &goals,
                    const MeasureOptions &options);

// Recorded rounds, to be replayed through the verdict code: {"calls_per_slice": n, "generations": [[log ratio, ...]]},
// where a log ratio is a number or, with bounds, [low, middle, high].
nlohmann::json to_json(const Measurement &measurement);
Series series_from_json(const nlohmann::json &recorded); // throws std::runtime_error that names the bad key

} // namespace perigee::grader
