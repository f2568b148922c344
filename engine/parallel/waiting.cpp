#include "parallel/waiting.hpp"
#include "parallel/pool.hpp"

#include <algorithm>
#include <cstring>
#include <thread>

namespace perigee::parallel {
namespace {

// How often a wait looks whether it has been interrupted, or can never end. A signal handler can set a flag but wake
// nobody; and whether all others are stuck is seen without their help.
constexpr auto slice = std::chrono::milliseconds(50);

thread_local Participant *participant_of_thread = nullptr;

// All participants. Objects' mutexes are taken before this one, never after it.
struct Registry {
  std::mutex mutex;
  std::vector<Participant *> participants;
  uint64_t last_token = 0;

  Participant *holder(uint64_t token) const {
    for (Participant *p : participants)
      if (p->token.load(std::memory_order_relaxed) == token)
        return p;
    return nullptr;
  }
};

Registry &registry() {
  static auto *one = new Registry; // never destroyed: worker threads may outlast static objects
  return *one;
}

// Whether p cannot go on unless somebody else acts: it has found the state of what it waits for wanting, and that state
// has not changed since. A participant that is about to wake others has seen == 0 from before it does until it is out
// of the registry, so what this says under the registry's mutex holds for all of them together.
bool stuck(const Participant &p) {
  return p.waits_for && p.waits_for_ever && p.seen.load(std::memory_order_acquire) == p.waits_for->version();
}

std::string describe(const Participant &p) {
  return p.name + " waits for " + p.waits_for->waited_for() + (p.where[0] ? std::string(" (") + p.where + ")" : "");
}

// Throws if the wait of `me` can never end: it is in a circle of holders of locks, or nobody at all can go on.
void check_deadlock(Participant &me) {
  Registry &all = registry();
  std::lock_guard guard(all.mutex);
  std::vector<const Participant *> circle;
  for (const Participant *p = &me; p && stuck(*p);) {
    circle.push_back(p);
    const uint64_t by = p->waits_for->blocked_by();
    p = by ? all.holder(by) : nullptr;
    if (p == &me)
      break;
    if (std::find(circle.begin(), circle.end(), p) != circle.end())
      p = nullptr; // a circle of others: theirs to report
    if (!p)
      circle.clear();
  }
  if (!circle.empty() && circle.size() > 1) {
    // Seen twice: a holder may have changed while the chain was followed, but not once all of it is known to be stuck.
    for (size_t i = 0; i < circle.size(); ++i) {
      const Participant *next = circle[(i + 1) % circle.size()];
      if (!stuck(*circle[i]) || circle[i]->waits_for->blocked_by() != next->token.load(std::memory_order_relaxed))
        return;
    }
  } else {
    circle.clear();
    for (const Participant *p : all.participants) {
      if (!stuck(*p))
        return;
      circle.push_back(p);
    }
    auto passive = [](const Participant *p) { return p->waits_for->passive(); };
    if (passive(&me) && !std::all_of(circle.begin(), circle.end(), passive))
      return;
  }
  std::string message = "deadlock: ";
  for (size_t i = 0; i < circle.size() && i < 8; ++i)
    message += (i ? ", " : "") + describe(*circle[i]);
  if (circle.size() > 8)
    message += ", and " + std::to_string(circle.size() - 8) + " more wait";
  me.seen.store(0, std::memory_order_release); // it goes on, with an error: nobody else need be told
  throw ArgumentError(message + "; nobody can go on");
}

} // namespace

ThreadParticipant::ThreadParticipant(Participant &participant) {
  participant_of_thread = &participant;
}
ThreadParticipant::~ThreadParticipant() {
  participant_of_thread = nullptr;
}
Participant *ThreadParticipant::current() {
  return participant_of_thread;
}

std::string holder_name_registered(uint64_t token) {
  const Participant *p = registry().holder(token);
  return p ? p->name : "";
}
std::string holder_name(uint64_t token) {
  std::lock_guard guard(registry().mutex);
  return holder_name_registered(token);
}

bool holder_lives(uint64_t token) {
  return !holder_name(token).empty();
}

Waiting::Waiting(Participant &me, const Waitable &object, double timeout, Mode mode)
    : me_(me), released_(mode == Mode::task ? me.gil : nullptr), object_(object), mode_(mode) {
  // Beyond a year is for ever: time_point's arithmetic would overflow.
  const bool for_ever = !(timeout < 3e7);
  deadline_ = for_ever
                  ? Clock::time_point::max()
                  : Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout));
  std::lock_guard guard(registry().mutex);
  me.seen.store(0, std::memory_order_relaxed);
  me.waits_for = &object;
  me.waits_for_ever = for_ever;
}

