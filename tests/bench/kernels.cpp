// Kernels (kernels/ours.lua) against Numba, numexpr, NumPy (kernels/rival.py) and C++ at -O3 -march=native
// (kernels/rival.cpp), by turns on all processors. Goals: at most 1.05 of the best Python library's time each, 0.6 in
// the geometric mean, and 1.15 of C++'s; and what compiling and calling cost.
//
//   kernels [--quick] [--json]
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>

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
    std::fprintf(stderr, "usage: kernels [--quick] [--json]\n");
    return 2;
  }
  const std::string folder = PERIGEE_BENCH_KERNELS;
  const char *interpreter = std::getenv("PERIGEE_BENCH_PYTHON");
  const std::string python = interpreter && *interpreter ? interpreter : "python3";
  struct Case {
    const char *name, *what;
    std::vector<const char *> libraries; // that have a form of it
  };
  const Case cases[] = {
      {"particles", "particles, 1000 x 10000 steps", {"numba", "numpy"}},
      {"laplace", "Laplace, 4096 x 4096", {"parallel", "numpy"}},
      {"pairwise", "pairwise distances, 1000 x 3", {"parallel", "numba"}},
      {"pairwise3", "pairwise distances, 3 a constant", {"parallel"}},
      {"integral", "integral of x^1.5, n = 1e8", {"parallel", "numpy"}},
      {"cubic", "x^3 + 4 sin y, 1e7", {"parallel", "numexpr", "numpy"}},
      {"mixed", "2a - 4.5b + sin a + cos b, 1.6e7", {"parallel", "numexpr", "numpy"}},
      {"polynomial", "polynomial, 1e7", {"parallel", "numexpr"}},
      {"bubble", "bubble sort of 999", {"numba"}},
      {"rows", "integrate 1000 rows", {"numba"}},
      {"acf", "autocorrelation of 2e5, 100 lags", {"numba", "numpy"}},
      {"mandelbrot", "Mandelbrot set, 1000 x 1000", {"parallel"}},
      {"julia", "Julia set, 1000 x 1000", {"parallel"}},
  };
  try {
    nlohmann::json figures = nlohmann::json::array();
    double spread = 0, logarithms = 0;
    for (const Case &c : cases) {
      auto ours = [&] {
        return measure({bench::binaries() / "perigee", "run", "--trusted", folder + "/ours.lua", c.name});
      };
      std::vector<std::vector<double>> ratios(c.libraries.size() + 1), seconds(c.libraries.size() + 1);
      std::vector<double> mine;
      for (int i = 0; i < (options.quick ? 3 : 7); ++i)
        for (std::size_t rival = 0; rival <= c.libraries.size(); ++rival) {
          Answer a, b;
          bench::round([&] { a = ours(); },
                       [&] {
                         b = rival < c.libraries.size()
                                 ? measure({"env", python, folder + "/rival.py", c.name, c.libraries[rival]})
                                 : measure({bench::binaries().parent_path() / "bench" / "c" / "kernels_rival", c.name});
                       });
          if (!(std::abs(a.check - b.check) <= 1e-9 * std::max(1.0, std::abs(b.check))))
            throw std::runtime_error(std::string(c.what) + ": the two compute different things");
          ratios[rival].push_back(a.seconds / b.seconds);
          seconds[rival].push_back(b.seconds * 1e3);
          mine.push_back(a.seconds * 1e3);
        }
      std::size_t strongest = 0;
      for (std::size_t rival = 1; rival < c.libraries.size(); ++rival)
        if (bench::median(ratios[rival]) > bench::median(ratios[strongest]))
          strongest = rival;
      const char *library = c.libraries[strongest];
      figures.push_back(bench::against(c.what, bench::median(mine), "ms",
                                       std::string(library) == "parallel" ? "Numba parallel" : library,
                                       bench::median(seconds[strongest]), bench::median(ratios[strongest]), 1.05));
      figures.push_back(bench::against(c.what, bench::median(mine), "ms", "C++ at -O3", bench::median(seconds.back()),
                                       bench::median(ratios.back()), 1.15));
      logarithms += std::log(bench::median(ratios[strongest]));
      spread = std::max(spread, bench::spread(ratios[strongest]));
    }
    figures.push_back(bench::below("geometric mean of the ratios to the best Python library",
                                   std::exp(logarithms / double(std::size(cases))), "", 0.6));
    char cache[] = "/tmp/perigee-bench-XXXXXX";
    if (!mkdtemp(cache))
      throw std::runtime_error("no temporary folder can be made");
    const std::string costs = bench::run({"env", std::string("PERIGEE_CACHE=") + cache, bench::binaries() / "perigee",
                                          "run", "--trusted", folder + "/costs.lua"})
                                  .output;
    std::filesystem::remove_all(cache);
    double first = 0, cached = 0, call = 0;
    if (std::sscanf(costs.c_str(), "first %lf cached %lf call %lf", &first, &cached, &call) != 3)
      throw std::runtime_error("costs.lua printed no figures: " + costs);
    figures.push_back(bench::below("first call of a kernel of 20 lines, LLVM loaded", first * 1e3, "ms", 40));
    figures.push_back(bench::below("first call of a cached kernel, LLVM loaded", cached * 1e3, "ms", 2));
    figures.push_back(bench::below("a call", call * 1e9, "ns", 100));
    return bench::print("kernels", figures, options.json, nullptr, spread);
  } catch (const std::exception &e) {
    std::fprintf(stderr, "kernels: %s\n", e.what());
    return 2;
  }
}
