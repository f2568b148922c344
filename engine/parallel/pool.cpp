#include "parallel/pool.hpp"

#include "core/plugin_support.hpp"
#include "core/processors.hpp"
#include "core/status.hpp"
#include "core/timeline.hpp"
#include "parallel/waiting.hpp"

#include <algorithm>
#include <csignal>
#include <semaphore.h>
#include <unistd.h>

namespace perigee::parallel {
namespace {

std::atomic<uint64_t> last_id{0};
thread_local const Worker *current = nullptr;

// How long to look for work before sleeping. A wake-up takes the kernel 5 to 50 us, and a sleeping worker costs whoever
// submits a system call.
constexpr auto spin = std::chrono::microseconds(30);
// How long a worker sleeps before it cleans up.
constexpr auto nap = std::chrono::milliseconds(20);
// How long a pool that was let go is waited for before somebody is told.
constexpr auto patience = std::chrono::milliseconds(2500);
// How often a wait looks whether Ctrl-C was pressed.
constexpr auto glance = std::chrono::milliseconds(100);

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Whether `ready` becomes true while looking for a moment.
template <class Ready> bool look(Ready &&ready) {
  if (ready())
    return true;
  const auto end = std::chrono::steady_clock::now() + spin;
  do {
    for (int i = 0; i < 32; ++i) {
      relax();
      if (ready())
        return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// ------------------------------------------------------------------------------------------------------ Ctrl-C -------
// The first Ctrl-C is kept for those who wait and for workers between tasks; a second, or none who took notice within
// 2 s, ends the process. The handler is there while pools are, and only where the program has none.
std::atomic<bool> pressed{false};
std::atomic<uint64_t> press_count{0};
sem_t presses;
std::mutex workers_mutex;
std::vector<const Worker *> workers;

// Whether a worker still runs a task that it had begun before the last press.
bool still_busy() {
  const std::lock_guard lock(workers_mutex);
  const uint64_t now = press_count.load();
  return std::any_of(workers.begin(), workers.end(), [now](const Worker *worker) {
    const uint64_t began = worker->began.load(std::memory_order_relaxed);
    return began != 0 && began <= now;
  });
}

// A worker in the list while it works.
struct Listed {
  explicit Listed(const Worker *worker) : worker(worker) {
    const std::lock_guard lock(workers_mutex);
    workers.push_back(worker);
  }
  ~Listed() {
    const std::lock_guard lock(workers_mutex);
    std::erase(workers, worker);
  }
  const Worker *worker;
};

[[noreturn]] void end_process(const char *why, size_t size) {
  [[maybe_unused]] auto ignored = write(STDERR_FILENO, why, size);
  _exit(130);
}

void on_interrupt(int) {
  if (pressed.exchange(true)) {
    constexpr char why[] = "\nperigee: ended by a second Ctrl-C while a worker was busy\n";
    end_process(why, sizeof why - 1);
  }
  press_count.fetch_add(1);
  sem_post(&presses);
}

std::atomic<bool> takes_interrupts{false}; // else they are the host program's
std::mutex handler_mutex;
int handler_users = 0;
bool handler_ours = false;

void watch() {
  for (;;) {
    while (sem_wait(&presses) != 0) {
    }
    for (int i = 0; i < 20 && (pressed.load() || still_busy()); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (pressed.load() || still_busy()) {
      constexpr char why[] =
          "\nperigee: ended 2 s after Ctrl-C: a task did not end, or the script did not come back to "
          "where it could be stopped\n";
      end_process(why, sizeof why - 1);
    }
  }
}

void use_handler() {
  const std::lock_guard lock(handler_mutex);
  if (handler_users++ > 0 || !takes_interrupts)
    return;
  struct sigaction old {};
  sigaction(SIGINT, nullptr, &old);
  if (old.sa_handler != SIG_DFL)
    return;
  static const bool watched = [] {
    sem_init(&presses, 0, 0);
    std::thread(watch).detach();
    return true;
  }();
  handler_ours = watched;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}

void leave_handler() {
  const std::lock_guard lock(handler_mutex);
  if (--handler_users > 0 || !handler_ours)
    return;
  handler_ours = false;
  pressed = false;
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGINT, &action, nullptr);
}

} // namespace

bool interrupted() {
  return pressed.load(std::memory_order_acquire);
}

bool take_interruption() {
  return pressed.exchange(false);
}

const Worker *current_worker() {
  return current;
}

void become_worker(const Worker *worker) {
  current = worker;
}

// ------------------------------------------------------------------------------------------------------ futures ------
Job::Job(Message m) : Shared(PG_SHARED_JOB), id(++last_id), message(std::move(m)) {}

Future::Future(uint64_t pool, Ref<Job> job, Message message)
    : Shared(PG_SHARED_FUTURE), pool(pool), job(std::move(job)), message(std::move(message)) {}

bool Future::claim() {
  int expected = pending;
  return state_.compare_exchange_strong(expected, running, std::memory_order_acq_rel);
}

bool Future::cancel() {
  const std::lock_guard lock(mutex_);
  int expected = pending;
  if (!state_.compare_exchange_strong(expected, cancelled, std::memory_order_acq_rel))
    return expected == cancelled;
  complete(cancelled);
  return true;
}

void Future::finish(Outcome &&outcome) {
  const std::lock_guard lock(mutex_);
  outcome_ = std::move(outcome);
  complete(outcome_.ok ? finished : failed);
}

void Future::complete(State state) {
  message.arrays.clear(); // what the task was sent is of no use any more
  message.shared.clear();
  job = {};
  state_.store(state, std::memory_order_release);
  for (const Entry &entry : listeners_)
    entry.listener(entry.user, entry.tag);
  listeners_.clear();
}

void Future::listen(Listener listener, void *user, uint64_t tag) {
  const std::lock_guard lock(mutex_);
  if (done())
    listener(user, tag);
  else
    listeners_.push_back({listener, user, tag});
}

void Future::forget(void *user) {
  const std::lock_guard lock(mutex_);
  std::erase_if(listeners_, [user](const Entry &entry) { return entry.user == user; });
}

// Runs a task on this thread; where it is checked for races, as a logical thread that knows what its submitter knew.
static Outcome run(Executor &executor, Future &task) {
  Participant *me = ThreadParticipant::current();
  if (!me || !me->race) [[likely]]
    return executor.run(task);
  RaceThread *const outer = me->race;
  if (task.clock.empty())
    task.clock = me->task_parent;
  const auto thread = race_begin("task " + std::to_string(task.number) + ", " + me->name, task.clock, task.pool);
  race_acquire(thread.get(), me->task_parent);
  me->race = thread.get();
  Outcome outcome = executor.run(task);
  me->race = outer;
  race_end(*thread, task.clock);
  if (outcome.ok && !thread->found.empty()) {
    outcome = {};
    outcome.error = describe_found(*thread);
  }
  return outcome;
}

// How deep tasks that wait for tasks may run each other: a level takes some KiB of the thread's stack.
constexpr int most_levels = 200;

// Runs a task of this worker's pool that has not begun.
static bool run_here(Future &future) {
  thread_local int level = 0;
  if (!current || !current->pool || current->pool->id != future.pool || future.state() != Future::pending)
    return false;
  if (level == most_levels)
    throw ArgumentError("more than " + std::to_string(most_levels) +
                        " tasks of one worker wait for each other; let a task do more by itself before it asks others");
  if (!future.claim())
    return false;
  struct Level {
    Level() { ++level; }
    ~Level() { --level; }
  } const one_more;
  try {
    future.finish(run(*current->executor, future));
  } catch (...) { // an error of Lua's on its way through: whoever else waits for this task must not wait for ever
    Outcome outcome;
    outcome.error = "the worker that ran this task while it waited for it could not";
    future.finish(std::move(outcome));
    throw;
  }
  return true;
}

// A worker of a pool that waits for a task, which others of the pool may see.
class Pool::Blocked {
 public:
  explicit Blocked(Pool *pool) : pool_(pool) {}
  ~Blocked() { set(false); }
  Blocked(const Blocked &) = delete;
  void set(bool blocked) {
    if (pool_ && blocked != set_)
      pool_->blocked_.fetch_add(blocked ? 1 : -1, std::memory_order_relaxed);
    set_ = blocked;
  }

 private:
  Pool *const pool_;
  bool set_ = false;
};

Waiter::~Waiter() {
  for (auto &[tag, future] : futures_)
    future->forget(this);
}

void Waiter::add(Ref<Future> future, uint64_t tag) {
  Future &added = *future;
  futures_.emplace(tag, std::move(future));
  waiting_only_ = false;
  added.listen(done, this, tag);
}

void Waiter::done(void *user, uint64_t tag) {
  auto *waiter = static_cast<Waiter *>(user);
  const std::lock_guard lock(waiter->mutex_);
  waiter->ready_.push_back(tag);
  ++waiter->version_;
  waiter->condition_.notify_one();
}

static double seconds_until(const Deadline &deadline) {
  return deadline ? std::chrono::duration<double>(*deadline - std::chrono::steady_clock::now()).count()
                  : std::numeric_limits<double>::infinity();
}

std::optional<uint64_t> Waiter::poll() {
  const std::lock_guard lock(mutex_);
  if (ready_.empty())
    return std::nullopt;
  const uint64_t tag = ready_.front();
  ready_.pop_front();
  futures_.erase(tag);
  return tag;
}

// Runs one of the tasks that has not begun, if this thread may.
bool Waiter::run_one() {
  for (auto &[tag, future] : futures_)
    if (run_here(*future))
      return true;
  return false;
}

std::optional<uint64_t> Waiter::next(const Deadline &deadline, Participant *me) {
  Pool *const pool = current ? current->pool : nullptr;
  std::optional<Waiting> waiting; // until after the lock is given back
  std::unique_lock lock(mutex_);
  if (ready_.empty() && pool && !deadline) {
    lock.unlock();
    run_one();
    lock.lock();
  }
  Pool::Blocked blocked(pool);
  while (ready_.empty()) {
    const auto now = std::chrono::steady_clock::now();
    if (interrupted() || (deadline && now >= *deadline))
      return std::nullopt;
    blocked.set(true);
    if (pool && deadline && !waiting_only_ && pool->all_blocked()) { // nobody is left who could begin it
      lock.unlock();
      waiting.reset();
      blocked.set(false);
      waiting_only_ = !run_one();
      lock.lock();
      continue;
    }
    if (me) {
      if (!waiting)
        waiting.emplace(*me, *this, seconds_until(deadline));
      if (!waiting->block(lock, condition_))
        return std::nullopt;
      continue;
    }
    condition_.wait_until(lock, deadline ? std::min(*deadline, now + glance) : now + glance);
  }
  const uint64_t tag = ready_.front();
  ready_.pop_front();
  if (waiting)
    waiting->proceed();
  lock.unlock();
  if (const auto entry = futures_.find(tag); entry != futures_.end()) {
    if (me)
      follows(*me, entry->second->clock);
    futures_.erase(entry);
  }
  waiting_only_ = false;
  return tag;
}

bool wait(Future &future, const Deadline &deadline, Participant *me) {
  auto known = [&] {
    if (me)
      follows(*me, future.clock);
    return true;
  };
  if (future.done())
    return known();
  const core::timeline::Span span("wait for a task", "wait");
  // With a time limit the task is left to others, so that the limit holds: see Waiter::next.
  if ((!deadline && run_here(future)) || look([&] { return future.done(); }))
    return known();
  Waiter waiter;
  waiter.add(Ref<Future>::share(&future), 0);
  return waiter.next(deadline, me).has_value();
}

// -------------------------------------------------------------------------------------------------------- pools ------
Pool::Pool(int workers, Factory factory, std::optional<Message> initialiser, WorkerMode how, Participant *opener)
    : Shared(PG_SHARED_POOL), id(++last_id), mode(std::move(how)), size_(workers),
      spins_(workers <= core::available_processors()), factory_(std::move(factory)),
      initialiser_(std::move(initialiser)) {
  use_handler();
  if (mode.check_races) {
    race_open();
    if (opener && !opener->race)
      opener->race = (opener->own_race = race_begin(opener->name, {})).get();
    if (opener)
      opened_ = race_now(*opener->race);
  }
}

Ref<Pool> Pool::open(int workers, Factory factory, std::optional<Message> initialiser, WorkerMode mode,
                     Participant *opener) {
  Ref<Pool> pool(new Pool(workers, std::move(factory), std::move(initialiser), std::move(mode), opener));
  for (int i = 1; i <= workers; ++i)
    pool->participants_.push_back(std::make_unique<Participant>("worker " + std::to_string(i), &pool->interrupt_));
  try {
    for (int i = 1; i <= workers; ++i) {
      pool->threads_.emplace_back([self = pool.get(), i] { self->work(i); });
      pool->end_.left.fetch_add(1);
    }
  } catch (const std::exception &e) {
    pool->shutdown(true);
    pool->join();
    throw UnsupportedError("only " + std::to_string(pool->threads_.size()) + " of " + std::to_string(workers) +
                           " threads could be started: " + e.what());
  }
  return pool;
}

Pool::~Pool() {
  shutdown(true);
  join();
  if (mode.check_races)
    race_close(id);
  leave_handler();
}

void Pool::submit(Ref<Future> future) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_)
      throw ArgumentError("the pool was shut down");
    if (!broken_.empty())
      throw ArgumentError("BrokenPool: " + broken_);
    future->number = ++submitted_;
    queue_.push_back(std::move(future));
    queued_.fetch_add(1, std::memory_order_release);
    wake = sleeping_ > 0;
  }
  if (wake)
    condition_.notify_one();
}

void Pool::shutdown(bool cancel) {
  std::deque<Ref<Future>> dropped;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (cancel) {
      dropped.swap(queue_);
      queued_ = 0;
    }
  }
  condition_.notify_all();
  for (auto &future : dropped)
    future->cancel();
}

