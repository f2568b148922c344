// Arrays against NumPy (scripts/bench arrays): one process of each, driven by turns over pipes, so that both see the
// same machine. On one thread the clock is CPU time and both are pinned to one processor: that stays true on a busy
// machine. On all cores it is wall time. A ratio is the median over rounds.
//
//   arrays [--quick] [--json] [--only=TEXT] [--threads=one|all]
// --only measures the operations whose name contains TEXT. PERIGEE_BENCH_PYTHON names an interpreter that has NumPy;
// without one the suite is skipped.
#include "tests/bench/arrays/cases.hpp"
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <map>
#include <sstream>

namespace {

// A process that answers lines.
class Side {
 public:
  Side(const bench::Command &command, const std::vector<std::string> &extra_environment) : name_(command[0]) {
    int orders[2], answers[2];
    if (pipe2(orders, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0)
      throw std::runtime_error("pipe: " + std::string(std::strerror(errno)));
    std::vector<char *> arguments, environment;
    for (const std::string &word : command)
      arguments.push_back(const_cast<char *>(word.c_str()));
    arguments.push_back(nullptr);
    for (const std::string &setting : extra_environment) // the first of two settings counts
      environment.push_back(const_cast<char *>(setting.c_str()));
    for (char **setting = environ; *setting; ++setting)
      environment.push_back(*setting);
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, orders[0], 0);
    posix_spawn_file_actions_adddup2(&actions, answers[1], 1);
    const int error = posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    close(orders[0]);
    close(answers[1]);
    to_ = orders[1];
    from_ = fdopen(answers[0], "r");
    if (error != 0)
      throw std::runtime_error(name_ + ": " + std::strerror(error));
  }
  Side(const Side &) = delete;
  ~Side() {
    close(to_);
    std::fclose(from_);
    waitpid(pid_, nullptr, 0);
  }

  std::string ask(const std::string &order) {
    const std::string line = order + "\n";
    char *answer = nullptr;
    std::size_t size = 0;
    if (write(to_, line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
        getline(&answer, &size, from_) <= 0) {
      std::free(answer);
      throw std::runtime_error(name_ + " ended at the order: " + order);
    }
    std::string text = answer;
    std::free(answer);
    while (!text.empty() && text.back() == '\n')
      text.pop_back();
    return text;
  }

  // Seconds for one of `count` runs, on the clock wanted.
  double run(long count, bool wall) {
    double cpu_seconds = 0, wall_seconds = 0;
    const std::string answer = ask("run\t" + std::to_string(count));
    if (std::sscanf(answer.c_str(), "%lf %lf", &cpu_seconds, &wall_seconds) != 2)
      throw std::runtime_error(name_ + " printed no figures: " + answer);
    return (wall ? wall_seconds : cpu_seconds) / double(count);
  }

 private:
  std::string name_;
  pid_t pid_ = -1;
  int to_ = -1;
  FILE *from_ = nullptr;
};

struct Measured {
  std::string missing; // why there is no figure
  double ours = 0, rival = 0, ratio = NAN, spread = 0;
};

struct Bench {
  Side &ours, &rival;
  bool wall, quick;
  std::string csv;

  // How many runs fill a slice, when all is warm: the shorter of two tries counts, so that compilation does not.
  long repetitions(Side &side) const {
    const double slice = quick ? 4e-3 : 10e-3;
    long count = 1;
    for (;;) {
      const double first = side.run(count, wall);
      const double seconds =
          std::min(first, first * double(count) < 10 * slice ? side.run(count, wall) : first) * double(count);
      if (seconds >= slice || count >= 10000000)
        return count;
      count = std::max(count * 2, std::min(count * 100, long(double(count) * slice / std::max(seconds, 1e-7))));
    }
  }

