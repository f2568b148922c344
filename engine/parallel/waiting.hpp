// Waiting: what every blocking operation on a shared object goes through. A wait can be interrupted (Ctrl-C, the end of
// a pool), says who waits for what, finds certain deadlocks, and lets go of the interpreter lock where there is one.
#pragma once

#include "core/status.hpp"
#include "parallel/shared.hpp"

#include <chrono>
#include <condition_variable>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#pragma GCC visibility push(default)
extern "C" {
#include "parallel/sync_abi.h"
}
#pragma GCC visibility pop

namespace perigee::parallel {

using Clock = std::chrono::steady_clock;

// What a thread that runs a Lua state is, where it is not the main one: its pool sets it before the state is made, and
// keeps it until the state is closed.
struct Role {
  std::string name;                          // "worker 3", for messages
  std::atomic<int32_t> *interrupt = nullptr; // not 0: this thread's waits end with an error
  int32_t worker = 0;                        // its number in the pool, from 1
};
void set_thread_role(const Role *role); // of the calling thread; NULL: the main one
const Role *thread_role();

// Ends all waits of the process with an error, until cleared. May be called by a signal handler.
void interrupt_waits(bool interrupted) noexcept;

class Sync;

} // namespace perigee::parallel

// One Lua state as shared objects see it: who holds a lock, who waits. Opened by the state's thread, used by it alone
// but for what is marked.
struct pg_participant {
  explicit pg_participant(const perigee::parallel::Role *role);
  ~pg_participant();
  pg_participant(const pg_participant &) = delete;

  // Ends the wait of this participant with an error if it is to be interrupted.
  void check_interrupt() const;
  // At the end of a task: locks it still holds are abandoned (those who want them are told).
  void end_task();

  const std::string name;
  std::atomic<int32_t> *const interrupt;
  // Who holds a lock: unique in the process, a new one after a task that did not give its locks back. Read by others.
  std::atomic<uint64_t> token;
  int64_t held = 0;     // locks held
  char where[160] = ""; // "file:line" of the wait that follows

  // Guarded by the registry's mutex: the wait in progress.
  perigee::parallel::Sync *waits_for = nullptr;
  bool waits_for_ever = false;
  std::atomic<uint64_t> seen{0}; // version of waits_for at which it could not go on; 0: it is about to go on
};

namespace perigee::parallel {

using Participant = pg_participant;

// Base of the objects that are waited for: a state guarded by a mutex, and a version that changes with it.
class Sync : public Shared {
 public:
  using Shared::Shared;

  // For messages: what somebody who waits here waits for ("a mutex that worker 2 holds"). Called under the registry's
  // mutex, and not under this object's.
  virtual std::string waited_for() const = 0;
  // Who must act before a waiting participant can go on, 0: nobody in particular.
  virtual uint64_t blocked_by() const { return 0; }
  // Throws where waiting is in vain.
  virtual void check_hopeless(const Participant &) const {}

  uint64_t version() const { return version_.load(std::memory_order_acquire); }

 protected:
  // Waits until ready(), then calls commit(), both under mutex_. False when `timeout` seconds have passed (infinity:
  // never). Throws where the wait is interrupted or in vain. ready() must change nothing.
  template <class Ready, class Commit> bool wait(Participant &me, double timeout, Ready ready, Commit commit);
  // To be called under mutex_ after a change that lets others go on.
  void changed(bool all = true) {
    version_.fetch_add(1, std::memory_order_release);
    if (all)
      condition_.notify_all();
    else
      condition_.notify_one();
  }

  mutable std::mutex mutex_;

 private:
  friend class Waiting;
  std::condition_variable condition_;
  std::atomic<uint64_t> version_{1};
};

// A wait in progress, from before the object's mutex is taken until after it is given back.
class Waiting {
 public:
  Waiting(Participant &me, Sync &object, double timeout);
  ~Waiting();
  Waiting(const Waiting &) = delete;

  // The object's state is not what is waited for: sleeps until it changes. False when the time is up.
  bool block(std::unique_lock<std::mutex> &lock);
  // It is: others may be woken from here on.
  void proceed() { me_.seen.store(0, std::memory_order_release); }

 private:
  Participant &me_;
  Sync &object_;
  Clock::time_point deadline_;
  int slices_ = 0;
};

template <class Ready, class Commit> bool Sync::wait(Participant &me, double timeout, Ready ready, Commit commit) {
  {
    std::unique_lock lock(mutex_);
    if (ready()) {
      commit();
      return true;
    }
    if (timeout <= 0)
      return false;
  }
  Waiting waiting(me, *this, timeout);
  std::unique_lock lock(mutex_);
  while (!ready())
    if (!waiting.block(lock))
      return false;
  waiting.proceed();
  commit();
  return true;
}

// The name of the participant that holds a token, "" if it has ended.
std::string holder_name(uint64_t token);
std::string holder_name_registered(uint64_t token); // the same under the registry's mutex: for waited_for()
bool holder_lives(uint64_t token);

} // namespace perigee::parallel
