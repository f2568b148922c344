// Locks and meeting points of Lua states. All methods take the participant that calls.
#pragma once

#include "parallel/waiting.hpp"
#include "parallel/word.hpp"

#include <deque>

namespace perigee::parallel {

class Mutex final : public Sync {
 public:
  Mutex() : Sync(PG_SHARED_MUTEX) {}
  // One compare-exchange where nobody holds it. 1: locked, 0: another holds it, -1: this one does.
  int try_lock(Participant &me);
  bool lock(Participant &me, double timeout);
  void unlock(Participant &me);
  // After a worker process has unlocked it itself: wakes one who waits.
  void unlocked();
  bool held_by(const Participant &me) const { return owner().load(std::memory_order_relaxed) == me.token; }
  bool held() const { return owner().load(std::memory_order_relaxed) != 0; }

  const Word *word() const override { return &*word_; }
  std::string waited_for() const override;
  uint64_t blocked_by() const override { return owner().load(); }
  void check_hopeless() const override;

 private:
  std::atomic_ref<uint64_t> owner() const { return std::atomic_ref(word_->owner); }
  // An unlock with nobody waiting need not take Sync's mutex.
  std::atomic_ref<int32_t> waiting() const { return std::atomic_ref(word_->waiting); }
  const OwnWord word_;
};

// Many readers or one writer. Writers that wait keep new readers out, so that they are not starved.
class RwLock final : public Sync {
 public:
  RwLock() : Sync(PG_SHARED_RWLOCK) {}
  bool lock(Participant &me, bool write, double timeout);
  void unlock(Participant &me, bool write);

  std::string waited_for() const override;
  uint64_t blocked_by() const override { return writer_.load(); }
  void check_hopeless() const override;

 private:
  std::atomic<uint64_t> writer_{0};
  std::vector<uint64_t> readers_; // tokens
  VectorClock readers_clock_;     // readers happen before writers, and not before each other
  int writers_waiting_ = 0;
};

class Semaphore final : public Sync {
 public:
  explicit Semaphore(int64_t value) : Sync(PG_SHARED_SEMAPHORE), value_(value) {}
  bool acquire(Participant &me, double timeout);
  void post(Participant &me, int64_t count); // (release() is for references)
  int64_t value() const { return value_.load(); }
  std::string waited_for() const override { return "a semaphore that is at 0"; }

 private:
  std::atomic<int64_t> value_;
};

// As Python's threading.Barrier: when one that waits gives up, all who wait or come later are told it is broken.
class Barrier final : public Sync {
 public:
  explicit Barrier(int64_t parties) : Sync(PG_SHARED_BARRIER), parties(parties) {}
  int64_t wait(Participant &me, double timeout);
  void abort();
  void reset();
  bool broken() const { return broken_.load(); }
  int64_t waiting() const { return arrived_.load(); }
  std::string waited_for() const override;

  const int64_t parties;

 private:
  void break_now(); // under mutex_
  std::atomic<int64_t> arrived_{0};
  std::atomic<bool> broken_{false};
  uint64_t round_ = 0;        // how often it has opened
  uint64_t broken_until_ = 0; // waits that began in an earlier round than this were broken by reset()
};

class Condition final : public Sync {
 public:
  explicit Condition(Ref<Mutex> mutex) : Sync(PG_SHARED_CONDITION), mutex(std::move(mutex)) {}
  bool wait(Participant &me, double timeout);
  void notify(Participant &me, int64_t count);
  std::string waited_for() const override { return "a notification of a condition"; }

  const Ref<Mutex> mutex;

 private:
  std::deque<bool *> sleepers_; // a flag each, the longest waiting first
};

class Event final : public Sync {
 public:
  Event() : Sync(PG_SHARED_EVENT) {}
  void set(Participant &me, bool set);
  bool is_set(Participant &me);
  bool wait(Participant &me, double timeout);
  std::string waited_for() const override { return "an event to be set"; }

 private:
  std::atomic<bool> set_{false};
};

class Latch final : public Sync {
 public:
  explicit Latch(int64_t count) : Sync(PG_SHARED_LATCH), count_(count) {}
  void count_down(Participant &me, int64_t count);
  bool wait(Participant &me, double timeout);
  int64_t count() const { return count_.load(); }
  std::string waited_for() const override { return "a latch that is at " + std::to_string(count()); }

 private:
  std::atomic<int64_t> count_;
};

} // namespace perigee::parallel
