#include "sandbox_state.hpp"

#include "lockdown.hpp"

#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <numeric>
#include <sstream>

namespace perigee::grader {

namespace {

constexpr size_t kept_output = 64 << 10;
constexpr int64_t sample_interval_ns = 2'000'000;
constexpr int64_t zombie_patience_ns = 50'000'000;

} // namespace

void Sandbox::State::drain() {
  char buffer[16384];
  // Bounded, so that a program that prints faster than we read cannot hold us.
  for (int round = 0; output && round < 64; ++round) {
    const ssize_t size = read(output.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size <= 0) {
      break;
    }
    output_total += size;
    text.append(buffer, std::min<size_t>(size, kept_output - std::min(kept_output, text.size())));
  }
}

void Sandbox::State::sample(bool force) {
  const int64_t time = now_ns();
  if (!force && time - last_sample < sample_interval_ns) {
    return;
  }
  last_sample = time;
  // A first thread that has left the others behind: then /proc shows no memory any more. No honest program does it, but
  // for a moment any looks so that dies.
  if (std::none_of(processes.begin(), processes.end(),
                   [](const WatchedProcess &process) { return read_stat(process.stat.get()).state == 'Z'; })) {
    zombie_since = 0;
  } else if (zombie_since == 0) {
    zombie_since = time;
  } else if (time - zombie_since > zombie_patience_ns) {
    end_because(ExitReason::exited);
    return;
  }
  if (cgroup && cgroup->has_memory()) {
    now = cgroup->memory_now();
    peak = std::max({peak, now, cgroup->memory_peak()}); // (kernels before 5.19 keep no peak)
    return;
  }
  // (A process that has just ended shows nothing, and then uses nothing.)
  std::vector<int64_t> used;
  for (const WatchedProcess &process : processes) {
    long long size = 0, resident = 0;
    std::istringstream(read_kernel_file("/proc/" + std::to_string(process.pid) + "/statm")) >> size >> resident;
    used.push_back(resident * sysconf(_SC_PAGESIZE));
  }
  int64_t scratch_used = 0;
  for (const Descriptor &folder : scratch) {
    struct statfs info;
    if (fstatfs(folder.get(), &info) == 0) {
      scratch_used += static_cast<int64_t>(info.f_blocks - info.f_bfree) * info.f_bsize;
    }
  }
  const auto sum = [&] { return std::accumulate(used.begin(), used.end(), scratch_used); };
  if (sum() > options.memory_bytes) {
    // Resident size counts shared libraries in full; the proportional size is fair but takes long to read, and not
    // every kernel tells it.
    for (size_t i = 0; i < used.size(); ++i) {
      std::istringstream in(read_kernel_file("/proc/" + std::to_string(processes[i].pid) + "/smaps_rollup"));
      for (std::string line; std::getline(in, line);) {
        if (line.rfind("Pss:", 0) == 0) {
          used[i] = std::strtoll(line.c_str() + 4, nullptr, 10) * 1024;
        }
      }
    }
  }
  now = sum();
  peak = std::max(peak, now);
  if (now > options.memory_bytes) {
    end_because(ExitReason::memory);
  }
}

void Sandbox::State::end_because(ExitReason reason) {
  if (!ended_by_us && !exit && !dead()) {
    ended_by_us = reason;
    strike();
  }
}

bool Sandbox::State::reap(bool block) {
  if (!reaped && launcher > 0) {
    pid_t got;
    while ((got = waitpid(launcher, &launcher_status, block ? 0 : WNOHANG)) < 0 && errno == EINTR) {
    }
    reaped = got != 0;
  }
  return reaped;
}

// Its zombie is kept (bubblewrap is stopped and cannot reap it), which gives the
// exact status, its CPU time, and a pid that nobody else gets.
void Sandbox::State::collect() {
  if (exit) {
    return;
  }
  drain();
  int status = 0;
  const WatchedProcess *process = corpse();
  if (process == nullptr) {
    process = &program();
  }
  const TaskState last = held || direct ? read_stat(process->stat.get()) : TaskState{};
  if (last.state == 'Z' || last.state == 'X') {
    status = last.exit_code;
  } else {
    ::kill(launcher, SIGCONT);
    reap(true);
    status = launcher_status;
    if (!direct && WIFEXITED(status) && WEXITSTATUS(status) > 128) {
      status = WEXITSTATUS(status) - 128; // bubblewrap's way to tell a signal
    }
  }
  ExitInfo info;
  info.memory_limit = options.memory_bytes;
  info.process = process->number;
  if (WIFSIGNALED(status)) {
    info.reason = ExitReason::signalled;
    info.signal = WTERMSIG(status);
  } else {
    info.code = WEXITSTATUS(status);
  }
  if (info.signal == SIGKILL && cgroup && cgroup->out_of_memory()) {
    info.reason = ExitReason::memory;
  } else if (info.signal == SIGKILL && ended_by_us) {
    info.reason = *ended_by_us;
  } else if (info.signal == SIGSYS) {
    info.reason = ExitReason::denied;
    const volatile uint32_t *place = process->denied_word;
    const uint32_t word = place ? *place : 0;
    if (word == denied_word_abort) {
      info.reason = ExitReason::signalled;
      info.signal = SIGABRT;
    } else if (word != 0) {
      info.denied_syscall = system_call_name(word);
    }
  }
  if (cgroup) {
    peak = std::max(peak, cgroup->memory_peak());
  }
  exit = info;
}

void Sandbox::State::end() {
  if (launcher <= 0) {
    return;
  }
  const bool started = static_cast<bool>(program().pidfd);
  if (started) {
    if (dead()) {
      collect();
    }
    end_because(ExitReason::killed);
    strike(); // the others, where one has died by itself
    for (const int64_t start = now_ns(); !readable(program().pidfd.get(), 100) && now_ns() - start < 2'000'000'000;) {
      strike();
    }
    collect();
  }
  if (!direct) {
    // Let bubblewrap reap the program; killed, it would leave the zombie to an init that a container may not have.
    ::kill(launcher, SIGCONT);
    for (int attempt = 0; started && attempt < 1000 && !reap(false); ++attempt) {
      sleep_ns(100'000);
    }
  }
  if (!reap(false)) {
    ::kill(launcher, SIGKILL);
    reap(true);
  }
  launcher = -1;
  cgroup.reset();
}
std::string ExitInfo::describe() const {
  switch (reason) {
  case ExitReason::exited:
    return code == 0 ? "ended early" : "ended early with exit code " + std::to_string(code);
  case ExitReason::signalled: {
    const char *name = strsignal(signal);
    return "crashed (" + std::string(name ? name : "signal " + std::to_string(signal)) + ")";
  }
  case ExitReason::memory:
    return "used more than its " + std::to_string(memory_limit >> 20) + " MiB of memory";
  case ExitReason::output:
    return "printed too much";
  case ExitReason::denied:
    return "tried " + (denied_syscall.empty() ? "a system call" : denied_syscall) + " (not allowed in the sandbox)";
  case ExitReason::killed:
    return "was stopped by the grader";
  }
  return {};
}

} // namespace perigee::grader
