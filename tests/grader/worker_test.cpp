// Workers and the judge, with real sandboxes: what goes in comes out, failures are told as what they are, and the clock
// covers the call and nothing else.
#include "grader/channel.hpp"
#include "grader/worker.hpp"

#include "core/wire.hpp"

#include <catch2/catch.hpp>

#include <chrono>

#include <csignal>
#include <cstring>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace perigee;
using namespace perigee::grader;
using wire::Kind;
using wire::Value;

namespace {

Value number(double n) {
  Value value;
  value.kind = Kind::number;
  value.number = n;
  return value;
}

// A float64 vector 1, 2, ..., n, kept alive by the test.
struct Vector {
  std::vector<double> data;
  wire::ArrayEntry entry{};
  explicit Vector(std::size_t n) : data(n) {
    for (std::size_t i = 0; i < n; ++i)
      data[i] = double(i + 1);
    entry.dtype = 5;
    entry.ndim = 1;
    entry.shape[0] = int64_t(n);
    entry.bytes = n * 8;
  }
  Value value() const {
    Value value;
    value.kind = Kind::array;
    value.array = &entry;
    value.data = reinterpret_cast<const std::byte *>(data.data());
    return value;
  }
};

Bytes arguments(std::vector<Value> list) {
  Value value;
  value.kind = Kind::table;
  value.list = std::move(list);
  return wire::write(value);
}

Value parsed(const Bytes &blob) {
  Value value;
  std::string error;
  INFO(error);
  REQUIRE(wire::parse(blob, {}, false, value, error));
  return value;
}

Exercise exercise() {
  Exercise e;
  e.id = "test/worker";
  e.modules = {"array"};
  e.limits.call_seconds = 1.0;
  e.limits.memory_bytes = 64 << 20;
  return e;
}

Worker worker(const std::string &body, const Exercise &e = exercise(), WorkerOptions options = {}) {
  return Worker(e, body, "solve.lua", options);
}

Worker solve(const std::string &body, const Exercise &e = exercise(), WorkerOptions options = {}) {
  return worker("local function solve(a, b) " + body + " end return { solve = solve }", e, options);
}

// Busy processes on one of our CPUs.
class Crowd {
 public:
  Crowd(int which, int size) {
    cpu_set_t ours;
    REQUIRE(sched_getaffinity(0, sizeof ours, &ours) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE && cpu_ < 0; ++cpu)
      if (CPU_ISSET(cpu, &ours) && which-- == 0)
        cpu_ = cpu;
    REQUIRE(cpu_ >= 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu_, &one);
    for (int i = 0; i < size; ++i) {
      const pid_t parent = getpid(), pid = fork();
      if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sched_setaffinity(0, sizeof one, &one);
        for (volatile unsigned n = 0; getppid() == parent;)
          for (unsigned turns = 0; turns < 1000000; ++turns)
            n = n + 1;
        _exit(0);
      }
      pids_.push_back(pid);
    }
  }
  ~Crowd() {
    for (const pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }
  int cpu() const { return cpu_; }

 private:
  int cpu_ = -1;
  std::vector<pid_t> pids_;
};

} // namespace

TEST_CASE("worker: calls with several inputs, results in order") {
  Worker w = solve("return a + b");
  REQUIRE(w.load_kind() == FailureKind::none);
  for (int round = 0; round < 3; ++round) {
    Slice slice = w.run({arguments({number(1), number(2)}), arguments({number(round), number(10)})});
    INFO(slice.failure);
    REQUIRE(slice.ok());
    REQUIRE(slice.results.size() == 2);
    CHECK(parsed(slice.results[0]).number == 3);
    CHECK(parsed(slice.results[1]).number == 10 + round);
    CHECK(slice.wall > 0);
    CHECK(slice.cpu > 0);
    CHECK(slice.cpu < slice.wall * 1.5 + 1e-4);
  }
}

TEST_CASE("worker: arrays go in without a copy and come out") {
  Worker w = solve("return { sum = a:sum(), twice = a * 2 }");
  Vector v(1000);
  Slice slice = w.run({arguments({v.value()})});
  INFO(slice.failure);
  REQUIRE(slice.ok());
  Value result = parsed(slice.results[0]);
  CHECK(result.fields[0].second.number == 500500);
  double last;
  std::memcpy(&last, result.fields[1].second.data + 999 * 8, 8);
  CHECK(last == 2000);
}

