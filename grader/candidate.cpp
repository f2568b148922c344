#include "candidate.hpp"

#include <array>
#include <chrono>
#include <iterator>
#include <utility>

namespace perigee::grader {

constexpr std::size_t most_batch_bytes = 64 << 20; // inputs and results of one slice

Candidate::Candidate(const Exercise &exercise, std::string name, std::string text, const WorkerOptions &options,
                     Session::State &session)
    : exercise_(exercise), name_(std::move(name)), text_(std::move(text)), options_(options), session_(session) {}

Candidate::~Candidate() {
  for (Coming &coming : coming_)
    coming.worker.wait(); // they must be gone, too, when we are
}

void Candidate::start(int ranks) {
  WorkerOptions options = options_;
  options.ranks = ranks;
  coming_.push_back(
      {ranks, session_.starter->start([this, options] { return Worker(exercise_, text_, name_, options); })});
}

void Candidate::start_announced() {
  for (; coming_.size() < 2 && !announced_.empty(); announced_.pop_front())
    start(announced_.front());
}

void Candidate::announce(std::deque<int> renewals) {
  announced_ = std::move(renewals);
  start_announced();
}

void Candidate::prefetch() {
  if (coming_.empty() && !keep_)
    start(options_.ranks);
}

bool Candidate::run_on(int ranks) {
  if (ranks == options_.ranks)
    return false;
  keep_ = false;
  options_.ranks = ranks;
  return true;
}

void Candidate::renew() {
  if (std::exchange(keep_, false))
    return;
  const auto started = std::chrono::steady_clock::now();
  retire();
  if (coming_.empty())
    start_announced();
  for (Coming &coming : coming_) // what runs has the machine to itself
    coming.worker.wait();
  while (!coming_.empty() && coming_.front().ranks != options_.ranks)
    coming_.pop_front();
  if (coming_.empty())
    start(options_.ranks);
  auto coming = std::move(coming_.front().worker);
  coming_.pop_front();
  worker_.emplace(coming.get());
  overhead_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (worker_->load_kind() != FailureKind::none)
    throw CallFailed{this, worker_->load_kind(), worker_->load_error(), 0};
}

void Candidate::retire() {
  if (!worker_)
    return;
  peak_ = std::max(peak_, worker_->memory_peak());
  overhead_ += worker_->overhead_seconds();
  worker_.reset();
}

SliceTime Candidate::slice(const Batch &batch) {
  last_ = has_a_core_for_each_rank() ? run_on_swapped_cores(batch) : run(batch.inputs);
  if (exercise_.uses_cpu_clock())
    return {last_.wall, last_.cpu};
  // One thread either works, sleeps or waits for its core: the waiting can be taken out exactly. (With a compiler
  // running beside, rounds at a true ratio of 0.575 gave 0.57 to 0.59 so, and 0.31 to 0.88 with the waiting in them.)
  // Several threads wait for each other, too, and a device works on while its host waits: there it gives bounds.
  const Needs &needs = exercise_.needs;
  if (needs.cores == 1 && needs.ranks == 1 && !needs.gpu)
    return {last_.wall, std::max(last_.wall - last_.waited, 0.01 * last_.wall)};
  return {last_.wall, last_.wall, last_.waited, static_cast<double>(options_.cpus.size()), last_.others};
}

Slice Candidate::run(const std::vector<Bytes> &inputs) {
  Slice slice = worker_->run(inputs);
  if (!slice.ok())
    throw CallFailed{this, slice.kind, slice.failure, slice.failed_call};
  return slice;
}

bool Candidate::has_a_core_for_each_rank() const {
  return options_.ranks > 1 && static_cast<std::size_t>(options_.ranks) == options_.cpus.size();
}

// Half of the calls with ranks on other cores than the other half, the same ones for both candidates. Cores are not
// equally fast: of a virtual machine, one was seen at half the other's speed for seconds, by what strangers did on the
// same hardware. One rank that works alone would have the fast core in one process and the slow one in the next (32 or
// 60 ms), ranks that share the work always wait for the slow one. (Rounds of mpi/halo's reference against its naive
// script vary by 7.5% so, and by 11% where the scheduler places ranks.)
Slice Candidate::run_on_swapped_cores(const Batch &batch) {
  const std::size_t calls = batch.inputs.size(), ranks = options_.cpus.size(), first = (calls + 1) / 2;
  Slice whole;
  whole.others = 0.0;
  for (const auto [begin, end, shift] :
       {std::array{std::size_t{0}, first, std::size_t{0}}, {first, calls, ranks / 2}}) {
    if (begin == end)
      continue;
    worker_->spread(static_cast<std::size_t>(batch.first) + shift);
    const auto at = [&](std::size_t call) { return batch.inputs.begin() + static_cast<std::ptrdiff_t>(call); };
    Slice part = worker_->run({at(begin), at(end)});
    if (!part.ok())
      throw CallFailed{this, part.kind, part.failure, begin + part.failed_call};
    std::move(part.results.begin(), part.results.end(), std::back_inserter(whole.results));
    std::move(part.records.begin(), part.records.end(), std::back_inserter(whole.records));
    whole.wall += part.wall;
    whole.cpu += part.cpu;
    whole.waited += part.waited;
    whole.others += part.others;
  }
  return whole;
}

Court::Court(Judge &judge, Session::State &session, const Exercise &exercise, uint64_t grading, const Case &c,
             Candidate &tested, Candidate &reference, uint64_t first)
    : judge_(judge), session_(session), exercise_(exercise), grading_(grading), case_(c), tested_(tested),
      reference_(reference), next_(first) {}

Batch Court::draw(std::size_t calls) {
  const auto room =
      std::min<std::size_t>(most_batch_bytes, static_cast<std::size_t>(exercise_.limits.memory_bytes) / 4);
  if (largest_ > 0)
    calls = std::clamp<std::size_t>(room / largest_, 1, calls);
  std::vector<Key> keys;
  for (std::size_t i = 0; i < calls; ++i)
    keys.push_back(session_.key(grading_, exercise_.id, case_.name, next_ + i));
  Batch batch{next_, judge_.inputs(keys, case_)};
  next_ += calls;
  return batch;
}

void Court::check(const Batch &batch) {
  std::vector<Bytes> computed;
  if (judge_.has_expected())
    computed = judge_.expected(batch.inputs);
  const std::vector<Bytes> &expected = judge_.has_expected() ? computed : reference_.results();
  for (std::size_t i = 0; i < batch.inputs.size(); ++i)
    largest_ = std::max(largest_, batch.inputs[i].size() + expected[i].size());
  const Check check = judge_.check(batch.inputs, tested_.results(), expected);
  if (!check.ok)
    throw WrongResult{check.call, check.message};
}

} // namespace perigee::grader
