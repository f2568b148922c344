// What grading costs beyond the measured calls: the protocol's steps alone, and sandboxes and protocol of a whole
// submission. Prints JSON figures (scripts/bench grading).
//
//   grading [--quick] [--json]
#include "grader/channel.hpp"
#include "grader/grade.hpp"
#include "tests/bench/figures.hpp"
#include "tests/bench/processes.hpp"
#include "tests/grader/temporary_exercise.hpp"

#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <vector>

using namespace perigee::grader;

namespace {

// The machine's own price of go and done: a process on the worker's cores sleeps on a futex, is woken, and answers.
class Echo {
public:
  explicit Echo(const std::vector<int> &cpus)
      : words_(static_cast<Words *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))),
        child_(fork()) {
    if (child_ != 0)
      return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int cpu : cpus)
      CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
    for (uint32_t seen = 0;;) {
      while (words_->go == seen)
        futex_wait(words_->go, seen, 0);
      words_->done.store(++seen);
    }
  }
  ~Echo() {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    munmap(words_, 4096);
  }
  Echo(const Echo &) = delete;

  double turn() {
    const int64_t start = raw_nanoseconds();
    const uint32_t number = ++words_->go;
    futex_wake(words_->go);
    while (words_->done != number)
      ;
    return double(raw_nanoseconds() - start) * 1e-9;
  }

private:
  struct Words {
    std::atomic<uint32_t> go, done;
  };
  Words *words_;
  pid_t child_;
};

} // namespace

int main(int argc, char **argv) {
  const bench::Options options = bench::parse(argc, argv);
  if (!options.valid) {
    std::fprintf(stderr, "usage: grading [--quick] [--json]\n");
    return 2;
  }
  const int times = options.quick ? 100 : 1000;
  nlohmann::json figures = nlohmann::json::array();

  Session session{SessionOptions{}}; // pins this process to the supervisor's cores
  {
    ChannelOptions options;
    options.role = "worker";
    options.memory_bytes = 256 << 20;
    options.max_tasks = 2;
    options.cpus = session.worker_cpus();
    Channel channel(options,
                    {{"name", "empty.lua"},
                     {"entry", "solve"},
                     {"jit", true},
                     {"memory", 64 << 20},
                     {"modules", nlohmann::json::array()},
                     {"threads", 1}},
                    "return { solve = function() return 1 end }");
    const auto command = [&](Command what) {
      channel.post(what);
      if (channel.wait(1.0, 1.0) != Channel::Wait::done)
        throw std::runtime_error("the worker does not answer");
    };
    command(Command::load);
    std::vector<double> turns, bare, freezes;
    Echo echo(session.worker_cpus());
    for (int i = 0; i < times; ++i) {
      channel.page().count = 0;
      // As between slices, the worker must be woken: back to back it would not have fallen asleep (0.5 us).
      usleep(200);
      bare.push_back(echo.turn());
      usleep(200);
      const int64_t start = raw_nanoseconds();
      command(Command::call);
      turns.push_back(double(raw_nanoseconds() - start) * 1e-9);
    }
    for (int i = 0; i < times; ++i) {
      const int64_t start = raw_nanoseconds();
      channel.sandbox().freeze();
      channel.sandbox().thaw();
      freezes.push_back(double(raw_nanoseconds() - start) * 1e-9);
    }
    figures.push_back(bench::below("go and done without freezing, median", bench::median(turns) * 1e6, "us", 20));
    figures.push_back(bench::against("go and done, beside waking a bare process by futex", bench::median(turns) * 1e6,
                                     "us", "bare futex", bench::median(bare) * 1e6));
    figures.push_back(bench::below(std::string("freeze and thaw of a single-threaded worker, median (") +
                                       channel.sandbox().freezer() + ")",
                                   bench::median(freezes) * 1e6, "us", 200));
  }

  TemporaryExercise folder;
  folder.exercise.tiers = {folder.tier(0.5)};
  std::vector<double> overheads, walls;
  for (int i = 0; i < (options.quick ? 3 : 10) + 1; ++i) {
    const Result result =
        grade_submission(folder.exercise, {"ada", folder.write("solve.lua", folder.work(1.0))}, session);
    if (result.verdict != Verdict::passed)
      throw std::runtime_error("a right submission did not pass: " + result.summary);
    if (i > 0) { // the first one calibrates
      overheads.push_back(result.overhead_seconds);
      walls.push_back(result.wall_seconds);
    }
  }
  figures.push_back(bench::below("sandboxes and protocol of a submission, three generations",
                                 bench::median(overheads) * 1e3, "ms", 150));
  figures.push_back(bench::plain("a submission with calls of 1 ms in all", bench::median(walls) * 1e3, "ms"));

  // An endless loop: how long after its limit everything is over, sandboxes gone.
  folder.exercise.limits.call_seconds = 0.5;
  const auto endless = folder.write("endless.lua", "return { solve = function() while true do end end }");
  std::vector<double> late;
  for (int i = 0; i < (options.quick ? 3 : 10); ++i) {
    const Result result = grade_submission(folder.exercise, {"ada", endless}, session);
    if (result.verdict != Verdict::over_limit)
      throw std::runtime_error("an endless loop was not over limit: " + result.summary);
    late.push_back(result.wall_seconds - folder.exercise.limits.call_seconds);
  }
  figures.push_back(bench::below("an endless loop: from its limit to the verdict, sandboxes' start included",
                                 bench::median(late) * 1e3, "ms", 500));
  return bench::print("grading", figures, options.json, nullptr, bench::spread(walls));
}
