// Pools and futures with executors that are no Lua states; messages; pools of Lua states by the C API.
#include "parallel/pool.hpp"
#include "parallel/transport_lua.hpp"

#include "core/status.hpp"

#include <catch2/catch.hpp>
#include <perigee/perigee.h>

#include <cstring>
#include <numeric>

using namespace perigee::parallel;

namespace {

Message message_of(double x) {
  Message message;
  message.bytes.append(&x, sizeof x);
  return message;
}
double number_in(const Message &message) {
  double x;
  REQUIRE(message.bytes.size() == sizeof x);
  std::memcpy(&x, message.bytes.data(), sizeof x);
  return x;
}

// Doubles a number; fails at negative ones, dies at 1000, waits for the gate at 0.
struct Gate {
  std::mutex mutex;
  std::condition_variable condition;
  bool open = false;
  std::atomic<int> waiting{0};
  void wait() {
    std::unique_lock lock(mutex);
    ++waiting;
    condition.wait(lock, [this] { return open; });
  }
  void release() {
    const std::lock_guard lock(mutex);
    open = true;
    condition.notify_all();
  }
};

class Doubler final : public Executor {
 public:
  explicit Doubler(Gate &gate, std::atomic<int> &made) : gate_(gate) { ++made; }
  Outcome run(const Future &task) override {
    const double x = number_in(task.message);
    Outcome outcome;
    if (x == 0)
      gate_.wait();
    if (x < 0) {
      outcome.error = "negative";
    } else if (x == 1000) {
      alive_ = false;
      outcome.broken = true;
      outcome.error = "died";
    } else {
      outcome.ok = true;
      outcome.value = message_of(2 * x);
    }
    return outcome;
  }
  bool alive() const override { return alive_; }

 private:
  Gate &gate_;
  bool alive_ = true;
};

struct Fixture {
  Gate gate;
  std::atomic<int> made{0};
  Ref<Pool> pool;
  explicit Fixture(int workers) {
    pool = Pool::open(
        workers, [this](Pool &, int) { return std::make_unique<Doubler>(gate, made); }, std::nullopt);
  }
  ~Fixture() {
    gate.release();
    pool->shutdown(true);
    pool->join();
  }
  Ref<Future> submit(double x) {
    Ref<Future> future(new Future(pool->id, {}, message_of(x)));
    pool->submit(future);
    return future;
  }
};

} // namespace

TEST_CASE("tasks of a pool end with their results or errors", "[parallel]") {
  Fixture f(3);
  std::vector<Ref<Future>> futures;
  for (int i = 1; i < 500; ++i)
    futures.push_back(f.submit(i % 7 == 0 ? -1 : i));
  for (int i = 1; i < 500; ++i) {
    Future &future = *futures[size_t(i) - 1];
    REQUIRE(wait(future, std::nullopt));
    if (i % 7 == 0) {
      REQUIRE(future.state() == Future::failed);
      REQUIRE(future.outcome().error == "negative");
    } else {
      REQUIRE(future.state() == Future::finished);
      REQUIRE(number_in(future.outcome().value) == 2 * i);
    }
  }
}

TEST_CASE("a task that has not begun can be cancelled, once", "[parallel]") {
  Fixture f(1);
  auto first = f.submit(0);
  while (f.gate.waiting == 0)
    std::this_thread::yield();
  auto second = f.submit(1), third = f.submit(2);
  REQUIRE(first->state() == Future::running);
  REQUIRE_FALSE(first->cancel());
  REQUIRE(second->cancel());
  REQUIRE(second->cancel());
  REQUIRE(second->done());
  REQUIRE_FALSE(wait(*third, std::chrono::steady_clock::now()));
  f.gate.release();
  REQUIRE(wait(*third, std::nullopt));
  REQUIRE(second->state() == Future::cancelled);
}

TEST_CASE("a waiter tells every future once", "[parallel]") {
  Fixture f(4);
  std::vector<Ref<Future>> futures;
  for (int i = 0; i < 200; ++i)
    futures.push_back(f.submit(i + 1));
  Waiter waiter;
  for (size_t i = 0; i < futures.size(); ++i)
    waiter.add(futures[i], i);
  std::vector<bool> seen(futures.size());
  for (size_t i = 0; i < futures.size(); ++i) {
    const auto tag = waiter.next(std::nullopt);
    REQUIRE(tag);
    REQUIRE_FALSE(seen[*tag]);
    REQUIRE(futures[*tag]->done());
    seen[*tag] = true;
  }
  REQUIRE_FALSE(waiter.next(std::chrono::steady_clock::now()));
}

TEST_CASE("an executor that died is replaced", "[parallel]") {
  Fixture f(1);
  auto dead = f.submit(1000), next = f.submit(4);
  REQUIRE(wait(*next, std::nullopt));
  REQUIRE(number_in(next->outcome().value) == 8);
  REQUIRE(dead->outcome().broken);
  REQUIRE(f.made == 2);
}