// Their libraries load after the sandbox is locked: files, threads and memory that they ask for must be allowed.
TEST_CASE("worker: linear algebra and Fourier transforms work in the sandbox") {
  const std::string body = R"(
    local array, linalg, fft = require "perigee.array", require "perigee.linalg", require "perigee.fft"
    local n = #a
    local matrix = linalg.outer(a, a) / n
    for i = 1, n do
      matrix[i][i] = matrix[i][i] + n
    end
    local u, s, vh = linalg.svd(matrix)
    local w, v = linalg.eigh(matrix)
    local long = array.concatenate { matrix:reshape(-1), matrix:reshape(-1) }
    return {
      solve = (matrix:matmul(linalg.solve(matrix, a)) - a):abs():max(),
      svd = ((u * s):matmul(vh) - matrix):abs():max(),
      eigh = ((v * w):matmul(v.T) - matrix):abs():max(),
      fft = (fft.irfft(fft.rfft(long)) - long):abs():max(),
      large = (array.exp(array.ones(2000000)) - math.exp(1)):abs():max(),
      fft2 = (fft.ifft2(fft.fft2(matrix)) - matrix):abs():max(),
    })";
  for (const int cores : {1, 2}) {
    Exercise e = exercise();
    e.modules = {"array", "linalg", "fft"};
    e.needs.cores = cores;
    e.limits.memory_bytes = 512 << 20;
    e.limits.call_seconds = 20;
    Worker w = solve(body, e);
    Vector v(300);
    Slice slice = w.run({arguments({v.value()}), arguments({v.value()})});
    INFO(cores << " cores: " << slice.failure);
    REQUIRE(slice.ok());
    for (const Bytes &result : slice.results) {
      const Value value = parsed(result);
      CHECK(value.fields.size() == 6);
      for (const auto &[name, error] : value.fields) {
        INFO(name.string);
        CHECK(error.number < 1e-7);
      }
    }
  }
}

TEST_CASE("worker: inputs grow from batch to batch") {
  Worker w = solve("return a:sum()");
  for (std::size_t n : {10, 100000, 1000, 1000000}) {
    Vector v(n);
    Slice slice = w.run({arguments({v.value()}), arguments({v.value()})});
    INFO(slice.failure);
    REQUIRE(slice.ok());
    CHECK(parsed(slice.results[1]).number == double(n) * double(n + 1) / 2);
  }
}

TEST_CASE("worker: scripts that do not load") {
  auto fails = [](const std::string &script, FailureKind kind, const std::string &part) {
    Worker w = worker(script);
    INFO(script << "\n" << w.load_error());
    CHECK(w.load_kind() == kind);
    CHECK(w.load_error().find(part) != std::string::npos);
    CHECK(!w.usable());
    CHECK(!w.run({arguments({})}).ok());
  };
  fails("return {", FailureKind::load_error, "solve.lua:1:");
  fails("", FailureKind::load_error, "return { solve = solve }");
  fails("return 5", FailureKind::load_error, "number");
  fails("return { other = print }", FailureKind::load_error, "no function 'solve'");
  fails("return { solve = 5 }", FailureKind::load_error, "not a function");
  fails("\n\nerror('on purpose')", FailureKind::load_error, "solve.lua:3: on purpose");
  fails("\x1bLJ\2", FailureKind::load_error, "bytecode");
  fails(std::string("x\0y", 3), FailureKind::load_error, "zero byte");
  fails(std::string((1 << 20) + 1, ' '), FailureKind::load_error, "1 MiB");
  fails("while true do end", FailureKind::time_limit, "1 s");
  fails("local t = {} for i = 1, 1e9 do t[i] = i end", FailureKind::memory_limit, "memory");
}

