// Verdict stability: submissions whose true speedup lies 15% above or below a threshold are graded live while the
// machine is idle and under three kinds of load, on the CPU clock and on the wall clock; then the rounds recorded there
// are replayed through the verdict code in 1000 new combinations. Prints JSON figures (scripts/bench noise).
//
//   noise [--quick] [--json] [--seed N] [--only PART]
#include "grader/grade.hpp"
#include "grader/measure.hpp"
#include "tests/bench/figures.hpp"
#include "tests/grader/temporary_exercise.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace perigee::grader;

namespace {

constexpr double threshold = 0.5;
constexpr double margin = 1.15;

// ----------------------------------------------------------------------------------------------------- load ----------

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

void compute(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  volatile double x = 1.0;
  while (std::chrono::steady_clock::now() < end)
    for (int i = 0; i < 10000; ++i)
      x = x * 1.0000001 + 1e-9;
}

// Streams through more memory than any cache holds.
[[noreturn]] void hog_memory() {
  const std::size_t size = 128 << 20;
  std::vector<char> from(size, 1), to(size, 2);
  for (;;) {
    std::memcpy(to.data(), from.data(), size);
    from[to[size / 2] & 7] ^= 1;
  }
}

// Computes for 5 to 60 ms, sleeps as long.
[[noreturn]] void burst() {
  std::mt19937 random(42);
  std::uniform_real_distribution<double> length(0.005, 0.060);
  for (;;) {
    compute(length(random));
    usleep(static_cast<useconds_t>(length(random) * 1e6));
  }
}

// Processes that load the machine until they are destroyed.
class Load {
 public:
  void add(int cpu, const std::function<void()> &work) {
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent)
        _exit(0);
      pin(cpu);
      work();
      _exit(0);
    }
    if (pid > 0)
      pids_.push_back(pid);
  }
  ~Load() {
    for (const pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }

 private:
  std::vector<pid_t> pids_;
};

struct Regime {
  const char *name;
  std::function<void(Load &, const std::vector<int> &cpus)> start; // the last of cpus is where workers run
};

const Regime regimes[] = {
    {"idle", [](Load &, const std::vector<int> &) {}},
    {"memory hog on the other core",
     [](Load &load, const std::vector<int> &cpus) { load.add(cpus.front(), hog_memory); }},
    {"bursts on the same core", [](Load &load, const std::vector<int> &cpus) { load.add(cpus.back(), burst); }},
    {"hog on every core",
     [](Load &load, const std::vector<int> &cpus) {
       for (const int cpu : cpus)
         load.add(cpu, [] { compute(1e9); });
     }},
};

// -------------------------------------------------------------------------------------------------- gradings ---------

struct Counts {
  int gradings = 0, wrong = 0, inconclusive = 0, rounds = 0;

  void add(TierState state, bool fast, int n) {
    ++gradings;
    rounds += n;
    inconclusive += state == TierState::inconclusive || state == TierState::not_measured;
    // Slower than the threshold by 15%, "at the threshold" is wrong, too: it grants the points.
    wrong += fast ? state == TierState::missed : state == TierState::granted || state == TierState::at_threshold;
  }
  nlohmann::json json() const {
    return {{"gradings", gradings},
            {"wrong", wrong},
            {"inconclusive", inconclusive},
            {"mean_rounds", gradings ? static_cast<double>(rounds) / gradings : 0.0}};
  }
};

// What was recorded of submissions on one side of the threshold: every generation's rounds.
using Recorded = std::vector<std::vector<Round>>;

// A new grading from recorded ones: their generations in a new order, without repetition, since a sample drawn many
// times over would be taken for truth.
Series reorder(Recorded recorded, std::mt19937_64 &random) {
  std::shuffle(recorded.begin(), recorded.end(), random);
  return {std::move(recorded)};
}

} // namespace