TEST_CASE("shutdown refuses new tasks and runs or cancels those that wait", "[parallel]") {
  for (const bool cancel : {false, true}) {
    Fixture f(1);
    auto first = f.submit(0);
    while (f.gate.waiting == 0)
      std::this_thread::yield();
    auto second = f.submit(3);
    f.pool->shutdown(cancel);
    REQUIRE_THROWS_WITH(f.submit(1), Catch::Contains("was shut down"));
    f.gate.release();
    f.pool->join();
    REQUIRE(first->state() == Future::finished);
    REQUIRE(second->state() == (cancel ? Future::cancelled : Future::finished));
  }
}

TEST_CASE("who lets go of a pool is told which workers are busy", "[parallel]") {
  Fixture f(2);
  const Ref<Future> busy = f.submit(0), waits = f.submit(0), never = f.submit(3);
  while (f.gate.waiting < 2)
    std::this_thread::yield();
  std::string told;
  f.pool->let_go(nullptr, [&](const std::string &who) {
    told = who;
    f.gate.release();
  });
  CHECK((told == "1, 2" || told == "2, 1"));
  CHECK(busy->state() == Future::finished);
  CHECK(never->state() == Future::cancelled);
}

TEST_CASE("a pool whose worker cannot start fails its tasks", "[parallel]") {
  auto pool = Pool::open(
      2, [](Pool &, int) -> std::unique_ptr<Executor> { throw perigee::UnsupportedError("no state"); }, std::nullopt);
  bool refused = false;
  for (int i = 0; i < 1000 && !refused; ++i) {
    Ref<Future> future(new Future(pool->id, {}, message_of(1)));
    try {
      pool->submit(future);
      REQUIRE(wait(*future, std::nullopt));
      REQUIRE(future->outcome().broken);
      REQUIRE_THAT(future->outcome().error, Catch::Contains("BrokenPool: worker") && Catch::Contains("no state"));
    } catch (const perigee::ArgumentError &e) {
      REQUIRE_THAT(e.what(), Catch::Contains("BrokenPool"));
      refused = true;
    }
  }
  REQUIRE(refused);
  pool->shutdown(true);
  pool->join();
}

TEST_CASE("bytes of messages, in the object and on the heap", "[parallel]") {
  Bytes small, large;
  small.append("abc", 3);
  const std::string text(5000, 'x');
  for (int i = 0; i < 5; ++i)
    large.append(text.data(), 1000);
  Bytes copy = large, moved = std::move(large), other = small;
  REQUIRE(std::string(copy.data(), copy.size()) == text);
  REQUIRE(std::string(moved.data(), moved.size()) == text);
  REQUIRE(large.size() == 0);
  other = std::move(moved);
  REQUIRE(std::string(other.data(), other.size()) == text);
  moved = std::move(small);
  REQUIRE(std::string(moved.data(), moved.size()) == "abc");
  moved.append(text.data(), 70);
  REQUIRE(std::string(moved.data(), moved.size()) == "abc" + text.substr(0, 70));
  copy = moved;
  REQUIRE(copy.size() == 73);
}

TEST_CASE("pointers are numbered as they come", "[parallel]") {
  Numbering numbering;
  std::vector<int> places(1000);
  for (int round = 0; round < 3; ++round) {
    numbering.clear();
    for (uint32_t i = 0; i < places.size(); ++i) {
      REQUIRE(numbering.known(&places[i]) == -1);
      REQUIRE(numbering.number(&places[i]) == std::pair(i, true));
      REQUIRE(numbering.number(&places[i / 2]) == std::pair(i / 2, false));
    }
    REQUIRE(numbering.known(&places[999]) == 999);
  }
}

TEST_CASE("bytecode that is not LuaJIT's is refused", "[parallel]") {
  for (const std::string &bad : {std::string(), std::string("\x1bLua"), std::string("\x1bLJ\x02\x00\x00\x00", 7),
                                 std::string("\x1bLJ\x02\x00\x02=a\x05"
                                             "ab",
                                             10)})
    REQUIRE_THROWS_AS(make_factory(bad, bad, 0), perigee::InternalError);
}

TEST_CASE("a pool of Lua states works in a host's VM, and ends with it", "[parallel]") {
  pg_vm *vm = nullptr;
  REQUIRE(pg_vm_create(nullptr, &vm) == PG_OK);
  const std::string script = "local parallel = require 'perigee.parallel'\n"
                             "local pool = parallel.pool(2)\n"
                             "local k = 2\n"
                             "local waiting = pool:submit(function() return 1 end)\n"
                             "return pool:reduce(function(a, b) return a + b end,\n"
                             "  pool:map(function(x) return x * k end, parallel.range(1, 100)), 0)";
  pg_value result{};
  size_t count = 0;
  REQUIRE(pg_vm_run(vm, script.data(), script.size(), "pool.lua", &result, 1, &count) == PG_OK);
  REQUIRE(result.number == 10100);
  pg_vm_destroy(vm);
}
