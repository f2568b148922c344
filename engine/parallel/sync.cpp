#include "parallel/sync.hpp"
#include "parallel/remote.hpp"

#include <algorithm>

namespace perigee::parallel {

// ---------------------------------------------------------------------------------------------------- mutex ----------
int Mutex::try_lock(Participant &me) {
  uint64_t expected = 0;
  const uint64_t token = me.token.load(std::memory_order_relaxed);
  if (owner().compare_exchange_strong(expected, token)) {
    ++me.held;
    follows(me, clock);
    return 1;
  }
  return expected == token ? -1 : 0;
}

bool Mutex::lock(Participant &me, double timeout) {
  const int got = try_lock(me);
  if (got > 0)
    return true;
  if (got < 0)
    throw ArgumentError("this mutex is locked by " + me.name +
                        " already, which would wait for itself; unlock it first (a mutex is not recursive)");
  waiting().fetch_add(1);
  struct Leave {
    const Mutex &mutex;
    ~Leave() { mutex.waiting().fetch_sub(1); }
  } leave{*this};
  // unlock() looks at waiting() after it has cleared owner(): it sees this wait, or this wait sees it unlocked.
  bool mine = false;
  return wait(
      me, timeout, [&] { return mine || (mine = try_lock(me) > 0); }, [] {});
}

void Mutex::unlock(Participant &me) {
  const uint64_t holder = owner().load(std::memory_order_relaxed);
  if (holder != me.token.load(std::memory_order_relaxed)) {
    if (holder == 0)
      throw ArgumentError("this mutex is not locked");
    const std::string name = holder_name(holder);
    throw ArgumentError(name == me.name || name.empty()
                            ? "this mutex was locked by a task that has ended; only that task could unlock it"
                            : "this mutex is locked by " + name + ", and only it may unlock it");
  }
  --me.held;
  precedes(me, clock);
  owner().store(0);
  if (std::atomic_ref(word_->sleeping).load() > 0)
    wake(*word_);
  if (waiting().load() > 0)
    unlocked();
}

void Mutex::unlocked() {
  std::lock_guard guard(mutex_);
  changed(false);
}

std::string Mutex::waited_for() const {
  const std::string name = holder_name_registered(owner().load());
  return name.empty() ? "a mutex" : "a mutex that " + name + " holds";
}

static void check_holder(uint64_t owner, const char *what) {
  if (owner != 0 && !holder_lives(owner))
    throw ArgumentError(std::string(what) +
                        " was locked by a task that ended without unlocking it, so what it protects "
                        "may be half done; lock it by with(), which unlocks on errors too");
}

void Mutex::check_hopeless() const {
  check_holder(owner().load(), "this mutex");
}

// ---------------------------------------------------------------------------------------------------- rwlock ---------
bool RwLock::lock(Participant &me, bool write, double timeout) {
  const uint64_t token = me.token.load(std::memory_order_relaxed);
  {
    std::lock_guard guard(mutex_);
    if (writer_ == token)
      throw ArgumentError("this lock is locked for writing by " + me.name +
                          " already, which would wait for itself; unlock it first");
    if (std::find(readers_.begin(), readers_.end(), token) != readers_.end())
      throw ArgumentError("this lock is locked for reading by " + me.name + " already" +
                          (write ? ", and would wait for itself to stop reading" : "") + "; unlock it first");
    writers_waiting_ += write;
  }
  struct Leave {
    RwLock &lock;
    bool write;
    ~Leave() {
      if (write) {
        std::lock_guard guard(lock.mutex_);
        if (--lock.writers_waiting_ == 0)
          lock.changed(); // readers that were kept out
      }
    }
  } leave{*this, write};
  return wait(
      me, timeout, [&] { return writer_ == 0 && (write ? readers_.empty() : writers_waiting_ == 0); },
      [&] {
        if (write)
          writer_ = token;
        else
          readers_.push_back(token);
        follows(me, clock);
        if (write)
          follows(me, readers_clock_);
        ++me.held;
      });
}

void RwLock::unlock(Participant &me, bool write) {
  const uint64_t token = me.token.load(std::memory_order_relaxed);
  std::lock_guard guard(mutex_);
  if (write) {
    if (writer_ != token)
      throw ArgumentError("this lock is not locked for writing by " + me.name);
    writer_ = 0;
  } else {
    const auto at = std::find(readers_.begin(), readers_.end(), token);
    if (at == readers_.end())
      throw ArgumentError("this lock is not locked for reading by " + me.name);
    readers_.erase(at);
  }
  --me.held;
  precedes(me, write ? clock : readers_clock_);
  changed();
}

std::string RwLock::waited_for() const {
  const std::string name = holder_name_registered(writer_.load());
  return name.empty() ? "a read-write lock" : "a read-write lock that " + name + " holds for writing";
}

void RwLock::check_hopeless() const { // called under mutex_
  check_holder(writer_.load(), "this lock");
  for (uint64_t reader : readers_)
    check_holder(reader, "this lock");
}

// ---------------------------------------------------------------------------------------------------- semaphore ------
bool Semaphore::acquire(Participant &me, double timeout) {
  return wait(
      me, timeout, [&] { return value_ > 0; },
      [&] {
        --value_;
        follows(me, clock);
      });
}

void Semaphore::post(Participant &me, int64_t count) {
  std::lock_guard guard(mutex_);
  if (value_ > (int64_t(1) << 53) - count)
    throw ArgumentError("release: the semaphore's value would be above 2^53");
  value_ += count;
  precedes(me, clock);
  changed(count > 1);
}

// ---------------------------------------------------------------------------------------------------- barrier --------
static ArgumentError barrier_broken() {
  return ArgumentError("the barrier is broken: one that waited there gave up, or it was aborted; reset() mends it");
}

int64_t Barrier::wait(Participant &me, double timeout) {
  int64_t place = 0;
  uint64_t round = 0;
  {
    std::lock_guard guard(mutex_);
    if (broken_)
      throw barrier_broken();
    round = round_;
    precedes(me, clock);
    place = ++arrived_;
    if (place == parties) {
      arrived_ = 0;
      ++round_;
      changed();
      follows(me, clock);
      return place;
    }
  }
  bool whole = false;
  auto look = [&] { whole = round_ != round && broken_until_ <= round; };
  // False where all have come in the moment since the wait ended.
  auto give_up = [&] {
    std::lock_guard guard(mutex_);
    if (round_ == round && !broken_)
      break_now();
    look();
    return !whole;
  };
  try {
    if (!Sync::wait(
            me, timeout, [&] { return round_ != round || broken_; }, look) &&
        give_up())
      throw ArgumentError("the barrier was left when time was up, and is broken now");
    if (!whole)
      throw barrier_broken();
  } catch (...) {
    give_up();
    throw;
  }
  follows(me, clock);
  return place;
}

void Barrier::break_now() {
  broken_ = true;
  arrived_ = 0;
  changed();
}

void Barrier::abort() {
  std::lock_guard guard(mutex_);
  break_now();
}

void Barrier::reset() {
  std::lock_guard guard(mutex_);
  if (arrived_ > 0 || broken_)
    broken_until_ = ++round_; // those who wait still are told
  broken_ = false;
  arrived_ = 0;
  changed();
}

std::string Barrier::waited_for() const {
  return "a barrier of " + std::to_string(parties) + " (" + std::to_string(waiting()) +
         (waiting() == 1 ? " is there)" : " are there)");
}

// ---------------------------------------------------------------------------------------------------- condition ------
bool Condition::wait(Participant &me, double timeout) {
  if (!mutex->held_by(me))
    throw ArgumentError("a condition is waited for with its mutex locked; lock it first");
  bool woken = false;
  {
    std::lock_guard guard(mutex_);
    sleepers_.push_back(&woken);
  }
  mutex->unlock(me);
  auto leave = [&] {
    std::lock_guard guard(mutex_);
    std::erase(sleepers_, &woken);
  };
  bool came = false;
  try {
    Sync::wait(
        me, timeout, [&] { return woken; }, [] {});
    leave();
    came = woken; // also where that came when time was up: nobody else is told
    mutex->lock(me, std::numeric_limits<double>::infinity());
  } catch (...) {
    leave();
    mutex->try_lock(me); // with() will unlock it
    throw;
  }
  return came;
}

void Condition::notify(Participant &me, int64_t count) {
  if (!mutex->held_by(me))
    throw ArgumentError("notify: lock the condition's mutex first, so that no waiter misses it");
  std::lock_guard guard(mutex_);
  for (; count != 0 && !sleepers_.empty(); --count) {
    *sleepers_.front() = true;
    sleepers_.pop_front();
  }
  changed();
}

// ---------------------------------------------------------------------------------------------------- event, latch ---
void Event::set(Participant &me, bool set) {
  std::lock_guard guard(mutex_);
  precedes(me, clock);
  set_ = set;
  changed();
}
bool Event::is_set(Participant &me) {
  const bool set = set_.load();
  if (set)
    follows(me, clock);
  return set;
}
bool Event::wait(Participant &me, double timeout) {
  return Sync::wait(
      me, timeout, [&] { return set_.load(); }, [&] { follows(me, clock); });
}

void Latch::count_down(Participant &me, int64_t count) {
  std::lock_guard guard(mutex_);
  if (count > count_)
    throw ArgumentError("count_down: the latch is at " + std::to_string(count_.load()) + ", which is less than " +
                        std::to_string(count));
  count_ -= count;
  precedes(me, clock);
  changed();
}
bool Latch::wait(Participant &me, double timeout) {
  return Sync::wait(
      me, timeout, [&] { return count_ == 0; }, [&] { follows(me, clock); });
}

namespace {

// What each Lua state keeps a table of its own for.
struct Local final : Shared {
  Local() : Shared(PG_SHARED_LOCAL), id(++last) {}
  const int64_t id; // never used again, unlike an address

