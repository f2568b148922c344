// Locks and meeting points between threads. The threads here are participants as Lua states are; nothing depends on how
// fast they are.
#include "parallel/sync.hpp"

#include <catch2/catch.hpp>

#include <array>
#include <functional>
#include <thread>

using namespace perigee;
using namespace perigee::parallel;

namespace {

constexpr double for_ever = std::numeric_limits<double>::infinity();

// Runs body(participant, number from 0) on n threads at once; returns their errors' messages, "" for none.
std::vector<std::string> run(int n, const std::function<void(Participant &, int)> &body,
                             std::atomic<int32_t> *interrupt = nullptr) {
  std::vector<std::string> errors(static_cast<size_t>(n));
  std::vector<std::unique_ptr<Participant>> participants;
  for (int i = 0; i < n; ++i) { // all are there before one looks whether it is alone
    participants.push_back(std::make_unique<Participant>("worker " + std::to_string(i + 1), interrupt));
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i)
    threads.emplace_back([&, i] {
      try {
        body(*participants[static_cast<size_t>(i)], i);
      } catch (const Error &e) {
        errors[static_cast<size_t>(i)] = e.what();
      }
      participants[static_cast<size_t>(i)].reset();
    });
  for (std::thread &thread : threads)
    thread.join();
  return errors;
}

// For what runs on several threads at once, where Catch's own checks must not be used.
void expect(bool fine, const char *what) {
  if (!fine)
    throw InternalError(what);
}

void none(const std::vector<std::string> &errors) {
  for (const std::string &error : errors)
    CHECK(error == "");
}

int count_of(const std::vector<std::string> &errors, const std::string &part) {
  int count = 0;
  for (const std::string &error : errors)
    count += error.find(part) != std::string::npos;
  return count;
}

} // namespace

TEST_CASE("a mutex keeps others out", "[parallel]") {
  Ref<Mutex> mutex(new Mutex);
  int64_t total = 0;
  none(run(4, [&](Participant &me, int) {
    for (int i = 0; i < 20000; ++i) {
      mutex->lock(me, for_ever);
      ++total;
      mutex->unlock(me);
    }
  }));
  CHECK(total == 80000);
}

TEST_CASE("a mutex is for its holder to unlock", "[parallel]") {
  Ref<Mutex> mutex(new Mutex);
  Participant me("the main script");
  CHECK(mutex->try_lock(me) == 1);
  CHECK(mutex->try_lock(me) == -1);
  CHECK_THROWS_WITH(mutex->lock(me, 0), Catch::Contains("locked by the main script already"));
  CHECK(count_of(run(1, [&](Participant &other, int) { mutex->unlock(other); }), "locked by the main script") == 1);
  none(run(1, [&](Participant &other, int) {
    CHECK(mutex->try_lock(other) == 0);
    CHECK_FALSE(mutex->lock(other, 0));
    CHECK_FALSE(mutex->lock(other, 0.01));
  }));
  mutex->unlock(me);
  CHECK_THROWS_WITH(mutex->unlock(me), "this mutex is not locked");
}

TEST_CASE("a task that ends with a lock held leaves an error", "[parallel]") {
  Ref<Mutex> mutex(new Mutex);
  Ref<RwLock> rwlock(new RwLock);
  Participant me("the main script");
  none(run(1, [&](Participant &other, int) {
    mutex->lock(other, for_ever);
    rwlock->lock(other, false, for_ever);
    other.end_task();
    CHECK_THROWS_WITH(mutex->unlock(other), Catch::Contains("a task that has ended"));
    CHECK_THROWS_WITH(mutex->lock(other, for_ever), Catch::Contains("ended without unlocking"));
  }));
  CHECK_THROWS_WITH(mutex->lock(me, for_ever), Catch::Contains("ended without unlocking"));
  CHECK_THROWS_WITH(rwlock->lock(me, true, for_ever), Catch::Contains("ended without unlocking"));
}

