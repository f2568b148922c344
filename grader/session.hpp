// What grade.cpp keeps for one run of the grader: the secret seed, cores, threads that start workers ahead of time.
#pragma once

#include "grade.hpp"
#include "judge.hpp"
#include "measure.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <sched.h>
#include <string>
#include <thread>

namespace perigee::grader {

// Starts workers in the background, two at a time: ranks of MPI wait for each other for most of the third of a second
// that their start takes. The threads live as long as the session: a process that asked to die with its parent dies
// with the *thread* that started it.
class Starter {
 public:
  Starter();
  ~Starter();
  std::future<Worker> start(std::function<Worker()> job);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<Worker()>> jobs_;
  bool stop_ = false;
  std::array<std::thread, 2> threads_;
};

struct Session::State {
  explicit State(SessionOptions options);
  ~State();

  // The generator key of a call: a hash, keyed by the secret seed, of everything that identifies it. A learner who
  // learns one key (from its numbers) learns nothing about any other.
  Key key(uint64_t grading, const std::string &exercise, const std::string &case_name, uint64_t call) const;
  void progress(std::string_view phase, double done) const;
  FreezeCost freeze_cost();
  WorkerOptions worker_options(const Exercise &exercise) const;
  int cores() const { return std::max(1, CPU_COUNT(&before_)); } // that workers may have

  const SessionOptions options;
  std::atomic<bool> interrupted = false;
  uint64_t gradings = 0;    // so far
  bool shared_core = false; // one core only: workers and supervisor take turns on it
  struct Naive {
    Measurement measured; // reference over naive
    bool fine = false;    // as exactly as it is ever measured
  };
  std::map<std::string, Naive> naive; // by exercise and case
  std::optional<Starter> starter;     // made after pinning: its thread inherits the supervisor's cores

 private:
  std::array<unsigned char, 32> seed_;
  int worker_cpu_ = -1; // the core that timed single-core workers are pinned to; -1: no pinning
  cpu_set_t before_;    // the supervisor's cores before this session
  bool pinned_ = false;
  std::optional<FreezeCost> freeze_cost_;
};

} // namespace perigee::grader
