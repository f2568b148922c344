// Files against pandas, NumPy and Python's json (scripts/bench io): a process of each for every round, in random order.
// On one thread the clock is CPU time, which stays true on a busy machine; on all cores it is wall time. The goal of
// CSV is three times pandas' C engine.
//
//   io [--quick] [--json]
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>

namespace {

struct Operation {
  const char *name, *what, *rival;
  bool threads; // whether it uses more than one
  double goal;  // 0: none
};
constexpr Operation operations[] = {
    {"read_csv: floats of 17 digits", "exact.csv", "pandas", true, 0.333},
    {"read_csv: floats of 3 decimals", "short.csv", "pandas", true, 0.333},
    {"read_csv: integers", "whole.csv", "pandas", true, 0.333},
    {"read_csv: numbers and quoted texts", "mixed.csv", "pandas", true, 0.333},
    {"load: npy of 32 MB", "a.npy", "NumPy", false, 0},
    {"save: npy of 32 MB", "save a.npy", "NumPy", false, 0},
    {"load: compressed npz", "a.npz", "NumPy", false, 0},
    {"read_json: 20000 records", "records.json", "json", false, 0},
    {"read_json: 300000 numbers", "numbers.json", "json", false, 0},
    {"to_json: 20000 records", "write records", "json", false, 0},
};

} // namespace

int main(int argc, char **argv) {
  const bench::Options options = bench::parse(argc, argv);
  if (!options.valid) {
    std::fprintf(stderr, "usage: io [--quick] [--json]\n");
    return 2;
  }
  const char *named = std::getenv("PERIGEE_BENCH_PYTHON");
  const std::string python = named && *named ? named : "python3";
  nlohmann::json figures = nlohmann::json::array();
  try {
    bench::run({python, "-c", "import numpy, pandas"});
  } catch (const std::exception &) {
    std::fprintf(stderr, "io: skipped: %s has no NumPy and pandas; set PERIGEE_BENCH_PYTHON to one that has\n",
                 python.c_str());
    return bench::print("io", figures, options.json);
  }
  std::string folder = "/tmp/perigee-bench-XXXXXX";
  if (!mkdtemp(folder.data())) {
    std::perror("io: a temporary folder");
    return 2;
  }
  int status = 2;
  try {
    const std::string perigee = bench::binaries() / "perigee", scripts = PERIGEE_BENCH_IO;
    bench::run({perigee, "run", "--trusted", scripts + "/ours.lua", "make", folder});
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    double spread = 0;
    for (bool all : {false, true}) {
      const int count = all ? CPU_COUNT(&allowed) : 1;
      if (all)
        sched_setaffinity(0, sizeof allowed, &allowed);
      else
        bench::pin();
      for (const Operation &operation : operations) {
        if (all && (!operation.threads || count == 1))
          continue;
        const auto seconds = [&](bench::Command command) {
          for (const std::string &word :
               {std::string(operation.what), folder, std::to_string(count), std::string(options.quick ? "3" : "6")})
            command.push_back(word);
          double cpu = 0, wall = 0;
          const std::string printed = bench::run(command).output;
          if (std::sscanf(printed.c_str(), "%lf %lf", &cpu, &wall) != 2)
            throw std::runtime_error(command[0] + " printed no figures: " + printed);
          return all ? wall : cpu;
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
        const std::string clock = all ? std::to_string(count) + " threads, wall time" : "1 thread, CPU time";
        figures.push_back(bench::against(std::string(operation.name) + ", " + clock, bench::median(ours) * 1e3, "ms",
                                         operation.rival, bench::median(theirs) * 1e3, bench::median(ratios),
                                         operation.goal > 0 ? std::optional(operation.goal) : std::nullopt));
      }
    }
    status = bench::print("io", figures, options.json, nullptr, spread);
  } catch (const std::exception &e) {
    std::fprintf(stderr, "io: %s\n", e.what());
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return status;
}
