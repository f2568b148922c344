// Pools, tasks and graphs (parallel/ours.lua) against C++ on bare oneTBB (parallel/rival.cpp), Numba, multiprocessing,
// concurrent.futures and Dask (parallel/rival.py), by turns on all processors.
//
//   parallel [--quick] [--json]
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>

namespace {

struct Answer {
  double check = 0, seconds = 0;
};

Answer measure(const bench::Command &command) {
  const std::string output = bench::run(command).output;
  Answer answer;
  if (std::sscanf(output.c_str(), "check %lf seconds %lf", &answer.check, &answer.seconds) != 2 || answer.seconds <= 0)
    throw std::runtime_error(command.back() + " printed no figures: " + output);
  return answer;
}

} // namespace

int main(int argc, char **argv) {
  const bench::Options options = bench::parse(argc, argv);
  if (!options.valid) {
    std::fprintf(stderr, "usage: parallel [--quick] [--json]\n");
    return 2;
  }
  try {
    const std::string folder = PERIGEE_BENCH_PARALLEL;
    const char *interpreter = std::getenv("PERIGEE_BENCH_PYTHON");
    const std::string python = interpreter && *interpreter ? interpreter : "python3";
    auto ours = [&](const char *name) {
      return bench::Command{bench::binaries() / "perigee", "run", "--trusted", folder + "/ours.lua", name};
    };
    auto theirs = [&](const char *name) { return bench::Command{"env", python, folder + "/rival.py", name}; };
    auto cpp = [&](const char *name) {
      return bench::Command{bench::binaries().parent_path() / "bench" / "c" / "parallel_rival", name};
    };
    struct Pair {
      const char *name, *rival;
      bench::Command mine, other;
      double scale;
      const char *unit;
      std::optional<double> ratio; // goal
      const char *module = "";     // that Python needs for it
    };
    const Pair pairs[] = {
        {"integral of x^1.5, n = 1e8, two workers", "one worker", ours("integral-2"), ours("integral-1"), 1e3, "ms",
         0.55},
        {"integral of x^1.5, n = 1e8, two workers", "Numba prange", ours("integral-2"), theirs("integral-2"), 1e3, "ms",
         1.0, "numba"},
        {"integral of x^1.5, n = 1e8, two workers",
         "C++ and oneTBB",
         ours("integral-2"),
         cpp("integral-2"),
         1e3,
         "ms",
         {}},
        {"the same of C++ and oneTBB: what this machine gives", // is it to be had at all?
         "one thread",
         cpp("integral-2"),
         cpp("integral-1"),
         1e3,
         "ms",
         {}},
        {"pool of two: start, a task, end",
         "multiprocessing.Pool",
         ours("pool-start"),
         theirs("pool-start"),
         1e3,
         "ms",
         {}},
        {"map of 1e5 tiny tasks", "multiprocessing.Pool.map", ours("tiny-map"), theirs("tiny-map"), 1e3, "ms", 0.02},
        {"a task, submitted and its result", "concurrent.futures threads", ours("task"), theirs("task"), 1e6, "us", {}},
        {"a round trip to a process",
         "concurrent.futures processes",
         ours("process-task"),
         theirs("process-task"),
         1e6,
         "us",
         {}},
        {"a node of a delayed graph, threads", "Dask", ours("delayed"), theirs("delayed"), 1e6, "us", {}, "dask"},
    };
    nlohmann::json figures = nlohmann::json::array();
    double spread = 0;
    const int rounds = options.quick ? 3 : 9;
    std::map<std::string, double> value; // of ours, by what was run
    for (const Pair &pair : pairs) {
      if (*pair.module) {
        try {
          bench::run({"env", python, "-c", std::string("import ") + pair.module});
        } catch (const std::exception &) {
          std::fprintf(stderr, "parallel: %s has no %s: that rival is left out\n", python.c_str(), pair.module);
          continue;
        }
      }
      std::vector<double> a, b, ratios;
      for (int i = 0; i < rounds; ++i) {
        Answer mine, rival;
        bench::round([&] { mine = measure(pair.mine); }, [&] { rival = measure(pair.other); });
        if (!(std::abs(mine.check - rival.check) <= 1e-9 * std::abs(rival.check)))
          throw std::runtime_error(std::string(pair.name) + ": the two compute different things");
        a.push_back(mine.seconds * pair.scale);
        b.push_back(rival.seconds * pair.scale);
        ratios.push_back(mine.seconds / rival.seconds);
      }
      value[pair.mine.back()] = bench::median(a);
      figures.push_back(bench::against(pair.name, bench::median(a), pair.unit, pair.rival, bench::median(b),
                                       bench::median(ratios), pair.ratio));
      spread = std::max(spread, bench::spread(ratios));
    }
    figures.push_back(bench::below("pool of two: start, a task, end", value["pool-start"], "ms", 10));
    figures.push_back(bench::below("a task, submitted and its result", value["task"], "us", 2));
    std::vector<double> beyond;
    for (int i = 0; i < rounds; ++i) {
      Answer mine, rival;
      bench::round([&] { mine = measure(ours("parallel-for")); }, [&] { rival = measure(cpp("parallel-for")); });
      if (mine.check != rival.check)
        throw std::runtime_error("parallel_for and oneTBB compute different things");
      beyond.push_back((mine.seconds - rival.seconds) / 1e7 * 1e9);
    }
    figures.push_back(
        bench::below("parallel_for beyond bare oneTBB, an iteration of 1e7", bench::median(beyond), "ns", 5));
    figures.push_back(bench::below("sleep of 1, 3, 1, 7 s on four workers", measure(ours("sleep")).seconds, "s", 7.07));
    return bench::print("parallel", figures, options.json, nullptr, spread);
  } catch (const std::exception &e) {
    std::fprintf(stderr, "parallel: %s\n", e.what());
    return 2;
  }
}
