// The race detector: what is a race follows from what is ordered, not from what ran when, so one thread can play all.
#include "parallel/races.hpp"

#include <catch2/catch.hpp>

using namespace perigee::parallel;

namespace {

// Checking from here on, forgotten at the end.
struct Checking {
  Checking() { race_open(); }
  ~Checking() { race_close(0); }
};

struct Task {
  explicit Task(std::string name, const VectorClock &parent = {}) : thread(race_begin(std::move(name), parent)) {}
  ~Task() {
    if (thread)
      end();
  }
  VectorClock end() {
    VectorClock clock;
    race_end(*thread, clock);
    thread.reset();
    return clock;
  }
  int64_t read(const double &x, const char *where) {
    return found([&] { race_access(*thread, &x, sizeof x, Access::read, where); });
  }
  int64_t write(const double &x, const char *where) {
    return found([&] { race_access(*thread, &x, sizeof x, Access::write, where); });
  }
  int64_t atomic(const double &x, const char *where) {
    return found([&] { race_atomic(*thread, &x, sizeof x, where); });
  }
  // Number, from 0 in this test, of the first race that was not known before; -1: none.
  template <class Body> int64_t found(Body &&body) {
    const size_t before = thread->unnamed.size();
    body();
    const size_t added = thread->unnamed.size() - before;
    return added ? static_cast<int64_t>(races_found().size() - added) : -1;
  }
  std::unique_ptr<RaceThread> thread;
};

} // namespace

TEST_CASE("two tasks that nothing orders race", "[parallel][races]") {
  const Checking checking;
  alignas(8) double x[4]{};
  Task one("worker 1"), two("worker 1"); // though one worker runs both
  CHECK(one.write(x[0], "a.lua:1") == -1);
  CHECK(two.write(x[1], "a.lua:1") == -1);
  CHECK(two.read(x[0], "a.lua:2") == 0);
  CHECK(two.read(x[0], "a.lua:2") == -1); // known
  CHECK(two.write(x[0], "a.lua:3") == 1);
  CHECK(one.read(x[2], "a.lua:4") == -1);
  CHECK(two.read(x[2], "a.lua:4") == -1); // reads do not conflict
  CHECK(one.write(x[2], "a.lua:5") == 2); // with the other's read
  const auto races = races_found();
  REQUIRE(races.size() == 3);
  CHECK(races[0].count == 2);
  CHECK(describe(races[0]) ==
        "an element is written at a.lua:1 (worker 1) and read at a.lua:2 (worker 1) with nothing to "
        "order the two");
  CHECK(one.thread->found.size() == 1);
  CHECK(two.thread->found.size() == 2);
  race_name(*one.thread, "element [3] of 'x'");
  CHECK(races_found()[2].element == "element [3] of 'x'");
  CHECK(races_found()[1].element == "");
  CHECK(describe_found(*one.thread).starts_with("race: element [3] of 'x' is read at a.lua:4 (worker 1) and written"));
}

TEST_CASE("what orders tasks", "[parallel][races]") {
  const Checking checking;
  double x = 0;
  VectorClock lock, end;
  Task main("the main script");
  CHECK(main.write(x, "m:1") == -1);
  {
    Task one("worker 1", race_now(*main.thread)), two("worker 2", race_now(*main.thread)); // submitting
    CHECK(one.read(x, "m:2") == -1);
    CHECK(two.read(x, "m:2") == -1);
    for (Task *task : {&one, &two}) { // a lock
      race_acquire(task->thread.get(), lock);
      task->read(x, "m:3");
      race_release(task->thread.get(), lock);
    }
    end = one.end();
    const VectorClock other = two.end();
    race_acquire(main.thread.get(), end);
    CHECK(main.write(x, "m:4") == 0); // only one of them was waited for
    race_acquire(main.thread.get(), other);
    CHECK(main.write(x, "m:4") == -1);
  }
  Task three("worker 1", race_now(*main.thread));
  CHECK(three.write(x, "m:5") == -1);
  CHECK(races_found().size() == 1);
}

TEST_CASE("atomic operations order, and conflict with plain accesses", "[parallel][races]") {
  const Checking checking;
  alignas(8) double x[2]{};
  Task one("worker 1"), two("worker 2");
  CHECK(one.atomic(x[0], "a:1") == -1);
  CHECK(two.atomic(x[0], "a:1") == -1);
  CHECK(one.write(x[1], "a:2") == -1);
  CHECK(one.atomic(x[0], "a:3") == -1); // publishes it
  CHECK(two.atomic(x[0], "a:4") == -1);
  CHECK(two.read(x[1], "a:5") == -1);
  CHECK(two.write(x[0], "a:6") == -1); // after all of them
  CHECK(one.atomic(x[0], "a:7") == 0);
  CHECK(races_found()[0].first == Access::write);
  CHECK(races_found()[0].second == Access::atomic);
}

TEST_CASE("memory that was given back holds no past", "[parallel][races]") {
  const Checking checking;
  alignas(4096) static double x[1024]{};
  Task one("worker 1"), two("worker 2");
  for (double &element : x)
    one.write(element, "a:1");
  race_forget(x + 1, 1022 * 8);
  for (int i = 1; i < 1023; ++i)
    CHECK(two.write(x[i], "a:2") == -1);
  CHECK(two.write(x[0], "a:3") == 0);
  CHECK(two.write(x[1023], "a:4") == 1);
}

TEST_CASE("elements of several sizes in one memory", "[parallel][races]") {
  const Checking checking;
  alignas(8) float x[4]{};
  Task one("worker 1"), two("worker 2");
  race_access(*one.thread, &x[0], 8, Access::write, "a:1");
  CHECK(two.found([&] { race_access(*two.thread, &x[1], 4, Access::write, "a:2"); }) == 0);
  CHECK(two.found([&] { race_access(*two.thread, &x[2], 4, Access::write, "a:3"); }) == -1);
  CHECK(one.found([&] { race_access(*one.thread, &x[2], 8, Access::read, "a:4"); }) == 1);
}

TEST_CASE("ids of tasks that are over are used again where that hides nothing", "[parallel][races]") {
  const Checking checking;
  double x = 0;
  Task main("the main script");
  uint32_t most = 0;
  for (int i = 0; i < 5000; ++i) {
    Task task("worker 1", race_now(*main.thread));
    CHECK(task.write(x, "a:1") == -1);
    most = std::max(most, task.thread->id);
    race_acquire(main.thread.get(), task.end());
  }
  CHECK(most < 40);
  std::vector<VectorClock> ends;
  for (int i = 0; i < 3000; ++i) { // more than there are ids
    Task task("worker 1", race_now(*main.thread));
    ends.push_back(task.end());
  }
  CHECK(ends.back().size() <= 1100);
}