  Measured measure(const char *inputs, long n, const char *dtype, const char *mine, const char *theirs) {
    const std::string order =
        std::string("prepare\t") + inputs + "\t" + std::to_string(n) + "\t" + dtype + "\t" + csv + "\t";
    Measured result;
    for (auto [side, statement, who] : {std::tuple{&ours, mine, "Perigee"}, std::tuple{&rival, theirs, "the rival"}})
      if (const std::string answer = side->ask(order + statement); answer != "ok") {
        result.missing = who + (": " + answer.substr(answer.find(' ') + 1));
        return result;
      }
    const long own_count = repetitions(ours), rival_count = repetitions(rival);
    std::vector<double> own, other, ratios;
    double spent = 0;
    const int rounds = quick ? 10 : 40;
    for (int i = 0; i < rounds && (i < 3 || spent < (quick ? 0.5 : 3.0)); ++i) {
      const auto start = std::chrono::steady_clock::now();
      bench::round([&] { own.push_back(ours.run(own_count, wall)); },
                   [&] { other.push_back(rival.run(rival_count, wall)); });
      ratios.push_back(own.back() / other.back());
      spent += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    const auto summary = [&](const std::vector<double> &times) {
      return wall ? bench::median(times) : *std::min_element(times.begin(), times.end());
    };
    result.ours = summary(own);
    result.rival = summary(other);
    result.ratio = wall ? bench::median(ratios) : result.ours / result.rival;
    result.spread = bench::spread(ratios);
    return result;
  }
};

std::string size_text(long n) {
  for (const auto &[value, text] : {std::pair{1000L, "1e3"}, {100000L, "1e5"}, {10000000L, "1e7"}})
    if (n == value)
      return text;
  return std::to_string(n);
}

double geometric_mean(const std::vector<double> &ratios) {
  double sum = 0;
  for (double ratio : ratios)
    sum += std::log(ratio);
  return ratios.empty() ? NAN : std::exp(sum / double(ratios.size()));
}

struct Table {
  bool json, wall;
  std::vector<std::pair<double, std::string>> ranking;
  std::vector<double> all, large;
  std::vector<std::string> missing;
  double spread = 0;
  int absent = 0;

