// Pools of workers, and futures: what is alike for workers that are threads with a Lua state and workers that are
// processes. A pool has one thread for each worker, and each such thread an Executor, which runs tasks one after
// another: in its own Lua state (pool_lua.cpp), or by sending them to a process and waiting for the answer. Nothing
// here knows Lua.
#pragma once

#include "parallel/shared.hpp"
#include "parallel/transport.hpp"
#include "parallel/waiting.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace perigee::parallel {

// How a task ended.
struct Outcome {
  bool ok = false;
  bool broken = false;   // the worker died, not the task's own error
  Message value;         // the results; of an error that is no string, its value
  std::string error;     // "file:line: what went wrong", where the error is a string
  std::string traceback; // the worker's
};

// What the tasks of one map or loop share: a message whose first value is a function that makes the runner of the
// others. Workers call it once, and the runner for each task. Jobs have ids so that executors can keep runners.
class Job : public Shared {
 public:
  explicit Job(Message message);
  const uint64_t id;
  const Message message;
};

using Deadline = std::optional<std::chrono::steady_clock::time_point>;

// A task and its result.
class Future : public Shared {
 public:
  enum State : int { pending, running, finished, failed, cancelled };

  // Without a job, the message's first value is the function to call and the others its arguments.
  Future(uint64_t pool, Ref<Job> job, Message message);

  State state() const { return static_cast<State>(state_.load(std::memory_order_acquire)); }
  bool done() const { return state() >= finished; }
  bool cancel();
  // Whoever claims it runs it: true once.
  bool claim();
  void finish(Outcome &&outcome);
  // Of one that is done.
  const Outcome &outcome() const { return outcome_; }

  // Calls listener(user, tag) when it is done, on the thread that ends it, under this future's lock: for notifications,
  // which must be short. At once where it is done already.
  using Listener = void (*)(void *user, uint64_t tag);
  void listen(Listener listener, void *user, uint64_t tag);
  // After this, no call for `user` is under way or to come.
  void forget(void *user);

  const uint64_t pool; // id of the pool that runs it
  uint64_t number = 0; // of those submitted to its pool
  // Gone when it is done.
  Ref<Job> job;
  Message message;

 private:
  struct Entry {
    Listener listener;
    void *user;
    uint64_t tag;
  };
  void complete(State state);

  std::mutex mutex_;
  std::atomic<int> state_{pending};
  Outcome outcome_;
  std::vector<Entry> listeners_;
};

// Collects the futures of a set as they are done. Not to be moved while it listens.
class Waiter final : public Waitable {
 public:
  Waiter() = default;
  Waiter(const Waiter &) = delete;
  ~Waiter();
  void add(Ref<Future> future, uint64_t tag);
  // The next tag, or none after the deadline or at an interruption. As wait(), it runs tasks that have not begun.
  // `me`, who waits, may be NULL.
  std::optional<uint64_t> next(const Deadline &deadline, Participant *me = nullptr);
  // The next tag if there is one now; neither runs nor notices anything.
  std::optional<uint64_t> poll();

  std::string waited_for() const override { return "the result of a task"; }
  bool passive() const override { return true; }
  uint64_t version() const override { return version_.load(std::memory_order_acquire); }

 private:
  static void done(void *user, uint64_t tag);
  bool run_one();
  std::unordered_map<uint64_t, Ref<Future>> futures_;
  bool waiting_only_ = false; // all of the futures have begun
  std::mutex mutex_;
  std::condition_variable condition_;
  std::deque<uint64_t> ready_;
  std::atomic<uint64_t> version_{1};
};

// Runs tasks, on the thread of its worker.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual Outcome run(const Future &task) = 0;
  // Whether the executor can go on; where not, the pool makes another in its place.
  virtual bool alive() const { return true; }
  // There has been no task for a moment: time to clean up.
  virtual void rest() {}
};

// How workers differ from those that just run.
struct WorkerMode {
  bool shares_memory = true; // a worker writes into arrays that it was sent, and others see it
  bool check_races = false;
  std::shared_ptr<Gil> gil; // NULL: none
};

class Pool final : public Shared, public Waitable {
 public:
  // Makes the executor of the worker with this number, from 1, on its thread. Throws where it cannot.
  using Factory = std::function<std::unique_ptr<Executor>(Pool &pool, int worker)>;