TEST_CASE("locks taken in a circle are an error that names it", "[parallel]") {
  Ref<Mutex> one(new Mutex), two(new Mutex);
  Ref<Barrier> both(new Barrier(2));
  Participant idle("idle"); // somebody who does something else: not all are stuck
  std::atomic<int> done{0};
  const auto errors = run(2, [&](Participant &me, int i) {
    Mutex &mine = i == 0 ? *one : *two, &others = i == 0 ? *two : *one;
    mine.lock(me, for_ever);
    both->wait(me, for_ever);
    pg_participant_at(&me, i == 0 ? "race.lua:1" : "race.lua:2");
    try {
      others.lock(me, for_ever);
      others.unlock(me);
    } catch (...) {
      mine.unlock(me);
      throw;
    }
    mine.unlock(me);
    ++done;
  });
  CHECK(count_of(errors, "deadlock: ") == 1); // the other can then go on
  CHECK(count_of(errors, "worker 1 waits for a mutex that worker 2 holds (race.lua:1)") == 1);
  CHECK(count_of(errors, "worker 2 waits for a mutex that worker 1 holds (race.lua:2)") == 1);
  CHECK(done == 1);
}

TEST_CASE("where nobody can go on, one is told", "[parallel]") {
  Ref<Event> event(new Event);
  Ref<Barrier> barrier(new Barrier(3));
  const auto errors = run(3, [&](Participant &me, int i) {
    if (i == 0)
      event->wait(me, for_ever);
    else
      barrier->wait(me, for_ever);
  });
  CHECK(count_of(errors, "deadlock: ") >= 1);
  CHECK(count_of(errors, "waits for an event to be set") >= 1);
  for (const std::string &error : errors)
    CHECK(error != "");
}

TEST_CASE("a barrier of many more than there are cores", "[parallel]") {
  const int n = 4 * static_cast<int>(std::max(4u, std::thread::hardware_concurrency()));
  Ref<Barrier> barrier(new Barrier(n));
  std::atomic<int> arrived{0};
  std::vector<std::atomic<int>> places(static_cast<size_t>(n));
  none(run(n, [&](Participant &me, int) {
    for (int round = 1; round <= 20; ++round) {
      ++arrived;
      ++places[static_cast<size_t>(barrier->wait(me, for_ever) - 1)];
      expect(arrived >= round * n, "the barrier let somebody through early");
      barrier->wait(me, for_ever);
    }
  }));
  for (auto &place : places)
    CHECK(place == 20);
  CHECK(barrier->waiting() == 0);
}

TEST_CASE("a barrier breaks for all", "[parallel]") {
  Ref<Barrier> barrier(new Barrier(3));
  auto errors = run(3, [&](Participant &me, int i) {
    if (i < 2) {
      barrier->wait(me, for_ever);
    } else {
      while (barrier->waiting() < 2)
        std::this_thread::yield();
      barrier->abort();
    }
  });
  CHECK(count_of(errors, "the barrier is broken") == 2);
  CHECK(barrier->broken());
  barrier->reset();
  none(run(3, [&](Participant &me, int) { barrier->wait(me, for_ever); }));
  errors = run(2, [&](Participant &me, int i) {
    if (i == 0)
      barrier->wait(me, for_ever);
    while (barrier->waiting() < 1 && !barrier->broken())
      std::this_thread::yield();
    barrier->wait(me, 0.001); // of three, one never comes
  });
  CHECK(count_of(errors, "the barrier was left when time was up") == 1);
  CHECK(count_of(errors, "the barrier is broken") == 1);
}

TEST_CASE("readers together, writers alone", "[parallel]") {
  Ref<RwLock> lock(new RwLock);
  Ref<Barrier> together(new Barrier(4));
  none(run(4, [&](Participant &me, int) {
    lock->lock(me, false, for_ever);
    together->wait(me, for_ever); // all four read at once
    lock->unlock(me, false);
  }));
  int64_t a = 0, b = 0;
  none(run(4, [&](Participant &me, int i) {
    for (int k = 0; k < 2000; ++k) {
      if (i < 2) {
        lock->lock(me, true, for_ever);
        ++a;
        ++b;
        lock->unlock(me, true);
      } else {
        lock->lock(me, false, for_ever);
        const bool same = a == b;
        lock->unlock(me, false);
        expect(same, "a writer was not alone");
      }
    }
  }));
  CHECK(a == 4000);
  Participant me("the main script");
  lock->lock(me, false, for_ever);
  CHECK_THROWS_WITH(lock->lock(me, true, 0), Catch::Contains("wait for itself to stop reading"));
  CHECK_THROWS_WITH(lock->unlock(me, true), Catch::Contains("not locked for writing"));
  lock->unlock(me, false);
}

