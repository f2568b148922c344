#include "gpu_time.hpp"

#include "channel.hpp"
#include "lockdown.hpp"
#include "text.hpp"

#include "core/wire.hpp"

#include <lua.hpp>
#include <nlohmann/json.hpp>
#include <perigee/perigee.h>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace perigee::grader {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int rounds_each = 16;        // of a process, after which another begins
constexpr double start_seconds = 60.0; // CUDA loads, and kernels are compiled

double seconds_until(Clock::time_point deadline) {
  return std::chrono::duration<double>(deadline - Clock::now()).count();
}

// Runs the other process; what it prints. Throws InfrastructureError where it fails or is late.
json run(std::vector<std::string> arguments, double limit, const std::atomic<bool> *interrupted) {
  const std::string program = worker_program().string();
  arguments.insert(arguments.begin(), {program, "gpu-time"});
  std::vector<char *> words;
  for (std::string &argument : arguments)
    words.push_back(argument.data());
  words.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    throw InfrastructureError("no pipe to the process that measures on the GPU");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, program.c_str(), &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (failed) {
    close(ends[0]);
    throw InfrastructureError("cannot run " + program);
  }
  std::string text;
  const Clock::time_point deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limit));
  bool late = false, stopped = false;
  for (;;) {
    pollfd end{ends[0], POLLIN, 0};
    const int ready = poll(&end, 1, 50);
    if (ready > 0) {
      char buffer[4096];
      const ssize_t got = read(ends[0], buffer, sizeof buffer);
      if (got <= 0)
        break;
      text.append(buffer, std::size_t(got));
    }
    stopped = interrupted && interrupted->load();
    late = seconds_until(deadline) < 0;
    if (late || stopped) {
      kill(pid, SIGKILL);
      break;
    }
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    ;
  if (stopped)
    throw Interrupted{};
  if (late)
    throw InfrastructureError("measuring on the GPU took longer than " + seconds_text(limit));
  json answer = json::parse(text, nullptr, false);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || answer.is_discarded())
    throw InfrastructureError("measuring on the GPU failed");
  if (answer.contains("error"))
    throw InfrastructureError("measuring on the GPU failed: " + answer.at("error").get<std::string>());
  return answer;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0.0 : values[values.size() / 2];
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "perigee-gpu-XXXXXX").string();
    if (!mkdtemp(pattern.data()))
      throw InfrastructureError("no temporary folder");
    path = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder &) = delete;
  void write(const char *name, const Bytes &bytes) const {
    std::ofstream file(path / name, std::ios::binary);
    file.write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
    if (!file.flush())
      throw InfrastructureError("cannot write " + (path / name).string());
  }
  fs::path path;
};

} // namespace

const std::string &no_gpu_reason() {
  static const std::string reason = [] {
    try {
      std::string why = run({}, start_seconds, nullptr).at("reason").get<std::string>();
      if (why.empty()) { // and when it is confined?
        const TemporaryFolder folder;
        why = run({folder.path.string()}, start_seconds, nullptr).at("reason").get<std::string>();
      }
      return why;
    } catch (const std::exception &error) {
      return std::string(error.what());
    }
  }();
  return reason;
}

GpuTimes time_on_gpu(const Bytes &yours, const Bytes &other, const Goal &goal, double budget_seconds,
                     const std::atomic<bool> &interrupted) {
  const TemporaryFolder folder;
  folder.write("yours", yours);
  folder.write("other", other);
  const Clock::time_point end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(budget_seconds));
  GpuTimes times;
  std::vector<double> mine, theirs;
  do {
    const json answer =
        run({folder.path.string(), std::to_string(rounds_each)}, start_seconds + budget_seconds, &interrupted);
    std::vector<Round> generation;
    const auto seconds = answer.at("seconds").get<std::vector<double>>();
    for (std::size_t i = 0; i + 1 < seconds.size(); i += 2) {
      if (!(seconds[i] > 0) || !(seconds[i + 1] > 0))
        throw InfrastructureError("measuring on the GPU failed: a time of zero");
      mine.push_back(seconds[i]);
      theirs.push_back(seconds[i + 1]);
      generation.emplace_back(std::log(seconds[i + 1] / seconds[i]));
    }
    times.series.generations.push_back(std::move(generation));
  } while (!settled(times.series, {goal}) && times.series.rounds() < looks.back() &&
           (times.series.generations.size() < std::size_t(least_generations) || seconds_until(end) > 0));
  times.yours = median(mine);
  times.other = median(theirs);
  return times;
}