  static Ref<Pool> open(int workers, Factory factory, std::optional<Message> initialiser, WorkerMode mode = {},
                        Participant *opener = nullptr);
  ~Pool() override;

  // Throws ArgumentError after shutdown.
  void submit(Ref<Future> future);
  // No more tasks; with `cancel`, those that wait are cancelled. join() returns when the workers have ended; it may not
  // be called by one of them.
  void shutdown(bool cancel);
  // Ends the waits of tasks that run with an error.
  void interrupt() { interrupt_ = 1; }
  void join();
  // Waits as a script does until the workers of a pool that was shut down have ended: throws where that is interrupted
  // or in vain.
  void wait_end(Participant &me);
  // The end of a pool that nobody will use again: cancels, interrupts and joins. Where that takes seconds it tells
  // which workers still run tasks. `me`, who waits, may be NULL.
  void let_go(Participant *me, const std::function<void(const std::string &busy)> &tell);
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  int size() const { return size_; }
  // Why it runs nothing any more, "" where it does.
  std::string broken();

  // Whether each worker waits for a task of some pool.
  bool all_blocked() const { return blocked_.load(std::memory_order_relaxed) >= size_; }
  class Blocked; // counts one that does

  // What idle workers wait for.
  std::string waited_for() const override { return "a task to run"; }
  bool passive() const override { return true; }
  // Not a count: of several idle workers, a task wakes one, and the others do not look.
  uint64_t version() const override { return queued_.load(std::memory_order_acquire) > 0 || closed() ? 2 : 1; }

  const uint64_t id;
  const WorkerMode mode;

 private:
  Pool(int workers, Factory factory, std::optional<Message> initialiser, WorkerMode mode, Participant *opener);
  void work(int worker);
  Ref<Future> take(Executor &executor);
  void fail_all(const std::string &reason);

  const int size_;
  const bool spins_; // whether there is a processor for each worker
  const Factory factory_;
  std::optional<Message> initialiser_;
  std::mutex mutex_;
  std::condition_variable condition_;
  std::deque<Ref<Future>> queue_;
  std::atomic<int64_t> queued_{0};
  uint64_t submitted_ = 0;
  std::atomic<bool> closed_{false};
  std::atomic<uint64_t> version_{1};  // changes with what idle workers look for
  VectorClock opened_;                // what happened before
  std::atomic<int32_t> interrupt_{0}; // not 0: tasks stop waiting
  int sleeping_ = 0;
  struct End final : Waitable {
    std::atomic<int64_t> left{0}; // workers that have not ended
    std::string waited_for() const override { return "the tasks of a pool to end"; }
    bool passive() const override { return true; }
    uint64_t version() const override { return static_cast<uint64_t>(left.load(std::memory_order_acquire)) + 1; }
  } end_;
  std::condition_variable ended_;
  std::atomic<int> blocked_{0};
  std::string broken_;
  std::mutex join_mutex_;
  // One a worker, from before its thread starts: until a worker idles, it is one that goes on.
  std::vector<std::unique_ptr<Participant>> participants_;
  std::vector<std::thread> threads_;
};

// The worker that the calling thread is.
struct Worker {
  Pool *pool = nullptr;
  Executor *executor = nullptr;
  int number = 0;
  std::atomic<uint64_t> began{0}; // while it runs a task: how often Ctrl-C had been pressed when that began, + 1
};
const Worker *current_worker();
// Makes the calling thread one whose pool is elsewhere, in the process that started this one.
void become_worker(const Worker *worker);

// Waits until the future is done; false after the deadline or at an interruption. A task that waits for one of its own
// pool that has not begun runs that one itself, as if it called the function (`run`): no worker waits for a task that
// no worker is left to run. With a deadline it does so only where all workers wait; nobody is left then to begin the
// task in time.
bool wait(Future &future, const Deadline &deadline, Participant *me = nullptr);

// ------------------------------------------------------------------------------------------------------ Ctrl-C -------
// Whether Ctrl-C was pressed: waiting ends, tasks are not begun.
bool interrupted();
// Takes notice of it: whoever raises the error.
bool take_interruption();

} // namespace perigee::parallel
