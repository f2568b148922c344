// Event loops against Python's asyncio (scripts/bench async): a process of each for every round, in random order, on
// one core. The clock is CPU time, which stays true on a busy machine: what waits costs nothing.
//
//   async [--quick] [--json]
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>

namespace {

struct Operation {
  const char *name, *what;
};
constexpr Operation operations[] = {
    {"switch", "sleep(0), one task"},
    {"switch among 100", "sleep(0), 100 tasks"},
    {"task", "create_task and await"},
    {"sleeping tasks", "100000 tasks sleep 0.1 s at once, each"},
    {"queue", "put and get of a queue of 10"},
    {"echo", "a line over loopback TCP and back"},
    {"run_in_pool", "a call in a worker thread"},
    {"run", "run of an empty function"},
};

} // namespace

int main(int argc, char **argv) {
  const bench::Options options = bench::parse(argc, argv);
  if (!options.valid) {
    std::fprintf(stderr, "usage: async [--quick] [--json]\n");
    return 2;
  }
  const char *named = std::getenv("PERIGEE_BENCH_PYTHON");
  const std::string python = named && *named ? named : "python3";
  nlohmann::json figures = nlohmann::json::array();
  try {
    bench::run({python, "-c", "import asyncio, sys; sys.exit(sys.version_info < (3, 8))"});
  } catch (const std::exception &) {
    std::fprintf(stderr, "async: skipped: %s is no Python 3.8 or newer; set PERIGEE_BENCH_PYTHON to one\n",
                 python.c_str());
    return bench::print("async", figures, options.json);
  }
  try {
    const std::string perigee = bench::binaries() / "perigee", scripts = PERIGEE_BENCH_ASYNC;
    bench::pin();
    double spread = 0;
    for (const Operation &operation : operations) {
      const auto seconds = [&](bench::Command command) {
        command.push_back(operation.name);
        command.push_back(options.quick ? "2" : "4");
        return std::stod(bench::run(command).output);
      };
      std::vector<double> ours, theirs, ratios;
      for (int round = 0; round < (options.quick ? 3 : 9); ++round) {
        bench::round(
            [&] {
              ours.push_back(seconds({perigee, "run", "--trusted", scripts + "/ours.lua"}));
            },
            [&] {
              theirs.push_back(seconds({python, scripts + "/rival.py"}));
            });
        ratios.push_back(ours.back() / theirs.back());
      }
      spread = std::max(spread, bench::spread(ratios));
      figures.push_back(bench::against(operation.what, bench::median(ours) * 1e6, "us", "asyncio",
                                       bench::median(theirs) * 1e6, bench::median(ratios), std::nullopt));
    }
    return bench::print("async", figures, options.json, nullptr, spread);
  } catch (const std::exception &e) {
    std::fprintf(stderr, "async: %s\n", e.what());
    return 2;
  }
}
