// The sampling profiler: for each VM a timer on its thread's CPU time. See README.md for how a sample is taken.
#pragma once

#include "profiler/profiler.hpp"

#include <array>
#include <atomic>
#include <ctime>
#include <mutex>

namespace perigee::profiler {

// What the thread was doing when a sample was taken.
enum class Activity : uint8_t {
  interpreted, // Lua code in the interpreter
  compiled,    // machine code that LuaJIT made
  library,     // C functions of Lua's own library
  engine,      // the C++ engine and the libraries it calls
  collector,   // garbage collection
  compiler,    // LuaJIT recording, optimising or assembling
  system       // the kernel
};
constexpr int activity_count = 7;

class Sampler {
 public:
  // Where this VM keeps what it is doing, found by profiler.lua; NULL where that is not known.
  struct VmState {
    const volatile int32_t *state = nullptr;
    volatile uint8_t *hookmask = nullptr;
  };

  // What samples are summed by. Compiled code is given with its trace, for profiler.lua to find the line in it.
  struct Key {
    int32_t node;
    Activity activity;
    int32_t trace;      // 0: not in a trace
    int32_t generation; // how often all traces had been dropped
    bool operator==(const Key &) const = default;
  };
  struct Sum {
    int64_t count = 0;
    int64_t nanoseconds = 0;
  };
  struct Hash {
    size_t operator()(const Key &key) const {
      return size_t(((uint64_t(uint32_t(key.node)) << 20 ^ uint32_t(key.trace)) * 8 + uint64_t(key.activity)) *
                        0x9e3779b97f4a7c15u ^
                    uint32_t(key.generation));
    }
  };

  // Starts to sample `L`'s VM, which runs on the calling thread, every `period` seconds of its CPU time. Throws
  // UnsupportedError where no timer is to be had.
  Sampler(lua_State *L, double period, VmState vm);
  ~Sampler(); // stops
  Sampler(const Sampler &) = delete;

  // Stops the timer; samples not yet placed go to the root. Called on the thread that is sampled.
  void stop();
  // Takes no samples until resume(). On the sampled thread.
  void pause();
  void resume();

  // Of what follows: the thread that is sampled changes it at safe points, others may read it meanwhile (workers.hpp).
  mutable std::mutex mutex;
  StackTree tree;
  std::unordered_map<Key, Sum, Hash> sums;
  // The order of lines in traces, of those whose VM will not be asked later: by generation * 65536 + trace.
  struct Run {
    Frame frame;
    int32_t depth;
  };
  std::unordered_map<int64_t, std::vector<Run>> runs;
  int32_t generation = 0;
  int64_t lost = 0;           // nanoseconds of samples for which there was no room
  bool whole_process = false; // by a timer of the process: other threads' CPU time is in it
  double cpu_seconds = 0;     // of the thread, between start and stop

  // For the signal handler and LuaJIT's callback.
  void on_signal(const void *program_counter);
  void on_safe_point(lua_State *L);
  const void *vm_id() const { return vm_id_; }

 private:
  struct RawFrame {
    const char *source, *name;
    int32_t defined, line;
  };
  struct Pending {
    const void *program_counter;
    int32_t trace;
    int8_t state; // 0 interpreter, 1 C, ... as LuaJIT's; -1 compiled
    bool in_kernel;
    int16_t frames; // of `raw_`, from `first`; 0: the stack is taken at the next safe point
    int32_t first;
    int32_t count;
    int64_t nanoseconds;
  };
  static constexpr int max_pending = 256, max_raw = 8192, max_depth = 160;

  void set_timer(bool on);
  void settle_all();
  int64_t thread_time() const;
  int capture(lua_State *L, RawFrame *frames, int capacity);
  int32_t place(const RawFrame *frames, int count);
  void settle(const Pending &sample, int32_t node);
  Activity classify(const Pending &sample);

  lua_State *main_;
  const void *vm_id_;
  VmState vm_;
  timer_t timer_{};
  bool running_ = false;
  int64_t period_ = 0; // nanoseconds
  int64_t last_ = 0, first_ = 0;
  std::atomic<int> settling_{0};
  int pending_count_ = 0, raw_count_ = 0;
  std::array<Pending, max_pending> pending_;
  std::array<RawFrame, max_raw> raw_;
};

} // namespace perigee::profiler