void Pool::wait_end(Participant &me) {
  Waiting waiting(me, end_, std::numeric_limits<double>::infinity());
  std::unique_lock lock(mutex_);
  while (end_.left.load() > 0)
    waiting.block(lock, ended_);
  waiting.proceed();
}

void Pool::let_go(Participant *me, const std::function<void(const std::string &busy)> &tell) {
  shutdown(true);
  interrupt();
  std::optional<Waiting> waiting; // so that tasks that wait for what only this participant could do are told
  if (me) {
    waiting.emplace(*me, end_, std::numeric_limits<double>::infinity(), Waiting::Mode::idle);
    waiting->stay();
  }
  std::unique_lock lock(mutex_);
  if (!ended_.wait_for(lock, patience, [this] { return end_.left.load() == 0; })) {
    std::string busy;
    {
      const std::lock_guard registry(workers_mutex);
      for (const Worker *worker : workers)
        if (worker->pool == this && worker->began.load(std::memory_order_relaxed) != 0)
          busy += (busy.empty() ? "" : ", ") + std::to_string(worker->number);
    }
    lock.unlock();
    if (!busy.empty())
      tell(busy);
  } else {
    lock.unlock();
  }
  join();
}

void Pool::join() {
  const std::lock_guard lock(join_mutex_);
  for (auto &thread : threads_)
    if (thread.joinable())
      thread.join();
}