Waiting::~Waiting() {
  std::lock_guard guard(registry().mutex);
  me_.waits_for = nullptr;
  me_.where[0] = 0;
}

bool Waiting::block(std::unique_lock<std::mutex> &lock, std::condition_variable &condition) {
  me_.seen.store(object_.version(), std::memory_order_release);
  const auto now = Clock::now();
  if (mode_ == Mode::task) {
    me_.check_interrupt();
    object_.check_hopeless();
  } else {
    condition.wait(lock);
    return true;
  }
  if (now >= deadline_)
    return false;
  const auto status = condition.wait_until(lock, std::min(deadline_, now + slice));
  if (status == std::cv_status::timeout && ++slices_ >= 2 && me_.waits_for_ever &&
      me_.seen.load(std::memory_order_relaxed) == object_.version())
    check_deadlock(me_);
  return true;
}

} // namespace perigee::parallel

using namespace perigee;
using namespace perigee::parallel;

pg_participant::pg_participant(std::string name, std::atomic<int32_t> *interrupt)
    : name(std::move(name)), interrupt(interrupt) {
  Registry &all = registry();
  std::lock_guard guard(all.mutex);
  token = ++all.last_token;
  all.participants.push_back(this);
}

pg_participant::~pg_participant() {
  Registry &all = registry();
  {
    std::lock_guard guard(all.mutex);
    std::erase(all.participants, this);
  }
  if (own_race) {
    VectorClock nobody;
    race_end(*own_race, nobody);
  }
}

void pg_participant::check_interrupt() const {
  if (interrupted()) {
    if (ThreadParticipant::current() != this)
      take_interruption(); // the script has been told
    throw ArgumentError("interrupted by Ctrl-C");
  }
  if (interrupt && interrupt->load(std::memory_order_relaxed))
    throw ArgumentError("the pool was shut down while this task was waiting");
  if (gone && gone(process))
    throw ArgumentError("the worker process that waits has ended");
}

void pg_participant::end_task() {
  if (held == 0)
    return;
  held = 0;
  Registry &all = registry();
  std::lock_guard guard(all.mutex);
  token = ++all.last_token;
}

extern "C" {

pg_participant *pg_participant_open(void) {
  if (Participant *me = ThreadParticipant::current())
    return me;
  auto *me = new (std::nothrow) pg_participant("the main script");
  if (me)
    me->opened = true;
  return me;
}
void pg_participant_close(pg_participant *me) {
  if (me && me->opened)
    delete me;
}
void pg_participant_at(pg_participant *me, const char *position) {
  std::strncpy(me->where, position, sizeof me->where - 1);
}
int32_t pg_participant_sleep(pg_participant *me, double seconds) {
  return guard([&] {
    const GilReleased released(me->gil);
    const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                          std::chrono::duration<double>(std::clamp(seconds, 0.0, 1e9)));
    for (auto now = Clock::now(); now < until; now = Clock::now()) {
      me->check_interrupt();
      std::this_thread::sleep_until(std::min(until, now + slice));
    }
  });
}
void pg_participant_end_task(pg_participant *me) {
  me->end_task();
}
}