  void cell(const std::string &name, const Measured &m, long n, nlohmann::json &figures) {
    if (!m.missing.empty()) {
      if (missing.empty() || !missing.back().ends_with(" (" + m.missing + ")")) // once an operation
        missing.push_back(name.substr(0, name.find(',')) + " (" + m.missing + ")");
      ++absent;
      if (!json)
        std::printf("  %8s", "missing");
      return;
    }
    ranking.emplace_back(m.ratio, name);
    all.push_back(m.ratio);
    if (n >= 1000000 || n == 400000)
      large.push_back(m.ratio);
    spread = std::max(spread, m.spread);
    const std::optional<double> goal = wall ? std::nullopt : std::optional(1.1);
    figures.push_back(bench::against(name, m.ours, "s", "NumPy", m.rival, m.ratio, goal));
    if (!json)
      std::printf("  %8.2f", m.ratio);
  }
};

void operations(Bench &bench, const std::string &only, bool json, nlohmann::json &figures) {
  const char *title = bench.wall ? "all cores, wall time" : "one thread, CPU time";
  const long sizes[] = {1000, 100000, 10000000};
  if (!json) {
    std::printf("Perigee's time over NumPy's, %s\n  %-16s", title, "");
    for (const char *dtype : {"float64", "float32"})
      for (long n : sizes)
        std::printf("  %4s %-3s", dtype[5] == '6' ? "f64" : "f32", size_text(n).c_str());
    std::printf("\n");
  }
  Table table{json, bench.wall, {}, {}, {}, {}, 0, 0};
  for (const bench::Case &c : bench::operations) {
    if (std::string(c.name).find(only) == std::string::npos)
      continue;
    if (!json)
      std::printf("  %-16s", c.name);
    for (const char *dtype : {"float64", "float32"})
      for (long n : sizes) {
        if (c.fixed && n != sizes[2]) {
          if (!json)
            std::printf("  %8s", "");
          continue;
        }
        const long size = c.fixed ? c.fixed : n;
        const std::string name =
            std::string(c.name) + (c.fixed ? "" : " n=" + size_text(n)) + " " + dtype + ", " + title;
        table.cell(name, bench.measure(c.inputs, size, dtype, c.ours, c.rival), size, figures);
        std::fflush(stdout);
      }
    if (!json)
      std::printf("\n");
  }
  if (table.all.empty())
    return;
  std::sort(table.ranking.rbegin(), table.ranking.rend());
  const double mean = geometric_mean(table.all), large = geometric_mean(table.large);
  if (!json) {
    std::printf("  geometric mean %.3f over %zu figures; %.3f over the %zu with the largest sizes\n", mean,
                table.all.size(), large, table.large.size());
    const auto above = std::count_if(table.ranking.begin(), table.ranking.end(), [](auto &r) { return r.first > 1.1; });
    std::printf("  above 1.1: %ld of %zu", long(above), table.ranking.size());
    for (const auto &[ratio, name] : table.ranking)
      if (ratio > 1.1)
        std::printf("; %s %.2f", name.substr(0, name.find(',')).c_str(), ratio);
    std::printf("\n");
    if (table.spread > 0.25)
      std::printf("  This machine is busy: the middle half of some rounds spread over %.0f%%.\n", table.spread * 100);
    for (const std::string &name : table.missing)
      std::printf("  missing: %s\n", name.c_str());
    std::printf("\n");
  }
  if (only.empty()) {
    figures.push_back(
        bench::below(std::string("geometric mean of ratios, ") + title, mean, "", bench.wall ? 1.0 : 0.8));
    if (bench.wall && !table.large.empty())
      figures.push_back(bench::below(std::string("geometric mean of ratios, n = 1e7, ") + title, large, "", 0.5));
    figures.push_back(bench::plain(std::string("operations missing, ") + title, double(table.absent), ""));
  }
}

void single_figures(Bench &bench, const std::string &only, bool json, nlohmann::json &figures) {
  for (const bench::Figure &f : bench::figures) {
    if (std::string(f.name).find(only) == std::string::npos)
      continue;
    const Measured m = bench.measure(f.inputs, f.n, "float64", f.ours, f.rival);
    if (!m.missing.empty()) {
      if (!json)
        std::printf("  %-44s missing: %s\n", f.name, m.missing.c_str());
      continue;
    }
    figures.push_back(bench::against(f.name, m.ours, "s", f.rival_name, m.rival, m.ratio, f.goal));
    if (f.limit > 0)
      figures.push_back(bench::below(std::string(f.name) + ", seconds", m.ours, "s", f.limit));
    if (!json) {
      std::printf("  %-44s %10.3g us; %s %.3g us; ratio %.2f (goal %.2f)", f.name, m.ours * 1e6, f.rival_name,
                  m.rival * 1e6, m.ratio, f.goal);
      std::printf(f.limit > 0 ? " (goal: %.3g us)\n" : "\n", f.limit * 1e6);
    }
    std::fflush(stdout);
  }
}

std::string write_csv() {
  std::string path = "/tmp/perigee-bench-XXXXXX";
  const int descriptor = mkstemp(path.data());
  if (descriptor < 0)
    throw std::runtime_error("a temporary file: " + std::string(std::strerror(errno)));
  close(descriptor);
  std::ofstream file(path);
  file.precision(17);
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> values(-1000, 1000);
  for (int row = 0; row < 200000; ++row)
    for (int column = 0; column < 5; ++column)
      file << values(random) << (column < 4 ? ',' : '\n');
  return path;
}

} // namespace

int main(int argc, char **argv) {
  bench::Options options;
  std::string only, threads = "both";
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--quick")
      options.quick = true;
    else if (argument == "--json")
      options.json = true;
    else if (argument.starts_with("--only="))
      only = argument.substr(7);
    else if (argument == "--threads=one" || argument == "--threads=all")
      threads = argument.substr(10);
    else
      options.valid = false;
  }
  if (!options.valid) {
    std::fprintf(stderr, "usage: arrays [--quick] [--json] [--only=TEXT] [--threads=one|all]\n");
    return 2;
  }
  const char *named = std::getenv("PERIGEE_BENCH_PYTHON");
  const std::string python = named && *named ? named : "python3";
  nlohmann::json figures = nlohmann::json::array();
  try {
    bench::run({python, "-c", "import numpy"});
  } catch (const std::exception &) {
    std::fprintf(stderr,
                 "arrays: skipped: %s has no NumPy; set PERIGEE_BENCH_PYTHON to an interpreter that has (and pandas)\n",
                 python.c_str());
    return bench::print("arrays", figures, options.json);
  }
  std::string csv;
  int status = 2;
  try {
    csv = write_csv();
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    const std::string scripts = PERIGEE_ARRAYS;
    for (bool wall : {false, true}) {
      if (threads != "both" && (threads == "all") != wall)
        continue;
      const int count = wall ? CPU_COUNT(&allowed) : 1;
      if (wall)
        sched_setaffinity(0, sizeof allowed, &allowed);
      else
        bench::pin();
      std::vector<std::string> environment;
      for (const char *library : {"OPENBLAS", "OMP", "MKL"})
        environment.push_back(std::string(library) + "_NUM_THREADS=" + std::to_string(count));
      Side ours({bench::binaries() / "perigee", "run", "--trusted", scripts + "/ours.lua"}, environment);
      Side rival({python, scripts + "/rival.py"}, environment);
      for (Side *side : {&ours, &rival})
        side->ask("threads\t" + std::to_string(count));
      Bench bench{ours, rival, wall, options.quick, csv};
      if (!options.json)
        std::printf("arrays (%s; NumPy %s)\n", bench::machine().c_str(), rival.ask("version").c_str());
      operations(bench, only, options.json, figures);
      if (!wall)
        single_figures(bench, only, options.json, figures);
    }
    if (options.json) {
      status = bench::print("arrays", figures, true);
    } else {
      const auto missed =
          std::count_if(figures.begin(), figures.end(), [](const auto &f) { return f["met"] == false; });
      std::printf("%ld of %zu figures miss their goal\n", long(missed), figures.size());
      status = missed > 0;
    }
  } catch (const std::exception &e) {
    std::fprintf(stderr, "arrays: %s\n", e.what());
  }
  if (!csv.empty())
    unlink(csv.c_str());
  return status;
}
