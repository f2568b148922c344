#include "core/processors.hpp"

#include "core/status.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sched.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace perigee::core {
namespace {

int count_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return std::max(1, CPU_COUNT(&set));
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// When the library is loaded, before any thread can have been pinned.
const int at_start = count_processors();

// No iostreams: this is part of the start of every program that uses threads.
std::string read_file(const std::string &path) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return text;
  char buffer[4096];
  ssize_t got;
  while ((got = read(fd, buffer, sizeof buffer)) > 0 && text.size() < (1 << 16))
    text.append(buffer, static_cast<std::size_t>(got));
  close(fd);
  return text;
}

// The least quota of a group and those it is in; 0: none. `quota_of` reads a folder's.
template <class Quota> double least_quota(const std::string &root, std::string path, Quota &&quota_of) {
  double least = 0;
  while (true) {
    const double quota = quota_of(root + path + (path.ends_with('/') ? "" : "/"));
    if (quota > 0 && (least == 0 || quota < least))
      least = quota;
    if (path.empty() || path == "/")
      return least;
    path.erase(path.rfind('/'));
  }
}

double quota_v2(const std::string &folder) {
  const std::string text = read_file(folder + "cpu.max"); // "max 100000" or "150000 100000"
  double quota = 0, period = 0;
  return std::sscanf(text.c_str(), "%lf %lf", &quota, &period) == 2 && period > 0 ? quota / period : 0;
}

double quota_v1(const std::string &folder) {
  const double quota = std::atof(read_file(folder + "cpu.cfs_quota_us").c_str()); // -1: none
  const double period = std::atof(read_file(folder + "cpu.cfs_period_us").c_str());
  return quota > 0 && period > 0 ? quota / period : 0;
}

int count_of(const char *name, bool list) {
  const char *text = std::getenv(name);
  if (!text || !*text)
    return 0;
  char *end = nullptr;
  errno = 0;
  const long count = std::strtol(text, &end, 10);
  while (*end == ' ')
    ++end;
  if (end == text || errno != 0 || (*end != 0 && !(list && *end == ',')) || count < 1 || count > 1024)
    throw ArgumentError(std::string("the environment variable ") + name +
                        " must be a number of threads from 1 to 1024" + ", got \"" + text + "\"");
  return static_cast<int>(count);
}

} // namespace

int available_processors() {
  return at_start;
}

double processor_quota(const std::string &root) {
  // Lines such as "0::/user.slice" (version 2) and "4:cpu,cpuacct:/docker/1" (version 1).
  const std::string groups = read_file(root + "/proc/self/cgroup");
  double least = 0;
  for (std::size_t begin = 0; begin < groups.size();) {
    const std::size_t end = std::min(groups.find('\n', begin), groups.size());
    const std::string line = groups.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos)
      continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    double quota = 0;
    if (controllers == ",,")
      quota = least_quota(root + "/sys/fs/cgroup", path, quota_v2);
    else if (controllers.find(",cpu,") != std::string::npos)
      quota = least_quota(root + "/sys/fs/cgroup/cpu", path, quota_v1);
    if (quota > 0 && (least == 0 || quota < least))
      least = quota;
  }
  return least;
}

ThreadDefault threads_of_environment() {
  const int omp = count_of("OMP_NUM_THREADS", true);
  if (const int own = count_of("PERIGEE_NUM_THREADS", false))
    return {own, "PERIGEE_NUM_THREADS"};
  return {omp, omp > 0 ? "OMP_NUM_THREADS" : ""};
}

ThreadDefault thread_default() {
  try {
    if (const ThreadDefault asked = threads_of_environment(); asked.count > 0)
      return asked;
  } catch (const ArgumentError &) {
  }
  const int processors = available_processors();
  if (const double quota = processor_quota(); quota > 0 && std::ceil(quota) < processors)
    return {std::max(1, static_cast<int>(std::ceil(quota))), "quota"};
  return {processors, "processors"};
}

} // namespace perigee::core

int32_t pg_threads_default(int32_t *count, const char **source, int32_t *processors, double *quota) {
  using namespace perigee::core;
  return perigee::guard([&] {
    *processors = available_processors();
    *quota = processor_quota();
    threads_of_environment();
    const ThreadDefault found = thread_default();
    *count = found.count;
    *source = found.source;
  });
}
