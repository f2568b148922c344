// Timing whole processes, interleaved and pinned, for the suites that compare programs.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <random>
#include <sched.h>
#include <spawn.h>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern char **environ;

namespace bench {

using Command = std::vector<std::string>;

struct Run {
  double wall = 0, cpu = 0; // seconds from before the start to after the end; user and system time
  std::string output;       // standard output
};

// Pins this process and those it starts to the last processor it may use; the first serves most interrupts.
inline void pin() {
  cpu_set_t allowed, one;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return;
  for (int cpu = CPU_SETSIZE - 1; cpu >= 0; --cpu)
    if (CPU_ISSET(cpu, &allowed)) {
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      sched_setaffinity(0, sizeof one, &one);
      return;
    }
}

// Runs a program to its end; a failure of it is an exception.
inline Run run(const Command &command) {
  std::vector<char *> arguments;
  for (const std::string &word : command)
    arguments.push_back(const_cast<char *>(word.c_str()));
  arguments.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    throw std::runtime_error("pipe: " + std::string(std::strerror(errno)));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  Run result;
  const auto start = std::chrono::steady_clock::now();
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error == 0) {
    char buffer[4096];
    for (ssize_t size; (size = read(ends[0], buffer, sizeof buffer)) > 0;)
      result.output.append(buffer, static_cast<std::size_t>(size));
  }
  close(ends[0]);
  if (error != 0)
    throw std::runtime_error(command[0] + ": " + std::strerror(error));
  int status = 0;
  rusage used{};
  wait4(pid, &status, 0, &used);
  const auto seconds = [](const timeval &t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  result.cpu = seconds(used.ru_utime) + seconds(used.ru_stime);
  result.wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw std::runtime_error(command[0] + " failed (status " + std::to_string(status) + ")");
  return result;
}

// Calls first() and second() once each, in random order: one round of an interleaved comparison.
template <class First, class Second> void round(First first, Second second) {
  static std::minstd_rand coin(std::random_device{}());
  if (coin() & 64) {
    first();
    second();
  } else {
    second();
    first();
  }
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n == 0 ? NAN : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

// The distance between the quartiles over the median: above some 0.1 the machine is busy with other things.
inline double spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return (values[n - 1 - n / 4] - values[n / 4]) / median(values);
}

// bin/ of the build this program belongs to.
inline std::filesystem::path binaries() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin";
}

struct Options {
  bool quick = false, json = false, valid = true;
};

inline Options parse(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--quick")
      options.quick = true;
    else if (argument == "--json")
      options.json = true;
    else
      options.valid = false;
  }
  return options;
}

} // namespace bench