TEST_CASE("worker: failures of calls") {
  auto fails = [](const std::string &body, FailureKind kind, const std::string &part, const Exercise &e = exercise()) {
    Worker w = solve(body, e);
    Vector v(4), u(3);
    REQUIRE(w.load_kind() == FailureKind::none);
    Slice slice = w.run({arguments({v.value(), u.value()})});
    INFO(body << "\n" << slice.failure);
    CHECK(slice.kind == kind);
    CHECK(slice.failure.find(part) != std::string::npos);
  };
  fails("return a.x.y", FailureKind::script_error, "solve.lua:1:");
  fails("local x = nil; return x.y", FailureKind::script_error, "solve.lua:1: attempt to index");
  fails("error({})", FailureKind::script_error, "table");
  fails("", FailureKind::bad_result, "nothing");
  fails("return print", FailureKind::bad_result, "the result is a function");
  fails("return coroutine.create(print)", FailureKind::bad_result, "coroutine");
  fails("local t = {} t[1] = t return t", FailureKind::bad_result, "contains itself");
  fails("return setmetatable({}, {__index = function() return 1 end})", FailureKind::bad_result, "metatable");
  fails("return a", FailureKind::shared_memory, "shares memory with input 1");
  fails("return {1, b}", FailureKind::shared_memory, "shares memory with input 2");
  fails("return a[{ {2, 3} }]", FailureKind::shared_memory, "input 1");
  fails("b[2] = 7 return 1", FailureKind::changed_input, "changed its input 2, first at [2]");
  fails("while true do end", FailureKind::time_limit, "1 s");
  fails("local x = 0 for i = 1, 1e18 do x = x + i end return x", FailureKind::time_limit, "1 s");
  fails("local t = {} for i = 1, 1e9 do t[i] = i end", FailureKind::memory_limit, "memory");
  fails("local s = 'x' while true do s = s .. s end", FailureKind::memory_limit, "memory");
  fails("local array = require 'perigee.array' local t = {} for i = 1, 1e6 do t[i] = array.ones(100000) end",
        FailureKind::memory_limit, "memory");
  fails("local array = require 'perigee.array' return array.zeros(1000000)", FailureKind::output_limit, "1 MiB");
  fails("while true do print('x') end", FailureKind::flood, "print");
  fails("return require('perigee.linalg')", FailureKind::script_error, "not allowed");

  Exercise in_place = exercise();
  in_place.in_place = true;
  Worker w = solve("a[1] = 100 return a", in_place);
  Vector v(4);
  Slice slice = w.run({arguments({v.value()})});
  INFO(slice.failure);
  REQUIRE(slice.ok());
  double first;
  std::memcpy(&first, parsed(slice.results[0]).data, 8);
  CHECK(first == 100);
}

TEST_CASE("worker: a failed call leaves the worker usable, and names the call") {
  Worker w = solve("if a == 2 then error('two') end return a");
  Slice slice = w.run({arguments({number(1)}), arguments({number(2)}), arguments({number(3)})});
  CHECK(slice.kind == FailureKind::script_error);
  CHECK(slice.failed_call == 1);
  REQUIRE(w.usable());
  CHECK(w.run({arguments({number(5)})}).ok());
}

TEST_CASE("worker: a submission can profile") {
  Exercise e = exercise();
  e.modules = {"profiler", "timer"};
  e.limits.call_seconds = 10;
  Worker w = worker(R"(
    local profiler, timer = require "perigee.profiler", require "perigee.timer"
    local function spin(till)
      local x = 0
      while timer.thread() < till do
        for i = 1, 300 do x = x + i % 7 end
      end
    end
    local function solve(seconds)
      local profile = profiler.sample(spin, timer.thread() + seconds)
      local share = 0
      for _, row in ipairs(profile:by_function()) do
        if row.fn.name == "spin" then share = row.total / profile.seconds end
      end
      local calls = profiler.trace(spin, timer.thread() + 0.01).calls
      return ("%s %s %s"):format(share > 0.9, #calls >= 2, profile.count >= 5)
    end
    return { solve = solve })",
                    e);
  Slice slice = w.run({arguments({number(0.3)})});
  INFO(slice.failure << w.load_error());
  REQUIRE(slice.ok());
  CHECK(parsed(slice.results[0]).string == "true true true");
}

