// What an embedding program does, checked. Exit status 0 when all holds.
#include <perigee/perigee.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                   \
      std::exit(1);                                                                                                    \
    }                                                                                                                  \
  } while (0)

static std::vector<struct sigaction> signal_handlers() {
  std::vector<struct sigaction> handlers;
  for (int number = 1; number < 65; ++number) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    handlers.push_back(action);
  }
  return handlers;
}

static void basics() {
  std::string printed;
  perigee::VmOptions options;
  options.print = [&](std::string_view text) { printed += text; };
  perigee::Vm vm(std::move(options));

  // A C++ function for scripts, and its exceptions as errors at the script's line.
  vm.bind("shout", [](const std::vector<perigee::Value> &arguments) {
    if (arguments.empty())
      throw std::runtime_error("shout wants a text");
    return std::vector<perigee::Value>{arguments[0].string() + "!"};
  });
  vm.run("print(shout('hello'))", "hello.lua");
  CHECK(printed == "hello!\n");
  try {
    vm.run("local x = 1\nshout()", "quiet.lua");
    CHECK(!"no error");
  } catch (const perigee::VmError &error) {
    CHECK(error.file == "quiet.lua" && error.line == 2);
    CHECK(error.message == "shout wants a text");
  }

  // A buffer of the host as an array, both ways without a copy.
  static bool released = false;
  double buffer[6] = {1, 2, 3, 4, 5, 6};
  {
    vm.lend("lent", buffer, {2, 3}, [](void *, void *flag) { *static_cast<bool *>(flag) = true; }, &released);
    vm.load("local function total(scale) lent[2][3] = 60; return lent:sum() * scale end\n"
            "local function twice() return lent + lent end\n"
            "local function same() return lent end\n"
            "local function boom(x)\n  local t = nil\n  return t.x\nend\n"
            "return { total = total, twice = twice, same = same, boom = boom }",
            "lesson.lua", "total");
    CHECK(vm.call("total", 2.0).at(0).number() == 2 * (1 + 2 + 3 + 4 + 5 + 60));
    CHECK(buffer[5] == 60);
    auto twice = vm.call("twice");
    perigee::Array array = twice.at(0).array();
    CHECK((array.shape() == std::vector<int64_t>{2, 3}));
    CHECK(array.data<double>()[5] == 120);
    auto same = vm.call("same");
    CHECK(same.at(0).array().data<double>() == buffer);
    CHECK(!released);
  }

  // A Lua error as a status with file, line, message and traceback.
  try {
    vm.call("boom", 1);
    CHECK(!"no error");
  } catch (const perigee::VmError &error) {
    CHECK(error.status == PG_ERROR_RUNTIME);
    CHECK(error.file == "lesson.lua" && error.line == 6);
    CHECK(error.message.find("attempt to index local 't'") != std::string::npos);
    CHECK(error.traceback.find("lesson.lua:6") != std::string::npos);
  }
  try {
    vm.run("local = 3", "broken.lua");
    CHECK(!"no error");
  } catch (const perigee::VmError &error) {
    CHECK(error.status == PG_ERROR_SYNTAX && error.file == "broken.lua" && error.line == 1);
  }
  // The VM goes on after errors.
  CHECK(vm.call("total", 0.0).at(0).number() == 0);
  {
    perigee::Vm gone = std::move(vm);
  }
  CHECK(released);
}

static void limits() {
  perigee::VmOptions options;
  options.memory_limit = 64 << 20;
  perigee::Vm vm(std::move(options));
  for (const char *hog : {"local t = {} for i = 1, 1e9 do t[i] = {i} end",
                          "local s = 'x' while true do s = s .. s end",
                          "local array = require 'perigee.array' local t = {} while true do t[#t + 1] = array.zeros(1e5) end"}) {
    try {
      vm.run(hog, "hog.lua");
      CHECK(!"no error");
    } catch (const perigee::VmError &error) {
      CHECK(error.status == PG_ERROR_MEMORY);
    }
    CHECK(vm.run("collectgarbage() collectgarbage() return 1 + 1", "after.lua").at(0).number() == 2);
    CHECK(vm.memory() < 64 << 20);
  }
  // Temporaries of far more than the limit in all are fine: they are collected in time.
  vm.run("local array = require 'perigee.array' for i = 1, 200 do local a = array.ones(1e6) end", "temporaries.lua");
}

static void two_threads() {
  auto work = [](double start, double *result) {
    perigee::Vm vm;
    vm.load("local array = require 'perigee.array'\n"
            "return { f = function(x) local a = array.zeros(1000) for i = 1, 1000 do a[i] = x + i end\n"
            "  local s = 0 for k = 1, 100 do s = s + (a * 2):sum() end return s end }",
            "thread.lua", "f");
    *result = vm.call("f", start).at(0).number();
  };
  double results[2];
  std::thread first(work, 1.0, &results[0]), second(work, 2.0, &results[1]);
  first.join();
  second.join();
  CHECK(results[0] == 200.0 * (1000 * 1.0 + 500500));
  CHECK(results[1] == 200.0 * (1000 * 2.0 + 500500));
}

int main() {
  auto before = signal_handlers();
  basics();
  limits();
  two_threads();
  auto after = signal_handlers();
  for (size_t i = 0; i < before.size(); ++i)
    CHECK(before[i].sa_handler == after[i].sa_handler);
  std::puts("host: all checks hold");
}
