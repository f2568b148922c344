// Sampling of the workers of pools while the script that uses them is sampled: each by a Sampler of its own, on its
// thread, which runs while the worker has a task.
#pragma once

#include "profiler/sampler.hpp"

namespace perigee::profiler {

// Around a task, on the worker's thread: samples it where a script is being sampled.
class WorkerSampling {
 public:
  explicit WorkerSampling(lua_State *L);
  ~WorkerSampling();
  WorkerSampling(const WorkerSampling &) = delete;

 private:
  bool outermost_;
};

struct WorkerSamples {
  std::string name;
  StackTree tree;
  std::unordered_map<Sampler::Key, Sampler::Sum, Sampler::Hash> sums;
  std::unordered_map<int64_t, std::vector<Sampler::Run>> runs;
};

// By the script that is sampled: workers join from now on, at their next task, until the end, which gives what each has
// so far. One script at a time: false where another has begun.
bool begin_worker_sampling();
std::vector<WorkerSamples> end_worker_sampling();

// By a worker, from profiler_sample.lua: this is its sampler.
void join_sampling(Sampler &sampler);
void leave_sampling(Sampler &sampler); // also without having joined

} // namespace perigee::profiler
