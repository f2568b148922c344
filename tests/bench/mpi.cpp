// Messages between two ranks (mpi/ours.lua) against C (mpi/rival.c, compiled by mpicc in this run) and mpi4py
// (mpi/rival.py), by turns, each under the same mpirun; and how long a start takes.
//
//   mpi [--quick] [--json]
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <sstream>

namespace {

using Figures = std::map<std::string, double>;

Figures measure(const bench::Command &command) {
  std::istringstream words(bench::run(command).output);
  Figures figures;
  std::string name;
  for (double value; words >> name >> value;)
    figures[name] = value;
  return figures;
}

struct Measure {
  const char *name, *what, *rival; // the rival that the goal names
  double scale;
  const char *unit;
  double goal;
};
constexpr Measure measures[] = {
    {"latency", "array form, 8 bytes, one way", "C", 1e6, "us", 1.3},
    {"transfer", "array form, 8 MiB, one way (0.97 of the bandwidth is 1.031)", "C", 1e3, "ms", 1 / 0.97},
    {"number", "table form, a number, one way", "mpi4py", 1e6, "us", 1.0},
    {"table", "table form, a table of two fields, one way", "mpi4py", 1e6, "us", 1.0},
    {"allreduce", "allreduce of 1e6 doubles", "C", 1e3, "ms", 1.05},
};

} // namespace

int main(int argc, char **argv) {
  const bench::Options options = bench::parse(argc, argv);
  if (!options.valid) {
    std::fprintf(stderr, "usage: mpi [--quick] [--json]\n");
    return 2;
  }
  const char *named = std::getenv("PERIGEE_BENCH_PYTHON");
  const std::string python = named && *named ? named : "python3", sources = PERIGEE_BENCH_MPI;
  const std::string perigee = bench::binaries() / "perigee",
                    rival = bench::binaries().parent_path() / "bench" / "c" / "mpi_rival";
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  nlohmann::json figures = nlohmann::json::array();
  try {
    bench::run({"mpicc", "-O2", "-o", rival, sources + "/rival.c"});
  } catch (const std::exception &error) {
    std::fprintf(stderr, "mpi: skipped: no Open MPI for C here (%s)\n", error.what());
    return bench::print("mpi", figures, options.json);
  }
  bool with_python = true;
  try {
    bench::run({python, "-c", "import mpi4py, numpy"});
  } catch (const std::exception &) {
    with_python = false;
    std::fprintf(stderr, "mpi: without mpi4py: %s has none; set PERIGEE_BENCH_PYTHON to one that does\n",
                 python.c_str());
  }
  try {
    // Ranks that move between cores, or share one, measure the scheduler.
    const bench::Command mpirun = {"mpirun", "--oversubscribe", "--bind-to", "core", "-n", "2"};
    const auto under = [&](const bench::Command &program) {
      bench::Command command = mpirun;
      command.insert(command.end(), program.begin(), program.end());
      return command;
    };
    const std::string blocks = options.quick ? "12" : "60";
    // The least of all blocks of all rounds stands for each: two ranks that both have their core for a moment.
    std::map<std::string, std::vector<double>> ours, c, python_times, against_c, against_python;
    for (int round = 0; round < (options.quick ? 3 : 9); ++round) {
      Figures a, b, p;
      bench::round(
          [&] {
            a = measure(under({perigee, "run", "--trusted", sources + "/ours.lua", blocks}));
          },
          [&] {
            bench::round(
                [&] {
                  b = measure(under({rival, blocks}));
                },
                [&] {
                  if (with_python)
                    p = measure(under({python, sources + "/rival.py", blocks}));
                });
          });
      for (const Measure &m : measures) {
        ours[m.name].push_back(a.at(m.name));
        if (b.count(m.name)) {
          c[m.name].push_back(b[m.name]);
          against_c[m.name].push_back(a.at(m.name) / b[m.name]);
        }
        if (p.count(m.name)) {
          python_times[m.name].push_back(p[m.name]);
          against_python[m.name].push_back(a.at(m.name) / p[m.name]);
        }
      }
    }
    double spread = 0;
    for (const Measure &m : measures) {
      const double value = *std::min_element(ours[m.name].begin(), ours[m.name].end()) * m.scale;
      const auto add = [&](const char *name, auto &theirs, auto &ratios) {
        if (theirs[m.name].empty())
          return;
        const bool has_goal = std::string(m.rival) == name;
        const double least = *std::min_element(theirs[m.name].begin(), theirs[m.name].end()) * m.scale;
        figures.push_back(bench::against(m.what, value, m.unit, name, least, std::nullopt,
                                         has_goal ? std::optional<double>(m.goal) : std::nullopt));
        spread = std::max(spread, bench::spread(ratios[m.name]));
      };
      add("C", c, against_c);
      add("mpi4py", python_times, against_python);
    }

    // Beyond C by the same mpirun: the launcher's own options start ranks in half of the time of Open MPI's.
    std::vector<double> launched, start, c_start, more;
    for (int round = 0; round < (options.quick ? 5 : 15); ++round) {
      bench::round(
          [&] {
            launched.push_back(bench::run({perigee, "mpirun", "-n", "2", sources + "/hello.lua"}).wall);
            start.push_back(bench::run(under({perigee, "run", "--trusted", sources + "/hello.lua"})).wall);
          },
          [&] { c_start.push_back(bench::run(under({rival})).wall); });
      more.push_back(start.back() - c_start.back());
    }
    figures.push_back(bench::against("start and end of two ranks, by perigee mpirun", bench::median(launched) * 1e3,
                                     "ms", "C by mpirun", bench::median(c_start) * 1e3));
    figures.push_back(
        bench::below("start and end of two ranks by mpirun, beyond C", bench::median(more) * 1e3, "ms", 50));
    return bench::print("mpi", figures, options.json, nullptr, spread);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "mpi: %s\n", error.what());
    return 2;
  }
}