std::string Pool::broken() {
  const std::lock_guard lock(mutex_);
  return broken_;
}

// A task to run, claimed; none when the pool is closed and empty.
Ref<Future> Pool::take(Executor &executor) {
  bool rested = false;
  for (;;) {
    if (spins_)
      look([this] { return queued_.load(std::memory_order_acquire) > 0 || closed_.load(std::memory_order_acquire); });
    Ref<Future> future;
    {
      std::optional<Waiting> idle; // until after the lock is given back
      std::unique_lock lock(mutex_);
      while (queue_.empty() && !closed_) {
        ++sleeping_;
        if (rested) {
          if (!idle)
            idle.emplace(*ThreadParticipant::current(), *this, std::numeric_limits<double>::infinity(),
                         Waiting::Mode::idle);
          idle->block(lock, condition_);
        } else if (condition_.wait_for(lock, nap) == std::cv_status::timeout && queue_.empty() && !closed_) {
          --sleeping_;
          lock.unlock();
          executor.rest();
          rested = true;
          lock.lock();
          continue;
        }
        --sleeping_;
      }
      if (idle)
        idle->proceed();
      if (queue_.empty())
        return {};
      future = std::move(queue_.front());
      queue_.pop_front();
      queued_.fetch_sub(1, std::memory_order_relaxed);
    }
    if (future->claim())
      return future;
  }
}

