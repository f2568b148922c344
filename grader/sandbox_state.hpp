// What the supervisor knows of one sandbox, and how it looks after it (sandbox_state.cpp) from its start
// (sandbox_start.cpp) to its end.
#pragma once

#include "cgroup.hpp"
#include "sandbox.hpp"
#include "watched_process.hpp"

#include <algorithm>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

namespace perigee::grader {

struct Sandbox::State {
  SandboxOptions options;
  pid_t launcher = -1; // our child: bubblewrap, or the program itself when degraded
  bool direct = false;
  bool held = false; // bubblewrap is stopped, so that it cannot reap the program
  bool reaped = false;
  // First the program, which is the first process of its pid namespace; then those it has started, once settled.
  std::vector<WatchedProcess> processes = std::vector<WatchedProcess>(1);
  std::vector<size_t> settled; // where in `processes` those with names are, by their number
  Descriptor output;
  std::vector<Descriptor> scratch; // its file systems in memory
  std::optional<Cgroup> cgroup;
  bool cgroup_freezes = false;
  bool is_frozen = false;
  int64_t frozen_cpu = 0;
  std::optional<ExitInfo> exit;
  std::optional<ExitReason> ended_by_us;
  int64_t last_sample = 0, peak = 0, now = 0, zombie_since = 0;
  std::string text;
  size_t text_seen = 0;
  int64_t output_total = 0;
  std::vector<std::string> missing;

  ~State() { end(); }

  WatchedProcess &program() { return processes.front(); }
  const WatchedProcess &worker(size_t number) const {
    return settled.empty() ? processes.front() : processes.at(settled.at(number));
  }
  // The first that is dead; nullptr while all live.
  const WatchedProcess *corpse() const {
    const auto found =
        std::find_if(processes.begin(), processes.end(), [](const WatchedProcess &p) { return p.dead(); });
    return found == processes.end() ? nullptr : &*found;
  }
  bool dead() const { return corpse() != nullptr; }
  int64_t cpu() const {
    int64_t sum = 0;
    for (const WatchedProcess &process : processes) {
      sum += process.cpu();
    }
    return sum;
  }
  // To all that work. What is idle stays stopped.
  void send(int signal) const {
    for (const WatchedProcess &process : processes) {
      if (!process.idle) {
        process.send(signal);
      }
    }
  }
  // The death of the first process of a pid namespace is the death of all in it.
  void strike() { program().send(SIGKILL); }
  bool all(bool (WatchedProcess::*check)() const) const {
    return std::all_of(processes.begin(), processes.end(),
                       [&](const WatchedProcess &process) { return process.idle || (process.*check)(); });
  }

  void drain();            // reads what the program has printed: the first 64 KiB are kept, the rest only counted
  void sample(bool force); // memory, and whether it is alive in earnest; ends it when over a limit
  void end_because(ExitReason reason);
  void collect(); // the program is dead: finds out how
  void end();
  bool reap(bool block);
  int launcher_status = 0;
};

} // namespace perigee::grader