 private:
  static inline std::atomic<int64_t> last{0};
};

} // namespace
} // namespace perigee::parallel

// ---------------------------------------------------------------------------------------------------- C ABI ----------
using namespace perigee;
using namespace perigee::parallel;

namespace {

// The word of a mutex in the process that started this one, for the participant that it knows; NULL where it must be
// asked.
Word *remote_word(void *object, const pg_participant &me) {
  return me.abroad != 0 ? static_cast<Remote *>(static_cast<Shared *>(object))->shared_word : nullptr;
}

// As pg_mutex_try; -2 where the process that has the mutex must be asked.
int try_remote_mutex(void *object, pg_participant &me) {
  Word *word = remote_word(object, me);
  if (!word)
    return -2;
  uint64_t expected = 0;
  if (std::atomic_ref(word->owner).compare_exchange_strong(expected, me.abroad)) {
    ++me.held_abroad;
    return 1;
  }
  return expected == me.abroad ? -1 : 0;
}

// How long a worker process waits for a mutex by itself. After that it asks the process that has the mutex, which knows
// who holds what, and says so where waiting is in vain.
constexpr auto by_itself = std::chrono::milliseconds(2);

// Whether it has locked a mutex that others hold for moments; `timeout` becomes what is left of it.
bool wait_for_remote_mutex(void *object, pg_participant &me, double &timeout) {
  Word *word = remote_word(object, me);
  if (!word || std::atomic_ref(word->owner).load(std::memory_order_relaxed) == me.abroad)
    return false;
  const auto start = Clock::now();
  const auto until =
      start + std::min<Clock::duration>(by_itself, std::chrono::duration_cast<Clock::duration>(
                                                       std::chrono::duration<double>(std::clamp(timeout, 0.0, 1.0))));
  bool got = false;
  std::atomic_ref(word->sleeping).fetch_add(1);
  for (;;) {
    // unlock looks at `sleeping` after it has cleared `owner`: it sees this wait, or this wait sees it unlocked.
    const uint32_t turn = std::atomic_ref(word->turn).load();
    const int tried = try_remote_mutex(object, me);
    const auto now = Clock::now();
    got = tried == 1;
    if (tried != 0 || now >= until)
      break;
    sleep(*word, turn, until - now);
  }
  std::atomic_ref(word->sleeping).fetch_sub(1);
  timeout = std::max(0.0, timeout - std::chrono::duration<double>(Clock::now() - start).count());
  return got;
}

// 0: unlocked; 1: unlocked, and somebody waits for that where the mutex is; -1: not done.
int unlock_remote_mutex(void *object, pg_participant &me) {
  Word *word = remote_word(object, me);
  if (!word || std::atomic_ref(word->owner).load(std::memory_order_relaxed) != me.abroad)
    return -1;
  --me.held_abroad;
  std::atomic_ref(word->owner).store(0);
  if (std::atomic_ref(word->sleeping).load() > 0)
    wake(*word);
  return std::atomic_ref(word->waiting).load() > 0 ? 1 : 0;
}

template <class T> T &as(void *object) {
  return *static_cast<T *>(static_cast<Shared *>(object));
}

template <class T, class... Arguments> int32_t create(pg_shared *out, Arguments &&...arguments) {
  return guard([&] { hand_over(out, Ref(new T(std::forward<Arguments>(arguments)...))); });
}

} // namespace

