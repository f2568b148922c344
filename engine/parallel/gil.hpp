// One lock for several Lua states, as CPython's interpreters have: pool{gil = true}, for the lesson on what it costs.
// Whoever runs Lua code holds it. Who waits for it says so after the switch interval, and the holder, which looks every
// few hundred instructions (a count hook; compiled code knows no hooks, so these states run without the JIT), hands it
// on.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

struct lua_State;

namespace perigee::parallel {

class Gil {
 public:
  explicit Gil(double interval) : interval_(interval) {}
  Gil(const Gil &) = delete;
  void acquire();
  void release();
  // By the holder, now and then: gives way to who has waited for an interval.
  void offer() {
    if (wanted_.load(std::memory_order_relaxed))
      give_way();
  }
  int64_t switches() const { return switches_.load(); }

 private:
  void give_way();
  void take(std::unique_lock<std::mutex> &lock);

  const std::chrono::duration<double> interval_;
  std::mutex mutex_;
  std::condition_variable freed_, taken_;
  bool held_ = false;
  std::atomic<bool> wanted_{false};
  std::atomic<int64_t> switches_{0};
};

// Holds the lock of this thread's participant, where it has one.
class GilHeld {
 public:
  explicit GilHeld(Gil *gil) : gil_(gil) {
    if (gil_)
      gil_->acquire();
  }
  ~GilHeld() {
    if (gil_)
      gil_->release();
  }
  GilHeld(const GilHeld &) = delete;

 private:
  Gil *gil_;
};

// While a call blocks: the other way round.
class GilReleased {
 public:
  explicit GilReleased(Gil *gil) : gil_(gil) {
    if (gil_)
      gil_->release();
  }
  ~GilReleased() {
    if (gil_)
      gil_->acquire();
  }
  GilReleased(const GilReleased &) = delete;

 private:
  Gil *gil_;
};

// Makes the state look now and then whether it must give way.
void install_gil(lua_State *L);

} // namespace perigee::parallel
