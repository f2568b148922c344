// `perigee doctor`: what this machine offers, what it lacks and why, and how well it can be measured on. Everything is
// found at run time; nothing is changed.
#include "cli/cli.hpp"
#include "cli/mpirun.hpp"
#include "core/processors.hpp"
#include "grader/sandbox.hpp"
#include "grader/text.hpp"

#include <dlfcn.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include <nlohmann/json.hpp>

namespace perigee::cli {

using nlohmann::ordered_json;
namespace fs = std::filesystem;
using grader::bytes_text;
using grader::seconds_text;

namespace {

std::string first_line(const fs::path &path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The value of "key : value" in a file such as /proc/cpuinfo, "" if it is not there.
std::string field(const char *path, const std::string &key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.compare(0, key.size(), key) == 0)
      if (size_t colon = line.find(':'); colon != std::string::npos) {
        size_t start = line.find_first_not_of(" \t", colon + 1);
        return start == std::string::npos ? "" : line.substr(start);
      }
  return "";
}

ordered_json cpu() {
  ordered_json j;
  std::string model = field("/proc/cpuinfo", "model name");
  j["model"] = model.empty() ? "unknown" : model;
  cpu_set_t set;
  CPU_ZERO(&set);
  j["usable_cores"] = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  j["online_cores"] = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  ordered_json simd = ordered_json::array();
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("sse4.2"))
    simd.push_back("SSE4.2");
  if (__builtin_cpu_supports("avx"))
    simd.push_back("AVX");
  if (__builtin_cpu_supports("avx2"))
    simd.push_back("AVX2");
  if (__builtin_cpu_supports("fma"))
    simd.push_back("FMA");
  if (__builtin_cpu_supports("avx512f"))
    simd.push_back("AVX-512F");
#elif defined(__aarch64__)
  simd.push_back("NEON");
#endif
  j["simd"] = simd;
  j["governor"] = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  return j;
}

ordered_json memory() {
  auto kib = [](const char *key) { return std::atoll(field("/proc/meminfo", key).c_str()) * 1024; };
  ordered_json j;
  j["total_bytes"] = kib("MemTotal");
  j["available_bytes"] = kib("MemAvailable");
  j["swap_bytes"] = kib("SwapTotal");
  std::string limit = first_line("/sys/fs/cgroup/memory.max");
  j["limit_bytes"] = limit.empty() || limit == "max" ? 0 : std::atoll(limit.c_str());
  j["page_bytes"] = sysconf(_SC_PAGESIZE);
  std::string huge = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  size_t open = huge.find('['), close = huge.find(']');
  j["huge_pages"] = open < close && close != std::string::npos ? huge.substr(open + 1, close - open - 1) : "unknown";
  return j;
}

// The smallest step between two readings that differ, and what a reading costs, in seconds.
ordered_json clock_facts(clockid_t id) {
  auto now = [id] {
    timespec t;
    clock_gettime(id, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
  };
  std::vector<double> steps;
  for (int i = 0; i < 200; ++i) {
    double start = now(), next = start;
    while (next == start)
      next = now();
    steps.push_back(next - start);
  }
  constexpr int readings = 2000;
  double start = now();
  for (int i = 0; i < readings; ++i)
    now();
  double cost = (now() - start) / readings;
  return {{"step_seconds", *std::min_element(steps.begin(), steps.end()) * 1e-9}, {"reading_seconds", cost * 1e-9}};
}

// A fixed piece of integer work that the compiler cannot shorten.
uint64_t work(int rounds, uint64_t x) {
  for (int i = 0; i < rounds; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
  }
  return x;
}

// Equal pieces of work of about a millisecond, a third of a second together: how far do their times lie apart?
ordered_json noise() {
  using clock = std::chrono::steady_clock;
  volatile uint64_t sink = 88172645463325252ull;
  int rounds = 1000;
  for (double took = 0; took < 1e-3 && rounds < (1 << 28); rounds *= 2) {
    auto start = clock::now();
    sink = work(rounds, sink);
    took = std::chrono::duration<double>(clock::now() - start).count();
  }
  rounds /= 2;
  std::vector<double> wall, cpu;
  auto cpu_now = [] {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  };
  for (auto begin = clock::now(); clock::now() - begin < std::chrono::milliseconds(300);) {
    auto start = clock::now();
    double cpu_start = cpu_now();
    sink = work(rounds, sink);
    cpu.push_back(cpu_now() - cpu_start);
    wall.push_back(std::chrono::duration<double>(clock::now() - start).count());
  }
  auto spread = [](std::vector<double> times) {
    std::sort(times.begin(), times.end());
    size_t n = times.size();
    return times[n * 9 / 10] / times[n / 10] - 1; // the middle four fifths
  };
  double wall_spread = spread(wall), cpu_spread = spread(cpu);
  std::string advice = wall_spread < 0.05 ? "quiet"
                       : cpu_spread < 0.05
                           ? "other programs take turns on the cores: CPU-time exercises are graded well, "
                             "wall-time ones may come out inconclusive"
                           : "the core itself changes speed (shared or throttled): gradings take longer "
                             "and may come out inconclusive";
  return {{"samples", wall.size()}, {"wall_spread", wall_spread}, {"cpu_spread", cpu_spread}, {"advice", advice}};
}

// What confines submissions here.
ordered_json sandbox() {
  std::vector<grader::SandboxCapability> found = grader::probe_sandbox();
  ordered_json list = ordered_json::array();
  for (const auto &one : found)
    list.push_back({{"name", one.name}, {"present", one.present}, {"reason", one.reason}});
  return {{"level", grader::sandbox_level(found)}, {"protections", list}};
}

// How many threads parallel work gets, who says so, and whether that is more than there are processors for.
ordered_json threads() {
  int32_t count = 0, processors = 0;
  const char *source = "";
  double quota = 0;
  const bool fine = pg_threads_default(&count, &source, &processors, &quota) == PG_OK;
  ordered_json j{{"count", count}, {"source", source}, {"processors", processors}, {"quota_processors", quota}};
  const std::string from = source;
  std::string text = std::to_string(count), problem;
  char share[32];
  std::snprintf(share, sizeof share, "%.3g", quota);
  const std::string time = std::string("the time of ") + share + (quota == 1 ? " processor" : " processors");
  if (!fine)
    text = problem = pg_last_message();
  else if (from == "processors")
    text += ", one for each processor that this process may use";
  else if (from == "quota")
    text += ": this process may use " + time + " of " + std::to_string(processors);
  else
    text += ", as " + from + " says";
  if (fine && count > processors)
    problem = "oversubscribed: " + std::to_string(count) + " threads for " + std::to_string(processors) +
              (processors == 1 ? " processor" : " processors") + " take turns, and finish no sooner";
  else if (fine && quota > 0 && count > std::ceil(quota))
    problem =
        "oversubscribed: " + std::to_string(count) + " threads for " + time + " are all stopped when that is used up";
  j["description"] = text;
  j["problem"] = problem;
  return j;
}

// Packages, cores and caches, as parallel.topology() has them.
ordered_json topology() {
  ordered_json j{{"available", false}, {"description", ""}};
  pg_vm_options options{};
  options.struct_size = sizeof options;
  pg_vm *vm = nullptr;
  if (pg_vm_create(&options, &vm) != PG_OK) {
    j["description"] = pg_last_message();
    return j;
  }
  constexpr char text[] = "local pg = require 'perigee' local t = pg.parallel.topology() "
                          "return pg.io.to_json(t), tostring(t)";
  pg_value results[2]{};
  size_t count = 0;
  if (pg_vm_run(vm, text, sizeof text - 1, "doctor", results, 2, &count) != PG_OK || count < 2) {
    j["description"] = pg_vm_error(vm)->message;
  } else {
    j = ordered_json::parse(std::string(results[0].string, results[0].length));
    j["available"] = true;
    j["description"] = std::string(results[1].string, results[1].length);
  }
  pg_vm_destroy(vm);
  return j;
}

// Each Perigee module, and if it does not work here, why: as scripts are told.
ordered_json modules() {
  ordered_json list = ordered_json::array();
  pg_vm_options options{};
  options.struct_size = sizeof options;
  pg_vm *vm = nullptr;
  if (pg_vm_create(&options, &vm) != PG_OK)
    return list;
  for (const char *name : {"array", "random", "linalg", "fft", "io", "collections", "timer", "bench", "profiler", "log",
                           "plot", "parallel", "async", "tasks", "mpi", "kernel", "gpu"}) {
    std::string text = std::string("return require('perigee').available('") + name + "')";
    pg_value results[2]{};
    size_t count = 0;
    ordered_json one{{"name", name}, {"available", false}, {"reason", ""}};
    if (pg_vm_run(vm, text.data(), text.size(), "doctor", results, 2, &count) != PG_OK)
      one["reason"] = pg_vm_error(vm)->message;
    else if (count > 0 && results[0].kind == PG_BOOLEAN && results[0].boolean)
      one["available"] = true;
    else if (count > 1 && results[1].kind == PG_STRING)
      one["reason"] = std::string(results[1].string, results[1].length);
    list.push_back(std::move(one));
  }
  pg_vm_destroy(vm);
  return list;
}

// What `perigee mpirun` finds.
ordered_json mpi() {
  std::string why;
  const std::string path = find_mpirun(why);
  ordered_json j{{"available", !path.empty()}, {"description", why}, {"mpirun", path}};
  if (path.empty())
    return j;
  std::string version = "Open MPI";
  if (FILE *pipe = popen(("'" + path + "' --version 2>/dev/null").c_str(), "r")) {
    char line[256] = "";
    if (std::fgets(line, sizeof line, pipe))
      if (const char *number = std::strpbrk(line, "0123456789"))
        version += " " + std::string(number, std::strcspn(number, " \n"));
    pclose(pipe);
  }
  const int cores = usable_cores();
  const bool copies = can_copy_between_processes();
  j["cores"] = cores;
  j["single_copy"] = copies;
  j["description"] =
      version + ": perigee mpirun, " + std::to_string(cores) + (cores == 1 ? " rank" : " ranks") +
      " without sharing cores" +
      (copies ? "" : "; ranks may not copy from each other's memory here, so that large messages are slower");
  return j;
}

// By the driver alone, as a program without the CUDA Toolkit sees it.
ordered_json gpu() {
  ordered_json j{{"available", false}, {"description", ""}, {"devices", ordered_json::array()}};
  void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!driver) {
    j["description"] = "no NVIDIA driver (libcuda.so.1) on this machine";
    return j;
  }
  auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  auto count_of = reinterpret_cast<int (*)(int *)>(dlsym(driver, "cuDeviceGetCount"));
  auto name_of = reinterpret_cast<int (*)(char *, int, int)>(dlsym(driver, "cuDeviceGetName"));
  auto memory_of = reinterpret_cast<int (*)(size_t *, int)>(dlsym(driver, "cuDeviceTotalMem_v2"));
  auto attribute_of = reinterpret_cast<int (*)(int *, int, int)>(dlsym(driver, "cuDeviceGetAttribute"));
  int count = 0;
  if (!init || !count_of || !name_of || !memory_of || !attribute_of) {
    j["description"] = "libcuda.so.1 lacks functions of the CUDA driver";
  } else if (int code = init(0); code != 0) {
    j["description"] = "the NVIDIA driver does not start (cuInit returned " + std::to_string(code) + ")";
  } else if (count_of(&count) != 0 || count == 0) {
    j["description"] = "the NVIDIA driver finds no GPU";
  } else {
    j["available"] = true;
    for (int device = 0; device < count; ++device) {
      char name[256] = "unknown";
      size_t bytes = 0;
      int major = 0, minor = 0;
      name_of(name, sizeof name, device);
      memory_of(&bytes, device);
      attribute_of(&major, 75, device); // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
      attribute_of(&minor, 76, device);
      j["devices"].push_back({{"name", name},
                              {"bytes", bytes},
                              {"compute_capability", std::to_string(major) + "." + std::to_string(minor)}});
    }
    j["description"] = j["devices"][0]["name"];
  }
  return j;
}

void print(const ordered_json &j) {
  auto out = grader::Console::standard();
  auto row = [&](const std::string &name, const std::string &value, bool good = true) {
    std::cout << grader::pad(name, 12) << (good ? value : out.paint("yellow", value)) << '\n';
  };
  auto yes_or_why = [&](const std::string &name, const ordered_json &part) {
    row(name, part["description"], part["available"]);
  };
  const ordered_json &cpu = j["cpu"], &memory = j["memory"];
  row("Perigee", j["perigee"].get<std::string>() + " on " + j["system"].get<std::string>());
  std::string cores = std::to_string(cpu["usable_cores"].get<int>()) + " usable cores of " +
                      std::to_string(cpu["online_cores"].get<int>());
  row("CPU", cpu["model"].get<std::string>() + ", " + cores);
  std::string list;
  for (const auto &name : cpu["simd"])
    list += (list.empty() ? "" : ", ") + name.get<std::string>();
  row("SIMD", list.empty() ? "none found" : list);
  row("Topology", j["topology"]["description"], j["topology"]["available"]);
  const ordered_json &threads = j["threads"];
  row("Threads", threads["description"], threads["count"].get<int>() > 0);
  if (std::string problem = threads["problem"]; !problem.empty() && problem != threads["description"])
    row("", problem, false);
  if (std::string governor = cpu["governor"]; !governor.empty())
    row("Governor", governor + (governor == "performance" ? "" : ": the clock frequency changes with load"),
        governor == "performance");
  row("Memory",
      bytes_text(memory["total_bytes"].get<double>()) + ", " + bytes_text(memory["available_bytes"].get<double>()) +
          " available" +
          (memory["limit_bytes"].get<int64_t>() > 0 ? ", limited to " + bytes_text(memory["limit_bytes"].get<double>())
                                                    : "") +
          "; huge pages: " + memory["huge_pages"].get<std::string>());
  yes_or_why("MPI", j["mpi"]);
  yes_or_why("GPU", j["gpu"]);
  std::string level = j["sandbox"]["level"];
  row("Sandbox", level, level == "full");
  for (const auto &one : j["sandbox"]["protections"])
    if (!one["present"].get<bool>())
      row("", "lacks " + one["name"].get<std::string>() + ": " + one["reason"].get<std::string>(), false);
  const ordered_json &noise = j["noise"];
  row("Clocks", "wall steps of " + seconds_text(j["clocks"]["wall"]["step_seconds"]) + ", CPU steps of " +
                    seconds_text(j["clocks"]["cpu"]["step_seconds"]));
  char buffer[96];
  std::snprintf(buffer, sizeof buffer,
                "equal work varies by %.1f%% (wall), %.1f%% (CPU): ", noise["wall_spread"].get<double>() * 100,
                noise["cpu_spread"].get<double>() * 100);
  row("Noise", buffer + noise["advice"].get<std::string>(), noise["advice"] == "quiet");
  // Modules that this build does not have at all are one line; others have a reason each.
  std::string present, absent, reasons;
  for (const auto &module : j["modules"]) {
    std::string name = module["name"], reason = module["reason"];
    if (module["available"])
      present += " " + name;
    else if (reason == "this build of Perigee has no module '" + name + "'")
      absent += " " + name;
    else
      reasons += grader::pad("", 12) + name + ": " + reason + "\n";
  }
  row("Modules", present.empty() ? "none" : present.substr(1), !present.empty());
  if (!absent.empty())
    row("", "not in this build:" + absent);
  std::cout << reasons;
}

} // namespace

int doctor(bool json) {
  ordered_json j;
  utsname names{};
  uname(&names);
  std::string distribution;
  std::ifstream release("/etc/os-release");
  for (std::string line; std::getline(release, line);)
    if (line.compare(0, 13, "PRETTY_NAME=\"") == 0)
      distribution = line.substr(13, line.size() - 14);
  j["perigee"] = pg_version();
  j["system"] = (distribution.empty() ? std::string(names.sysname) : distribution) + ", Linux " + names.release + ", " +
                names.machine;
  j["cpu"] = cpu();
  j["topology"] = topology();
  j["threads"] = threads();
  j["memory"] = memory();
  j["mpi"] = mpi();
  j["gpu"] = gpu();
  j["sandbox"] = sandbox();
  j["clocks"] = {{"wall", clock_facts(CLOCK_MONOTONIC)}, {"cpu", clock_facts(CLOCK_PROCESS_CPUTIME_ID)}};
  j["noise"] = noise();
  j["modules"] = modules();
  if (json)
    std::cout << j.dump(2, ' ', false, ordered_json::error_handler_t::replace) << std::endl;
  else
    print(j);
  return 0;
}

} // namespace perigee::cli
