#include "session.hpp"

#include "core/wire.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <sodium.h>
#include <stdexcept>

namespace perigee::grader {

Starter::Starter() {
  for (std::thread &thread : threads_)
    thread = std::thread([this] {
      for (std::unique_lock lock(mutex_);;) {
        changed_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
        if (jobs_.empty())
          return;
        auto job = std::move(jobs_.front());
        jobs_.pop_front();
        lock.unlock();
        job();
        lock.lock();
      }
    });
}

Starter::~Starter() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread &thread : threads_)
    thread.join();
}

std::future<Worker> Starter::start(std::function<Worker()> job) {
  std::packaged_task<Worker()> task(std::move(job));
  auto worker = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(task));
  }
  changed_.notify_one();
  return worker;
}

Session::State::State(SessionOptions given) : options(std::move(given)) {
  if (sodium_init() < 0)
    throw std::runtime_error("libsodium cannot start: no source of random numbers");
  randombytes_buf(seed_.data(), seed_.size()); // getrandom(2)

  // Workers on the last core we may use, the supervisor on the others: unpinned, two processes have been seen to share
  // one of two cores for seconds with the other idle.
  CPU_ZERO(&before_);
  if (sched_getaffinity(0, sizeof before_, &before_) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &before_))
        worker_cpu_ = cpu;
    shared_core = CPU_COUNT(&before_) < 2;
    if (!shared_core) {
      cpu_set_t rest = before_;
      CPU_CLR(worker_cpu_, &rest);
      pinned_ = sched_setaffinity(0, sizeof rest, &rest) == 0;
    }
  }
  starter.emplace();
}

Session::State::~State() {
  starter.reset();
  if (pinned_)
    sched_setaffinity(0, sizeof before_, &before_);
  sodium_memzero(seed_.data(), seed_.size());
}

Key Session::State::key(uint64_t grading, const std::string &exercise, const std::string &case_name,
                        uint64_t call) const {
  // Strings with their lengths in front, so that no two calls have the same bytes.
  std::string message;
  const auto number = [&](uint64_t n) { message.append(reinterpret_cast<const char *>(&n), sizeof n); };
  number(grading);
  number(call);
  number(exercise.size());
  message += exercise;
  message += case_name;
  Key key;
  crypto_generichash(reinterpret_cast<unsigned char *>(key.data()), sizeof key,
                     reinterpret_cast<const unsigned char *>(message.data()), message.size(), seed_.data(),
                     seed_.size());
  return key;
}

void Session::State::progress(std::string_view phase, double done) const {
  if (options.progress)
    options.progress({phase, std::clamp(done, 0.0, 1.0)});
}

WorkerOptions Session::State::worker_options(const Exercise &exercise) const {
  WorkerOptions worker;
  if (exercise.needs.cores == 1 && exercise.needs.ranks == 1 && worker_cpu_ >= 0)
    worker.cpus = {worker_cpu_};
  else // all that this process had before it confined itself
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &before_))
        worker.cpus.push_back(cpu);
  worker.require_full = options.require_full_sandbox;
  worker.slice_seconds = std::max(30.0, 2 * exercise.limits.call_seconds);
  worker.interrupted = &interrupted;
  return worker;
}

Session::FreezeCost Session::State::freeze_cost() {
  if (freeze_cost_)
    return *freeze_cost_;
  // An empty call between go and frozen costs what freezing adds to every slice.
  Exercise nothing;
  nothing.id = "perigee/freeze-cost";
  nothing.limits.memory_bytes = 64 << 20;
  Worker worker(nothing, "return { solve = function(x) return x end }", "freeze-cost.lua", worker_options(nothing));
  wire::Value one, arguments;
  one.kind = wire::Kind::number;
  one.number = 1.0;
  arguments.kind = wire::Kind::table;
  arguments.list.push_back(one);
  const std::vector<Bytes> inputs{wire::write(arguments)};
  std::vector<double> wall, cpu;
  for (int i = 0; i < 24; ++i) {
    const Slice slice = worker.run(inputs);
    if (!slice.ok())
      throw std::runtime_error("a worker cannot run an empty function: " + slice.failure);
    if (i < 3) // page faults of the first ones
      continue;
    wall.push_back(slice.wall);
    cpu.push_back(slice.cpu);
  }
  std::sort(wall.begin(), wall.end());
  std::sort(cpu.begin(), cpu.end());
  freeze_cost_ = FreezeCost{wall[wall.size() / 2], cpu[cpu.size() / 2]};
  return *freeze_cost_;
}

Session::Session(SessionOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Session::~Session() = default;
void Session::interrupt() noexcept {
  state_->interrupted.store(true);
}
bool Session::interrupted() const noexcept {
  return state_->interrupted.load();
}
Session::FreezeCost Session::freeze_cost() {
  return state_->freeze_cost();
}
const SessionOptions &Session::options() const {
  return state_->options;
}

std::vector<int> Session::worker_cpus() const {
  return state_->worker_options(Exercise{}).cpus;
}

} // namespace perigee::grader
