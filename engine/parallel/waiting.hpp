// Waiting: what every blocking operation on a shared object goes through. A wait can be interrupted (Ctrl-C, the end of
// a pool), says who waits for what, finds certain deadlocks, and lets go of the interpreter lock where there is one.
#pragma once

#include "core/status.hpp"
#include "parallel/gil.hpp"
#include "parallel/races.hpp"
#include "parallel/shared.hpp"
#include "parallel/transport.hpp"

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

class Waitable;

} // namespace perigee::parallel

// A Lua state, or another thread that works for scripts, as shared objects see it: who holds a lock, who waits. Used by
// its own thread but for what is marked. A worker's is made by its pool, for as long as the thread lives
// (ThreadParticipant); any other state opens its own.
struct pg_participant {
  // `interrupt` not 0: waits end with an error.
  explicit pg_participant(std::string name, std::atomic<int32_t> *interrupt = nullptr);
  ~pg_participant();
  pg_participant(const pg_participant &) = delete;

  // Throws if waits are to end.
  void check_interrupt() const;
  // At the end of a task: locks it still holds are abandoned (those who want them are told).
  void end_task();

  const std::string name; // "worker 3", for messages
  std::atomic<int32_t> *const interrupt;
  // Who holds a lock: unique in the process, a new one after a task that did not give its locks back. Read by others.
  std::atomic<uint64_t> token;
  int64_t held = 0;     // locks held
  bool opened = false;  // by the Lua state that uses it, which closes it
  char where[160] = ""; // "file:line" of the wait that follows

  perigee::parallel::Gil *gil = nullptr;                   // the lock it shares with others, if it does
  perigee::parallel::RaceThread *race = nullptr;           // where it is checked for races: the task that runs
  std::unique_ptr<perigee::parallel::RaceThread> own_race; // what runs outside of tasks
  perigee::parallel::VectorClock task_parent;              // what all its tasks follow

  // In a worker process: the token of this participant in the process that started it, which it puts into words itself
  // (word.hpp), and how many locks more it holds by that.
  uint64_t abroad = 0;
  int64_t held_abroad = 0;

  std::unique_ptr<perigee::parallel::Message> parcel; // on its way into a queue, or out of one

  // Of one whose script runs in another process: whether that has ended, and with it what waits here.
  bool (*gone)(void *process) = nullptr;
  void *process = nullptr;

  // Guarded by the registry's mutex: the wait in progress.
  const perigee::parallel::Waitable *waits_for = nullptr;
  bool waits_for_ever = false;
  std::atomic<uint64_t> seen{0}; // version of waits_for at which it could not go on; 0: it is about to go on
};

namespace perigee::parallel {

using Participant = pg_participant;

// What this participant has done happens before what others do after `follows` of the same clock. For the race
// detector.
inline void precedes(Participant &me, VectorClock &clock) {
  if (me.race) [[unlikely]]
    race_release(me.race, clock);
}
inline void follows(Participant &me, const VectorClock &clock) {
  if (me.race) [[unlikely]]
    race_acquire(me.race, clock);
}

// The participant that Lua states made on this thread are.
class ThreadParticipant {
 public:
  explicit ThreadParticipant(Participant &participant);
  ~ThreadParticipant();
  ThreadParticipant(const ThreadParticipant &) = delete;
  static Participant *current(); // NULL: none
};

// What can be waited for.
class Waitable {
 public:
  // For messages: what somebody who waits here waits for ("a mutex that worker 2 holds"). Called under the registry's
  // mutex, and not under that of this object.
  virtual std::string waited_for() const = 0;
  // Not 0, and another one after each change that lets somebody go on.
  virtual uint64_t version() const = 0;
  // Token of whoever must act before anybody who waits can go on, 0: nobody in particular.
  virtual uint64_t blocked_by() const { return 0; }
  // Waiting for work of others: where nobody can go on, they are the ones to be told.
  virtual bool passive() const { return false; }
  // Throws where waiting is in vain.
  virtual void check_hopeless() const {}

 protected:
  ~Waitable() = default;
};

// A wait in progress, from before the object's mutex is taken until after it is given back.
class Waiting {
 public:
  enum class Mode {
    task, // a script's: throws where it is interrupted or in vain
    idle  // a worker's without work: never throws
  };
  Waiting(Participant &me, const Waitable &object, double timeout, Mode mode = Mode::task);
  ~Waiting();
  Waiting(const Waiting &) = delete;

  // The object's state, under its mutex, is not what is waited for: sleeps until it changes, or for a while. False when
  // the time is up.
  bool block(std::unique_lock<std::mutex> &lock, std::condition_variable &condition);
  // Nothing that is looked for will change this: waiting until others have acted.
  void stay() { me_.seen.store(object_.version(), std::memory_order_release); }
  // It is: others may be woken from here on.
  void proceed() { me_.seen.store(0, std::memory_order_release); }

 private:
  Participant &me_;
  const GilReleased released_;
  const Waitable &object_;
  const Mode mode_;
  Clock::time_point deadline_;
  int slices_ = 0;
};

// A shared object that is waited for: a state guarded by a mutex, and a version that changes with it.
class Sync : public Shared, public Waitable {
 public:
  using Shared::Shared;
  uint64_t version() const override { return version_.load(std::memory_order_acquire); }

 protected:
  // Waits until ready(), then calls commit(), both under mutex_. False when `timeout` seconds have passed (infinity:
  // never). Throws where the wait is interrupted or in vain. ready() must change nothing.
  template <class Ready, class Commit> bool wait(Participant &me, double timeout, Ready ready, Commit commit) {
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
      if (!waiting.block(lock, condition_))
        return false;
    waiting.proceed();
    commit();
    return true;
  }
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
  std::condition_variable condition_;
  std::atomic<uint64_t> version_{1};
};

// The name of the participant that holds a token, "" if it has ended.
std::string holder_name(uint64_t token);
std::string holder_name_registered(uint64_t token); // the same under the registry's mutex: for waited_for()
bool holder_lives(uint64_t token);

} // namespace perigee::parallel