extern "C" {

int32_t pg_mutex_create(pg_shared *out) {
  return create<Mutex>(out);
}
int32_t pg_mutex_try(void *object, pg_participant *me) {
  if (is_remote(object)) {
    const int got = try_remote_mutex(object, *me);
    return got >= -1 ? got : static_cast<int32_t>(ask_remote(object, me, {RemoteOp::mutex_try}));
  }
  return as<Mutex>(object).try_lock(*me);
}
int32_t pg_mutex_lock(void *object, pg_participant *me, double timeout, int32_t *done) {
  if (is_remote(object)) {
    if (wait_for_remote_mutex(object, *me, timeout)) {
      *done = 1;
      return PG_OK;
    }
    return remote(done, object, me, {RemoteOp::mutex_lock, timeout});
  }
  return guard([&] { *done = as<Mutex>(object).lock(*me, timeout); });
}
int32_t pg_mutex_unlock(void *object, pg_participant *me) {
  if (is_remote(object)) {
    const int left = unlock_remote_mutex(object, *me);
    return left == 0   ? PG_OK
           : left == 1 ? call_remote(object, me, {RemoteOp::mutex_unlocked})
                       : call_remote(object, me, {RemoteOp::mutex_unlock});
  }
  return guard([&] { as<Mutex>(object).unlock(*me); });
}
int32_t pg_mutex_state(void *object, const pg_participant *me) {
  if (is_remote(object))
    return static_cast<int32_t>(ask_remote(object, nullptr, {RemoteOp::mutex_state}));
  const auto &mutex = as<Mutex>(object);
  return mutex.held_by(*me) ? 2 : mutex.held();
}

int32_t pg_rwlock_create(pg_shared *out) {
  return create<RwLock>(out);
}
int32_t pg_rwlock_lock(void *object, pg_participant *me, int32_t write, double timeout, int32_t *done) {
  if (is_remote(object))
    return remote(done, object, me, {RemoteOp::rwlock_lock, timeout, double(write)});
  return guard([&] { *done = as<RwLock>(object).lock(*me, write != 0, timeout); });
}
int32_t pg_rwlock_unlock(void *object, pg_participant *me, int32_t write) {
  if (is_remote(object))
    return call_remote(object, me, {RemoteOp::rwlock_unlock, 0, double(write)});
  return guard([&] { as<RwLock>(object).unlock(*me, write != 0); });
}

int32_t pg_semaphore_create(pg_shared *out, int64_t value) {
  return create<Semaphore>(out, value);
}
int32_t pg_semaphore_acquire(void *object, pg_participant *me, double timeout, int32_t *done) {
  if (is_remote(object))
    return remote(done, object, me, {RemoteOp::semaphore_acquire, timeout});
  return guard([&] { *done = as<Semaphore>(object).acquire(*me, timeout); });
}
int32_t pg_semaphore_release(void *object, pg_participant *me, int64_t count) {
  if (is_remote(object))
    return call_remote(object, me, {RemoteOp::semaphore_release, double(count)});
  return guard([&] { as<Semaphore>(object).post(*me, count); });
}
int64_t pg_semaphore_value(void *object) {
  if (is_remote(object))
    return static_cast<int64_t>(ask_remote(object, nullptr, {RemoteOp::semaphore_value}));
  return as<Semaphore>(object).value();
}

int32_t pg_barrier_create(pg_shared *out, int64_t parties) {
  return create<Barrier>(out, parties);
}
int32_t pg_barrier_wait(void *object, pg_participant *me, double timeout, int64_t *place) {
  if (is_remote(object))
    return remote(place, object, me, {RemoteOp::barrier_wait, timeout});
  return guard([&] { *place = as<Barrier>(object).wait(*me, timeout); });
}
void pg_barrier_abort(void *object) {
  if (is_remote(object))
    return void(ask_remote(object, nullptr, {RemoteOp::barrier_abort}));
  as<Barrier>(object).abort();
}
void pg_barrier_reset(void *object) {
  if (is_remote(object))
    return void(ask_remote(object, nullptr, {RemoteOp::barrier_reset}));
  as<Barrier>(object).reset();
}
int64_t pg_barrier_state(void *object, int32_t which) {
  if (is_remote(object))
    return static_cast<int64_t>(ask_remote(object, nullptr, {RemoteOp::barrier_state, double(which)}));
  const auto &barrier = as<Barrier>(object);
  return which == 0 ? barrier.parties : which == 1 ? barrier.waiting() : barrier.broken();
}

int32_t pg_condition_create(pg_shared *out, void *mutex) {
  return guard([&] {
    auto lock = mutex ? Ref<Mutex>::share(&as<Mutex>(mutex)) : Ref<Mutex>(new Mutex);
    hand_over(out, Ref(new Condition(std::move(lock))));
  });
}
int32_t pg_condition_wait(void *object, pg_participant *me, double timeout, int32_t *done) {
  if (is_remote(object))
    return remote(done, object, me, {RemoteOp::condition_wait, timeout});
  return guard([&] { *done = as<Condition>(object).wait(*me, timeout); });
}
int32_t pg_condition_notify(void *object, pg_participant *me, int64_t count) {
  if (is_remote(object))
    return call_remote(object, me, {RemoteOp::condition_notify, double(count)});
  return guard([&] { as<Condition>(object).notify(*me, count); });
}
void pg_condition_mutex(void *object, pg_shared *out) {
  if (is_remote(object))
    return hand_over_remote(out, ask_remote(object, nullptr, {RemoteOp::condition_mutex}), PG_SHARED_MUTEX);
  hand_over(out, Ref<Mutex>(as<Condition>(object).mutex));
}

int32_t pg_event_create(pg_shared *out) {
  return create<Event>(out);
}
void pg_event_set(void *object, pg_participant *me, int32_t set) {
  if (is_remote(object))
    return void(ask_remote(object, me, {RemoteOp::event_set, double(set)}));
  as<Event>(object).set(*me, set != 0);
}
int32_t pg_event_is_set(void *object, pg_participant *me) {
  if (is_remote(object))
    return static_cast<int32_t>(ask_remote(object, me, {RemoteOp::event_is_set}));
  return as<Event>(object).is_set(*me);
}
int32_t pg_event_wait(void *object, pg_participant *me, double timeout, int32_t *done) {
  if (is_remote(object))
    return remote(done, object, me, {RemoteOp::event_wait, timeout});
  return guard([&] { *done = as<Event>(object).wait(*me, timeout); });
}

int32_t pg_latch_create(pg_shared *out, int64_t count) {
  return create<Latch>(out, count);
}
int32_t pg_latch_count_down(void *object, pg_participant *me, int64_t count) {
  if (is_remote(object))
    return call_remote(object, me, {RemoteOp::latch_count_down, double(count)});
  return guard([&] { as<Latch>(object).count_down(*me, count); });
}
int32_t pg_latch_wait(void *object, pg_participant *me, double timeout, int32_t *done) {
  if (is_remote(object))
    return remote(done, object, me, {RemoteOp::latch_wait, timeout});
  return guard([&] { *done = as<Latch>(object).wait(*me, timeout); });
}
int64_t pg_latch_count(void *object) {
  if (is_remote(object))
    return static_cast<int64_t>(ask_remote(object, nullptr, {RemoteOp::latch_count}));
  return as<Latch>(object).count();
}

int32_t pg_local_create(pg_shared *out) {
  return create<Local>(out);
}
int64_t pg_local_id(void *object) {
  if (is_remote(object))
    return static_cast<int64_t>(ask_remote(object, nullptr, {RemoteOp::local_id}));
  return as<Local>(object).id;
}
}
