// Those whom grade.cpp measures, each one script with its worker, and the court that draws their inputs and checks what
// they make of them.
#pragma once

#include "judge.hpp"
#include "measure.hpp"
#include "session.hpp"
#include "worker.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <future>
#include <optional>
#include <string>
#include <vector>

namespace perigee::grader {

// A call that failed: which, and how. grade_submission knows in which phase.
struct CallFailed {
  const Contestant *whose;
  FailureKind kind;
  std::string message;
  std::size_t call; // 0-based, of the batch
};

// One script with its worker: the submission, the reference or the naive script.
class Candidate : public Contestant {
 public:
  Candidate(const Exercise &exercise, std::string name, std::string text, const WorkerOptions &options,
            Session::State &session);
  ~Candidate() override;

  void prefetch() override;
  void renew() override;
  SliceTime slice(const Batch &batch) override;
  Slice run(const std::vector<Bytes> &inputs); // throws CallFailed

  // Renewals that will come, each by its number of ranks: they are started two at a time.
  void announce(std::deque<int> renewals);
  // The number of ranks that run it from the next renew() on; true if it is another than now.
  bool run_on(int ranks);
  // The worker that ran the trials of a "keep" exercise serves as the first generation too.
  void keep_for_measuring() { keep_ = !exercise_.fresh_state && worker_ && worker_->usable(); }

  const std::vector<Bytes> &results() const { return last_.results; } // of the last slice
  // What workers printed, the most memory they held, and what starting and driving them cost.
  std::string output() { return worker_ ? worker_->output() : ""; }
  int64_t peak_memory() { return std::max(peak_, worker_ ? worker_->memory_peak() : 0); }
  double overhead() const { return overhead_ + (worker_ ? worker_->overhead_seconds() : 0.0); }
  std::vector<std::string> unprotected() const { return worker_ ? worker_->unprotected() : std::vector<std::string>{}; }

 private:
  struct Coming {
    int ranks;
    std::future<Worker> worker;
  };

  bool has_a_core_for_each_rank() const;
  Slice run_on_swapped_cores(const Batch &batch);
  void retire();
  void start(int ranks);
  void start_announced();

  const Exercise &exercise_;
  const std::string name_, text_;
  WorkerOptions options_;
  Session::State &session_;
  std::optional<Worker> worker_;
  std::deque<Coming> coming_; // started in the background
  std::deque<int> announced_; // to be started
  bool keep_ = false;
  Slice last_;
  int64_t peak_ = 0;
  double overhead_ = 0.0;
};

struct WrongResult {
  std::size_t call; // of the batch
  std::string message;
};

// Draws inputs from the judge and has it check what `tested` made of them; `reference` gives the expected results where
// cases.lua does not. `first`: the number of the first call to draw.
class Court : public Referee {
 public:
  Court(Judge &judge, Session::State &session, const Exercise &exercise, uint64_t grading, const Case &c,
        Candidate &tested, Candidate &reference, uint64_t first = 0);

  Batch draw(std::size_t calls) override;
  void check(const Batch &batch) override; // throws WrongResult

  uint64_t next() const { return next_; } // call to be drawn

 private:
  Judge &judge_;
  Session::State &session_;
  const Exercise &exercise_;
  const uint64_t grading_;
  const Case &case_;
  Candidate &tested_, &reference_;
  uint64_t next_;
  std::size_t largest_ = 0; // input and result of one call, bytes
};

} // namespace perigee::grader
