// The rival of ours.lua in C++ on bare oneTBB: one case a run, named by the first argument. Prints "check VALUE" and
// "seconds VALUE", the best of a few repeats.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_reduce.h>
#include <vector>

namespace {

template <class F> double best(int repeats, F run) {
  double shortest = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    shortest = std::min(shortest, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return shortest;
}

constexpr std::size_t elements = 10'000'000;

} // namespace

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "";
  const bool one = std::strcmp(name, "integral-1") == 0;
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, one ? 1 : 2);
  double seconds = 0, check = 0;
  if (std::strcmp(name, "parallel-for") == 0) { // a[i] = 2 i over 1e7 doubles, in ranges of at least 1e4
    std::vector<double> a(elements);
    seconds = best(10, [&] {
      tbb::parallel_for(tbb::blocked_range<std::size_t>(0, elements, 10'000), [&](const auto &range) {
        for (std::size_t i = range.begin(); i != range.end(); ++i)
          a[i] = 2.0 * double(i + 1);
      });
    });
    check = a[elements / 2];
  } else if (one || std::strcmp(name, "integral-2") == 0) { // x^1.5 over [0, 1] by 1e8 midpoints
    constexpr std::size_t n = 100'000'000;
    constexpr double h = 1.0 / double(n);
    seconds = best(3, [&] {
      check = h * tbb::parallel_reduce(
                      tbb::blocked_range<std::size_t>(0, n, 100'000), 0.0,
                      [&](const auto &range, double total) {
                        for (std::size_t i = range.begin(); i != range.end(); ++i)
                          total += std::pow((double(i) + 0.5) * h, 1.5);
                        return total;
                      },
                      std::plus<>());
    });
  } else {
    std::fprintf(stderr, "there is no case '%s'\n", name);
    return 2;
  }
  std::printf("check %.17g\nseconds %.9f\n", check, seconds);
  return 0;
}
