// Start-up: `perigee run` of an empty script against `luajit -e ''`, run by turns on one processor (scripts/bench
// startup). Both clocks carry the goal: wall time is what a user waits for, CPU time what stays true on a busy machine.
//
//   startup [--quick] [--json]
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cstdio>
#include <exception>
#include <fstream>

int main(int argc, char **argv) {
  const bench::Options options = bench::parse(argc, argv);
  if (!options.valid) {
    std::fprintf(stderr, "usage: startup [--quick] [--json]\n");
    return 2;
  }
  std::string script = "/tmp/perigee-bench-XXXXXX";
  const int file = mkstemp(script.data());
  if (file < 0) {
    std::perror("startup: a temporary script");
    return 2;
  }
  close(file);
  int status = 2;
  try {
    bench::pin();
    const bench::Command perigee = {bench::binaries() / "perigee", "run", script}, luajit = {"luajit", "-e", ""};
    struct Clock {
      const char *name;
      double bench::Run::*read;
      std::vector<double> ours, theirs, beyond;
    } clocks[] = {{"wall time", &bench::Run::wall, {}, {}, {}}, {"CPU time", &bench::Run::cpu, {}, {}, {}}};
    const int rounds = options.quick ? 40 : 300;
    for (int i = -3; i < rounds; ++i) { // the first ones bring the files into memory
      bench::Run mine, rival;
      bench::round([&] { mine = bench::run(perigee); }, [&] { rival = bench::run(luajit); });
      if (i < 0)
        continue;
      for (Clock &clock : clocks) {
        clock.ours.push_back(mine.*clock.read * 1e3);
        clock.theirs.push_back(rival.*clock.read * 1e3);
        clock.beyond.push_back(clock.ours.back() - clock.theirs.back());
      }
    }
    nlohmann::json figures = nlohmann::json::array();
    for (const Clock &clock : clocks) {
      figures.push_back(bench::against(std::string("perigee run of an empty script, ") + clock.name,
                                       bench::median(clock.ours), "ms", "luajit -e ''", bench::median(clock.theirs)));
      figures.push_back(
          bench::below(std::string("beyond luajit -e '', ") + clock.name, bench::median(clock.beyond), "ms", 5));
    }
    status = bench::print("startup", figures, options.json, nullptr, bench::spread(clocks[0].ours));
  } catch (const std::exception &e) {
    std::fprintf(stderr, "startup: %s\n", e.what());
  }
  unlink(script.c_str());
  return status;
}