TEST_CASE("worker: one array for all results is told as that") {
  Worker w =
      worker("local out = require('perigee.array').zeros(4) return { solve = function(a) out[1] = a return out end }");
  Slice slice = w.run({arguments({number(1)}), arguments({number(2)})});
  CHECK(slice.kind == FailureKind::shared_memory);
  CHECK(slice.failure.find("two calls") != std::string::npos);
}

TEST_CASE("worker: what the script prints is kept, cut and made harmless", "[output]") {
  Worker w = solve("print('hello', 'a\\27[31mb', '\\255') return 1");
  REQUIRE(w.run({arguments({})}).ok());
  CHECK(w.output() == "hello\ta?[31mb\t?\n");
}

TEST_CASE("worker: the clock covers the call") {
  Exercise e = exercise();
  Worker w = solve("local t = os.clock() while os.clock() - t < a do end return 1", e);
  Slice slice = w.run({arguments({number(0.05)}), arguments({number(0.05)})});
  INFO(slice.failure);
  REQUIRE(slice.ok());
  CHECK(slice.cpu > 0.095);
  CHECK(slice.cpu < 0.2);
  CHECK(slice.wall >= slice.cpu * 0.95);
}

TEST_CASE("worker: a limit is on the script's own time, not on what others take from its core") {
  Crowd crowd(0, 2);
  Exercise e = exercise();
  e.limits.call_seconds = 0.4;
  WorkerOptions options;
  options.cpus = {crowd.cpu()};
  const std::string spin = "local x = 0; local start = require('perigee.timer').cpu(); "
                           "while require('perigee.timer').cpu() - start < a do x = x + 1 end return x";
  e.modules = {"array", "timer"};
  Worker w = solve(spin, e, options);
  Slice right = w.run({arguments({number(0.25)})});
  INFO(right.failure);
  CHECK(right.ok()); // by the wall it took about three times as long
  CHECK(w.run({arguments({number(60)})}).kind == FailureKind::time_limit);
}

TEST_CASE("worker: sleeping counts against the limit") {
  Exercise e = exercise();
  e.limits.call_seconds = 0.2;
  e.modules = {"array", "timer"};
  Worker w = solve("require('perigee.timer').sleep(100)", e, {});
  auto start = std::chrono::steady_clock::now();
  CHECK(w.run({arguments({})}).kind == FailureKind::time_limit);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

TEST_CASE("worker: an interrupted run ends at once") {
  std::atomic<bool> interrupted = false;
  WorkerOptions options;
  options.interrupted = &interrupted;
  Worker w = solve("while true do end", exercise(), options);
  interrupted = true;
  CHECK_THROWS_AS(w.run({arguments({})}), Interrupted);
}

TEST_CASE("worker: text of a hostile process is made harmless") {
  CHECK(clean_text("plain\n\ttext") == "plain\n\ttext");
  CHECK(clean_text("a\x1b[0mb\r\x7f") == "a?[0mb??");
  CHECK(clean_text("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  CHECK(clean_text("\xc3(\xe2\x82\xf0\x9f") == "?(????");
  CHECK(clean_text("\xed\xa0\x80\xc0\x80\xc2\x9b") == "??????");
  CHECK(clean_text(std::string(1000, 'x'), 10) == "xxxxxxxxxx");
}

// What the hand-over costs; the figures are printed by scripts/bench, here they only must not be absurd.
TEST_CASE("worker: the empty batch measures the hand-over") {
  Worker w = solve("return 1");
  std::vector<double> wall, cpu;
  for (int i = 0; i < 200; ++i) {
    Slice slice = w.run({});
    REQUIRE(slice.ok());
    wall.push_back(slice.wall);
    cpu.push_back(slice.cpu);
  }
  std::sort(wall.begin(), wall.end());
  std::sort(cpu.begin(), cpu.end());
  WARN("hand-over: wall " << wall[100] * 1e6 << " us, cpu " << cpu[100] * 1e6 << " us; start "
                          << w.start_seconds() * 1e3 << " ms; overhead a slice " << w.overhead_seconds() / 200 * 1e6
                          << " us");
  CHECK(wall[100] < 0.01);
}
