// The simulator of GPUs (gpu/ours.lua) against Numba's (gpu/rival.py), and against kernels of the processor. Goals: the
// fast simulator at least 0.3 of the speed of the same loop as a kernel on one thread, the checked one at least 5
// million statements of threads a second (200 ns each), and 100 times faster than Numba's. What runs on a GPU is
// measured by tests/gpu/run.
//
//   gpu [--quick] [--json]
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>

namespace {

bool near(double a, double b) {
  return std::abs(a - b) <= 1e-5 * std::max(1.0, std::abs(b));
}

[[noreturn]] void no_figures(const std::string &what, const std::string &output) {
  throw std::runtime_error(what + " printed no figures: " + output);
}

} // namespace

int main(int argc, char **argv) {
  const bench::Options options = bench::parse(argc, argv);
  if (!options.valid) {
    std::fprintf(stderr, "usage: gpu [--quick] [--json]\n");
    return 2;
  }
  const std::string folder = PERIGEE_BENCH_GPU;
  const char *interpreter = std::getenv("PERIGEE_BENCH_PYTHON");
  const std::string python = interpreter && *interpreter ? interpreter : "python3";
  auto ours = [&](std::vector<std::string> arguments) {
    bench::Command command{bench::binaries() / "perigee", "run", "--trusted", folder + "/ours.lua"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return bench::run(command).output;
  };
  bench::pin();
  const int rounds = options.quick ? 3 : 7;
  try {
    nlohmann::json figures = nlohmann::json::array();
    double spread = 0;
    for (const std::string name : {"saxpy", "stencil", "transpose"}) {
      std::vector<double> ratios, fast, plain;
      for (int i = 0; i < rounds; ++i) {
        const std::string output = ours({"fast", name});
        double check = 0, mine = 0, kernels = 0;
        if (std::sscanf(output.c_str(), "check %lf fast %lf kernel %lf", &check, &mine, &kernels) != 3)
          no_figures("ours.lua", output);
        ratios.push_back(mine / kernels);
        fast.push_back(mine * 1e3);
        plain.push_back(kernels * 1e3);
      }
      figures.push_back(bench::against("fast simulator, one thread: " + name, bench::median(fast), "ms",
                                       "the loop as a kernel", bench::median(plain), bench::median(ratios), 1 / 0.3));
      spread = std::max(spread, bench::spread(ratios));
    }
    struct Case {
      const char *name, *size, *rival_size; // the rival takes minutes for what we do in a moment
    };
    for (const Case &c :
         {Case{"saxpy", "1000000", "4096"}, Case{"stencil", "512", "48"}, Case{"matmul", "128", "32"}}) {
      std::vector<double> each, ratios, mine, theirs;
      for (int i = 0; i < rounds; ++i) {
        std::string output = ours({"checked", c.name, c.size});
        double check = 0, seconds = 0, statements = 0, rival_check = 0, rival_seconds = 0;
        if (std::sscanf(output.c_str(), "check %lf seconds %lf statements %lf", &check, &seconds, &statements) != 3)
          no_figures("ours.lua", output);
        each.push_back(seconds / statements * 1e9);
        bench::round(
            [&] {
              output = ours({"checked", c.name, c.rival_size});
            },
            [&] {
              const std::string other = bench::run({"env", python, folder + "/rival.py", c.name, c.rival_size}).output;
              if (std::sscanf(other.c_str(), "check %lf seconds %lf", &rival_check, &rival_seconds) != 2)
                no_figures("rival.py", other);
            });
        if (std::sscanf(output.c_str(), "check %lf seconds %lf", &check, &seconds) != 2)
          no_figures("ours.lua", output);
        if (!near(check, rival_check))
          throw std::runtime_error(std::string(c.name) + ": the two compute different things");
        ratios.push_back(seconds / rival_seconds);
        mine.push_back(seconds * 1e3);
        theirs.push_back(rival_seconds * 1e3);
      }
      figures.push_back(bench::below(std::string("checked simulator, a statement of a thread: ") + c.name,
                                     bench::median(each), "ns", 200));
      figures.push_back(bench::against(std::string("checked simulator: ") + c.name + ", " + c.rival_size,
                                       bench::median(mine), "ms", "Numba's simulator", bench::median(theirs),
                                       bench::median(ratios), 0.01));
    }
    return bench::print("gpu", figures, options.json, nullptr, spread);
  } catch (const std::exception &e) {
    std::fprintf(stderr, "gpu: %s\n", e.what());
    return 2;
  }
}
