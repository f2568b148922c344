// Loops over arrays in Lua against the same loops in C at -O2 (loops/*.lua, loops/*.c), run by turns on one processor
// (scripts/bench loops). Each program repeats its loop, prints a check value and the best CPU time; the ratio is the
// median over rounds of both.
//
//   loops [--quick] [--json]
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cmath>
#include <cstdio>
#include <exception>

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
    std::fprintf(stderr, "usage: loops [--quick] [--json]\n");
    return 2;
  }
  constexpr struct {
    const char *file, *name;
  } loops[] = {{"stencil", "five-point stencil, 2048 x 2048"},
               {"bubble_sort", "bubble sort of 999"},
               {"random_walk", "random walk of 1e6 steps"},
               {"particles", "particles, 1000 x 10000 steps"}};
  try {
    bench::pin();
    nlohmann::json figures = nlohmann::json::array();
    double spread = 0;
    for (const auto &loop : loops) {
      const std::filesystem::path rivals = bench::binaries().parent_path() / "bench" / "c";
      const bench::Command lua = {bench::binaries() / "perigee", "run",
                                  std::string(PERIGEE_LOOPS) + "/" + loop.file + ".lua"};
      const bench::Command c = {rivals / loop.file};
      std::vector<double> ours, theirs, ratios;
      for (int i = 0; i < (options.quick ? 3 : 9); ++i) {
        Answer mine, rival;
        bench::round([&] { mine = measure(lua); }, [&] { rival = measure(c); });
        if (!(std::abs(mine.check - rival.check) <= 1e-9 * std::abs(rival.check)))
          throw std::runtime_error(std::string(loop.file) + ": Lua and C compute different things");
        ours.push_back(mine.seconds * 1e3);
        theirs.push_back(rival.seconds * 1e3);
        ratios.push_back(mine.seconds / rival.seconds);
      }
      figures.push_back(bench::against(loop.name, bench::median(ours), "ms", "C at -O2", bench::median(theirs),
                                       bench::median(ratios), 2.0));
      spread = std::max(spread, bench::spread(ratios));
    }
    return bench::print("loops", figures, options.json, nullptr, spread);
  } catch (const std::exception &e) {
    std::fprintf(stderr, "loops: %s\n", e.what());
    return 2;
  }
}
