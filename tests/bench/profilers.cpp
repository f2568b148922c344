// What the profilers cost (scripts/bench profilers): each program with a profiler and without, by turns; function
// tracing beside Python's cProfile on the same program.
//
//   profilers [--quick] [--json]
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>

namespace {

double seconds(const bench::Command &command) {
  const std::string output = bench::run(command).output;
  double value = 0;
  if (std::sscanf(output.c_str(), "seconds %lf", &value) != 1 || value <= 0)
    throw std::runtime_error(command.back() + " printed no time: " + output);
  return value;
}

} // namespace

int main(int argc, char **argv) {
  const bench::Options options = bench::parse(argc, argv);
  if (!options.valid) {
    std::fprintf(stderr, "usage: profilers [--quick] [--json]\n");
    return 2;
  }
  try {
    bench::pin();
    const std::string folder = PERIGEE_PROFILERS;
    auto ours = [&](const char *mode) {
      return bench::Command{bench::binaries() / "perigee", "run", "--trusted", folder + "/program.lua", mode};
    };
    const char *python = std::getenv("PERIGEE_BENCH_PYTHON");
    const bench::Command cprofile = {"env", python && *python ? python : "python3", folder + "/rival.py"};
    struct Pair {
      const char *name, *rival;
      bench::Command mine, theirs;
      double goal;
    };
    const Pair pairs[] = {
        {"sampling a compiled program", "without", ours("sample"), ours("mixed"), 1.03},
        {"tracing calls, fib(24)", "cProfile", ours("trace"), cprofile, 1.0},
        {"tracing lines", "interpreted without", ours("lines"), ours("interpreted"), 30},
        {"timeline of 100000 operations a second", "without", ours("timeline"), ours("operations"), 1.05},
    };
    nlohmann::json figures = nlohmann::json::array();
    double spread = 0;
    for (const Pair &pair : pairs) {
      std::vector<double> mine, theirs, ratios;
      for (int i = 0; i < (options.quick ? 3 : 9); ++i) {
        double with = 0, without = 0;
        bench::round([&] { with = seconds(pair.mine); }, [&] { without = seconds(pair.theirs); });
        mine.push_back(with * 1e3);
        theirs.push_back(without * 1e3);
        ratios.push_back(with / without);
      }
      figures.push_back(bench::against(pair.name, bench::median(mine), "ms", pair.rival, bench::median(theirs),
                                       bench::median(ratios), pair.goal));
      spread = std::max(spread, bench::spread(ratios));
    }
    return bench::print("profilers", figures, options.json, nullptr, spread);
  } catch (const std::exception &e) {
    std::fprintf(stderr, "profilers: %s\n", e.what());
    return 2;
  }
}