void Pool::fail_all(const std::string &reason) {
  std::deque<Ref<Future>> dropped;
  {
    const std::lock_guard lock(mutex_);
    broken_ = reason;
    dropped.swap(queue_);
    queued_ = 0;
  }
  for (auto &future : dropped)
    if (future->claim()) {
      Outcome outcome;
      outcome.broken = true;
      outcome.error = "BrokenPool: " + reason;
      future->finish(std::move(outcome));
    }
}

void Pool::work(int number) {
  std::string reason;
  try {
    Worker worker;
    worker.pool = this;
    worker.number = number;
    core::timeline::name_thread("worker " + std::to_string(number));
    const Listed listed(&worker);
    Participant &participant = *participants_[static_cast<size_t>(number - 1)];
    const ThreadParticipant of_thread(participant);
    participant.gil = mode.gil.get();
    if (mode.check_races)
      participant.race = (participant.own_race = race_begin(participant.name, opened_)).get();
    std::unique_ptr<Executor> executor;
    auto begin = [&] {
      executor = factory_(*this, number);
      worker.executor = executor.get();
      current = &worker;
      if (initialiser_) {
        const Future task(id, {}, initialiser_->copy());
        const GilHeld held(mode.gil.get());
        const Outcome outcome = executor->run(task);
        if (!outcome.ok)
          throw ArgumentError("the initialiser failed: " + outcome.error);
      }
      if (participant.race) // tasks follow the initialiser
        participant.task_parent = race_now(*participant.race);
    };
    begin();
    while (Ref<Future> task = take(*executor)) {
      if (interrupted()) {
        Outcome outcome;
        outcome.error = "interrupted by Ctrl-C before it began";
        task->finish(std::move(outcome));
        continue;
      }
      worker.began.store(press_count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      Outcome outcome;
      {
        const GilHeld held(mode.gil.get());
        try {
          outcome = run(*executor, *task);
        } catch (const std::exception &e) { // an executor's own failure
          outcome = {};
          outcome.error = e.what();
        }
      }
      if (mode.check_races) {
        const std::lock_guard lock(mutex_);
        race_merge(clock, task->clock);
      }
      task->finish(std::move(outcome));
      worker.began.store(0, std::memory_order_relaxed);
      participant.end_task();
      task = {};
      if (!executor->alive()) {
        executor.reset();
        begin();
      }
    }
    executor.reset();
  } catch (const std::exception &e) {
    reason = "worker " + std::to_string(number) + ": " + e.what();
  }
  current = nullptr;
  if (!reason.empty())
    fail_all(reason);
  {
    const std::lock_guard lock(mutex_);
    end_.left.fetch_sub(1);
    ended_.notify_all();
  }
  // After that: who waits for the end may not find nobody left to bring it about.
  participants_[static_cast<size_t>(number - 1)].reset();
}

} // namespace perigee::parallel

void pg_interrupts_take(void) {
  perigee::parallel::takes_interrupts = true;
}
int32_t pg_interrupts_taken(void) {
  return perigee::parallel::takes_interrupts;
}

void pg_future_listen(void *future, void (*listener)(void *user, uint64_t tag), void *user, uint64_t tag) {
  using namespace perigee::parallel;
  static_cast<Future *>(static_cast<Shared *>(future))->listen(listener, user, tag);
}

void pg_future_forget(void *future, void *user) {
  using namespace perigee::parallel;
  static_cast<Future *>(static_cast<Shared *>(future))->forget(user);
}