TEST_CASE("a semaphore lets so many in", "[parallel]") {
  Ref<Semaphore> semaphore(new Semaphore(2));
  std::atomic<int> inside{0}, most{0};
  none(run(6, [&](Participant &me, int) {
    for (int i = 0; i < 500; ++i) {
      semaphore->acquire(me, for_ever);
      const int now = ++inside;
      int before = most;
      while (now > before && !most.compare_exchange_weak(before, now)) {
      }
      --inside;
      semaphore->post(me, 1);
    }
  }));
  CHECK(most <= 2);
  CHECK(semaphore->value() == 2);
}

TEST_CASE("conditions wake as many as they are told to", "[parallel]") {
  Ref<Mutex> mutex(new Mutex);
  Ref<Condition> condition(new Condition(mutex));
  int waiting = 0, woken = 0;
  none(run(5, [&](Participant &me, int i) {
    if (i < 4) {
      mutex->lock(me, for_ever);
      ++waiting;
      expect(condition->wait(me, for_ever), "woken without a notification");
      ++woken;
      mutex->unlock(me);
      return;
    }
    auto until = [&](const int &counter, int value) {
      for (;;) {
        mutex->lock(me, for_ever);
        const bool there = counter == value;
        mutex->unlock(me);
        if (there)
          return;
        std::this_thread::yield();
      }
    };
    auto notify = [&](int count) {
      mutex->lock(me, for_ever);
      condition->notify(me, count);
      mutex->unlock(me);
    };
    until(waiting, 4);
    notify(1);
    until(woken, 1);
    notify(2);
    until(woken, 3);
    notify(-1);
    until(woken, 4);
  }));
  Participant me("the main script");
  CHECK_THROWS_WITH(condition->wait(me, 0), Catch::Contains("with its mutex locked"));
  mutex->lock(me, for_ever);
  CHECK_FALSE(condition->wait(me, 0.001));
  CHECK(mutex->held_by(me));
  mutex->unlock(me);
}

TEST_CASE("waits can be interrupted", "[parallel]") {
  std::atomic<int32_t> stop{0};
  Participant other("another");
  Ref<Event> event(new Event);
  Ref<Latch> there(new Latch(3));
  std::thread stopper([&] {
    there->wait(other, for_ever);
    stop = 1;
  });
  const auto errors = run(
      3,
      [&](Participant &me, int) {
        there->count_down(me, 1);
        event->wait(me, for_ever);
      },
      &stop);
  stopper.join();
  CHECK(count_of(errors, "the pool was shut down") == 3);
}

TEST_CASE("shared objects live as long as a reference", "[parallel]") {
  struct Probe final : Shared {
    explicit Probe(int &alive) : Shared(PG_SHARED_EVENT), alive(alive) { ++alive; }
    ~Probe() override { --alive; }
    int &alive;
  };
  int alive = 0;
  pg_shared in_lua{};
  hand_over(&in_lua, Ref(new Probe(alive)));
  CHECK(in_lua._kind == PG_SHARED_EVENT);
  {
    auto message = Ref<Shared>::share(static_cast<Shared *>(in_lua._object));
    Ref<Shared> copy = message;
    pg_shared_release(&in_lua);
    pg_shared_release(&in_lua);
    CHECK(in_lua._object == nullptr);
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("atomic operations lose nothing", "[parallel]") {
  std::array<double, 2> doubles{};
  std::array<int32_t, 2> ints{};
  std::array<uint8_t, 8> bytes{};
  pg_shared counter{};
  REQUIRE(pg_atomic_create(&counter, PG_SHARED_ATOMIC, 5) == PG_OK);
  none(run(4, [&](Participant &me, int i) {
    for (int k = 1; k <= 5000; ++k) {
      pg_atomic_apply(doubles.data(), PG_FLOAT64, 1, PG_ATOMIC_ADD, 0.5);
      pg_atomic_apply(ints.data(), PG_INT32, 1, PG_ATOMIC_MAX, i * 5000 + k);
      pg_atomic_apply(bytes.data(), PG_UINT8, 3, PG_ATOMIC_ADD, 1);
      pg_atomic_number(counter._object, &me, PG_ATOMIC_ADD, 2);
      for (double before = 0; !pg_atomic_compare_exchange(ints.data(), PG_INT32, 0, &before, before + 1);) {
      }
    }
  }));
  CHECK(doubles == std::array<double, 2>{0, 10000});
  CHECK(ints == std::array<int32_t, 2>{20000, 20000});
  CHECK(bytes == std::array<uint8_t, 8>{0, 0, 0, 20000 % 256});
  CHECK(pg_atomic_number(counter._object, nullptr, PG_ATOMIC_LOAD, 0) == 40005);
  pg_shared_release(&counter);
}