int main(int argc, char **argv) {
  bool quick = false, json = false;
  uint64_t seed = 1;
  std::string only; // a part of the regimes' names
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--quick")
      quick = true;
    else if (argument == "--json")
      json = true;
    else if (argument == "--seed" && i + 1 < argc)
      seed = std::stoull(argv[++i]);
    else if (argument == "--only" && i + 1 < argc)
      only = argv[++i];
    else {
      std::fprintf(stderr, "usage: noise [--quick] [--json] [--seed N] [--only PART]\n");
      return 2;
    }
  }
  const int live = quick ? 4 : 20, replays = quick ? 200 : 1000;

  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed))
      cpus.push_back(cpu);

  nlohmann::json figures = nlohmann::json::array(), details = nlohmann::json::array();
  std::mt19937_64 random(seed);
  int wrong_total = 0;
  for (const bool wall : {false, true}) {
    for (const Regime &regime : regimes) {
      const std::string name = std::string(wall ? "wall clock" : "CPU clock") + ", " + regime.name;
      if (name.find(only) == std::string::npos)
        continue;
      Counts counts, replayed;
      Recorded recorded[2];
      int failed = 0;
      std::string failure;
      std::vector<double> ratios[2];
      const auto start = std::chrono::steady_clock::now();
      {
        TemporaryExercise folder;
        folder.exercise.needs.sleep = wall; // what makes it a wall-clock exercise
        folder.exercise.limits.budget_seconds = 5.0;
        folder.exercise.tiers = {folder.tier(threshold)};
        SessionOptions options;
        options.record = folder.root() / "rounds";
        Session session(options); // pins the supervisor; the load is started on cores of its own choice
        Load load;
        regime.start(load, cpus);
        usleep(100000);
        for (int i = 0, number = 0; i < live; ++i, ++number) {
          const bool fast = i % 2 == 0;
          const double work = 1 / (threshold * (fast ? margin : 1 / margin));
          const Result result =
              grade_submission(folder.exercise, {"ada", folder.write("solve.lua", folder.work(work))}, session);
          if (result.rounds == 0) {
            failure = result.summary;
            if (++failed <= live / 4) // what is the machine's fault is graded again, as `perigee grade` does
              --i;
            continue;
          }
          counts.add(result.tiers[0].state, fast, result.rounds);
          ratios[fast].push_back(result.tiers[0].speedup.mid / (threshold * (fast ? margin : 1 / margin)));
          std::ifstream file(options.record / (std::to_string(number) + "-large.json"));
          for (auto &generation : series_from_json(nlohmann::json::parse(file)).generations)
            recorded[fast].push_back(std::move(generation));
        }
      }
      for (int i = 0; i < replays; ++i) {
        const bool fast = i % 2 == 0;
        if (recorded[fast].empty())
          continue;
        const Series series = reorder(recorded[fast], random);
        const int stop = stopping_point(series, {{threshold}});
        replayed.add(judge_tier(speedup(series.first(stop)), threshold), fast, stop);
      }
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      wrong_total += counts.wrong + replayed.wrong;

      figures.push_back(bench::below(name + ": wrong verdicts live", counts.wrong, "verdicts", 0));
      figures.back()["met"] = counts.gradings == live && counts.wrong == 0 && (wall || counts.inconclusive == 0);
      figures.back()["of"] = counts.gradings;
      figures.push_back(bench::below(name + ": wrong verdicts replayed", replayed.wrong, "verdicts", replays / 200));
      figures.back()["met"] = replayed.gradings > 0 && replayed.wrong * 200 <= replayed.gradings;
      figures.back()["of"] = replayed.gradings;
      nlohmann::json detail = {{"regime", name},
                               {"live", counts.json()},
                               {"replayed", replayed.json()},
                               {"failed", failed},
                               {"seconds", seconds}};
      for (auto &side : ratios)
        std::sort(side.begin(), side.end());
      for (const bool fast : {false, true})
        if (!ratios[fast].empty()) // how far the measured speedups lie from the intended ones: smallest and largest
          detail[fast ? "fast_over_intended" : "slow_over_intended"] = {ratios[fast].front(), ratios[fast].back()};
      if (failed)
        detail["failure"] = failure;
      details.push_back(detail);
      if (!json)
        std::printf("%-45s live %d wrong, %d inconclusive of %d (%.0f rounds on average); replayed %d wrong, %d "
                    "inconclusive of %d (%.0f rounds); %.0f s\n",
                    name.c_str(), counts.wrong, counts.inconclusive, counts.gradings,
                    counts.gradings ? static_cast<double>(counts.rounds) / counts.gradings : 0.0, replayed.wrong,
                    replayed.inconclusive, replayed.gradings,
                    replayed.gradings ? static_cast<double>(replayed.rounds) / replayed.gradings : 0.0, seconds);
      if (!json)
        for (const bool fast : {false, true})
          if (!ratios[fast].empty())
            std::printf("  speedups over intended, %s: %.3f to %.3f\n", fast ? "above" : "below", ratios[fast].front(),
                        ratios[fast].back());
      if (failed && !json)
        std::printf("  %d gradings failed: %s\n", failed, failure.c_str());
      std::fflush(stdout);
    }
  }
  if (!json)
    std::printf("%d wrong verdicts in all\n", wrong_total);
  return bench::print("noise", figures, json, details);
}