// --------------------------------------------------------------------------------------------- the other process ----

int gpu_time_main(const std::vector<std::string> &arguments) {
  json answer;
  const bool measures = arguments.size() > 1;
  std::vector<Bytes> records;
  if (measures)
    for (const char *name : {"yours", "other"}) {
      std::ifstream file(fs::path(arguments[0]) / name, std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      const auto *data = reinterpret_cast<const std::byte *>(text.data());
      records.emplace_back(data, data + text.size());
    }
  if (!arguments.empty()) {
    // What is compiled is kept for the processes that measure the same records after this one, and for no others.
    setenv("PERIGEE_CACHE", (arguments[0] + "/cache").c_str(), 1);
    setenv("CUDA_CACHE_DISABLE", "1", 1);
    lock_device_files(arguments[0]);
  }
  pg_vm_options options{};
  options.struct_size = sizeof options;
  options.print = [](void *, const char *, std::size_t) {}; // standard output is for the answer
  pg_vm *vm = nullptr;
  if (pg_vm_create(&options, &vm) != PG_OK)
    throw std::runtime_error("the engine does not start");
  const int rounds = measures ? std::atoi(arguments[1].c_str()) : 0;
  auto body = [&](lua_State *L) {
    const auto require = [L](const char *module) {
      lua_getfield(L, LUA_REGISTRYINDEX, "perigee.core");
      lua_getfield(L, -1, "require");
      lua_pushstring(L, module);
      lua_call(L, 1, 1);
    };
    require("array");
    const wire::ArrayBridge bridge = wire::bridge(L);
    require("gpu");
    lua_getfield(L, -1, "_grading");
    lua_call(L, 0, 1);
    const auto why_not = [L](const char *function) {
      lua_getfield(L, -1, function);
      lua_call(L, 0, 1);
      const std::string reason = lua_tostring(L, -1);
      lua_pop(L, 1);
      return reason;
    };
    if (arguments.empty()) {
      answer["reason"] = why_not("no_gpu");
      return;
    }
    // A small kernel first: the driver, the compiler and cuBLAS have then all that they open and start.
    answer["reason"] = why_not("no_kernel");
    if (!answer["reason"].get_ref<const std::string &>().empty())
      return;
    lock_device_calls();
    if (!measures) {
      answer["reason"] = why_not("no_kernel");
      return;
    }
    lua_getfield(L, -1, "measure");
    std::string reason;
    for (const Bytes &record : records)
      if (!wire::decode(L, record, {}, bridge, reason))
        luaL_error(L, "a record is malformed: %s", reason.c_str());
    lua_pushinteger(L, rounds);
    lua_call(L, 3, 2);
    if (!lua_istable(L, -2))
      luaL_error(L, "%s", lua_tostring(L, -1));
    const int count = int(lua_objlen(L, -2));
    for (int i = 1; i <= count; ++i) {
      lua_rawgeti(L, -2, i);
      answer["seconds"].push_back(lua_tonumber(L, -1));
      lua_pop(L, 1);
    }
  };
  auto call = [](void *state, void *user) { (*static_cast<decltype(body) *>(user))(static_cast<lua_State *>(state)); };
  if (pg_vm_with_state(vm, call, &body) != PG_OK) {
    const pg_error *error = pg_vm_error(vm);
    answer = {{"error", error->message}};
  }
  std::printf("%s\n", answer.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
  std::fflush(stdout);
  pg_vm_destroy(vm);
  return 0;
}

} // namespace perigee::grader
