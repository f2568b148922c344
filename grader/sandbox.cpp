#include "sandbox_state.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cstdio>

namespace perigee::grader {

namespace {

constexpr int64_t freeze_deadline_ns = 1'000'000'000; // SIGSTOP works once the program gets the CPU
constexpr int64_t stop_tail_ns = 50'000;              // a task
constexpr int64_t settle_deadline_ns = 30'000'000'000;

} // namespace

Sandbox::Sandbox(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sandbox::Sandbox(Sandbox &&) noexcept = default;
Sandbox &Sandbox::operator=(Sandbox &&) noexcept = default;
Sandbox::~Sandbox() = default;
void Sandbox::settle(const std::vector<SettledProcess> &given) {
  State &s = *state_;
  s.settled.assign(given.size(), 0);
  s.program().idle = true;
  for (const pid_t pid : descendants(s.program().pid)) {
    WatchedProcess process;
    if (const std::string reason = process.open_all(pid); !reason.empty()) {
      if (::kill(pid, 0) != 0 && errno == ESRCH) {
        continue; // has ended since
      }
      throw InfrastructureError("a process of the sandbox cannot be watched: " + reason);
    }
    const pid_t inside = number_inside(pid);
    const auto named =
        std::find_if(given.begin(), given.end(), [&](const SettledProcess &one) { return one.pid == inside; });
    process.idle = named == given.end();
    if (!process.idle) {
      process.number = static_cast<size_t>(named - given.begin());
      process.denied_word = named->denied_word;
      s.settled[process.number] = s.processes.size();
    }
    s.processes.push_back(std::move(process));
  }
  if (std::count(s.settled.begin(), s.settled.end(), 0U) > 0) {
    throw InfrastructureError("a process of the sandbox is not to be found");
  }
  // The parents before the children, so that none is started behind our back.
  for (const WatchedProcess &process : s.processes) {
    if (process.idle) {
      process.send(SIGSTOP);
    }
  }
  for (const int64_t start = now_ns();;) {
    if (s.dead()) {
      throw WorkerGone("the confined program is gone");
    }
    if (std::all_of(s.processes.begin(), s.processes.end(),
                    [](const WatchedProcess &process) { return !process.idle || process.all_stopped(); })) {
      break;
    }
    if (now_ns() - start > settle_deadline_ns) {
      throw InfrastructureError("a process of the sandbox could not be stopped within 30 s");
    }
    sleep_ns(100'000);
  }
  if (descendants(s.program().pid).size() + 1 != s.processes.size()) {
    throw InfrastructureError("a process of the sandbox has come or gone while it was counted");
  }
}

void Sandbox::spread(const std::vector<int> &cpus, size_t shift) {
  for (size_t number = 0; number < state_->settled.size(); ++number) {
    state_->worker(number).pin(cpus[(number + shift) % cpus.size()]);
  }
}

pid_t Sandbox::pid() const {
  return state_->processes.front().pid;
}
bool Sandbox::frozen() const {
  return state_->is_frozen;
}
const char *Sandbox::freezer() const {
  return state_->cgroup_freezes ? "cgroup" : "signal";
}
int64_t Sandbox::cpu_ns() const {
  return state_->cpu();
}
int64_t Sandbox::waited_ns() const {
  int64_t sum = 0;
  for (const WatchedProcess &process : state_->processes) {
    if (process.idle) {
      continue;
    }
    process.every_task("schedstat", [&](int fd) {
      char text[96] = "";
      long long waited = 0; // the second number
      if (pread(fd, text, sizeof text - 1, 0) > 0 && std::sscanf(text, "%*u %lld", &waited) == 1) {
        sum += waited;
      }
      return true;
    });
  }
  return sum;
}
std::vector<std::string> Sandbox::unprotected() const {
  return state_->missing;
}

void Sandbox::freeze() {
  State &s = *state_;
  if (s.exit || s.dead()) {
    throw WorkerGone("the confined program is gone");
  }
  const int64_t start = now_ns();
  if (s.cgroup_freezes) {
    if (!s.cgroup->freeze()) {
      throw InfrastructureError("cannot freeze a control group: " + error_text());
    }
  } else {
    s.send(SIGSTOP);
  }
  // First without giving up the CPU: on a busy machine it comes back a millisecond later. Then sleeping, since with one
  // CPU for both the program needs ours to stop.
  const auto waited = [](int64_t since) {
    const int64_t time = now_ns() - since;
    if (time > 200'000) {
      sleep_ns(20'000);
    }
    return time;
  };
  while (!(s.cgroup_freezes ? s.cgroup->frozen() : s.all(&WatchedProcess::all_stopped))) {
    if (s.dead()) {
      throw WorkerGone("the confined program is gone");
    }
    if (waited(start) > freeze_deadline_ns) {
      throw InfrastructureError("a confined program could not be stopped within a second");
    }
  }
  if (s.dead()) {
    throw WorkerGone("the confined program is gone");
  }
  static std::atomic<bool> no_wait_channels{false};
  const int64_t stopped = now_ns();
  while (!no_wait_channels && !s.all(&WatchedProcess::all_off_cpu)) {
    if (waited(stopped) > freeze_deadline_ns) {
      no_wait_channels = true;
    }
  }
  s.frozen_cpu = s.cpu();
  s.is_frozen = true;
}

void Sandbox::thaw() {
  State &s = *state_;
  s.is_frozen = false;
  if (!s.cgroup_freezes) {
    s.send(SIGCONT);
  } else if (!s.cgroup->thaw() && !s.dead()) {
    throw InfrastructureError("cannot thaw a control group: " + error_text());
  }
}

bool Sandbox::ran_while_frozen() const {
  const State &s = *state_;
  if (!s.is_frozen) {
    return false;
  }
  // Not zero, for kernels on which all_off_cpu() knows less; what undoes a stop runs for milliseconds.
  const int64_t moved = s.cpu() - s.frozen_cpu;
  int threads = 0;
  for (const WatchedProcess &process : s.processes) {
    threads += read_stat(process.stat.get()).threads;
  }
  return moved > 0 && moved > stop_tail_ns * std::max(1, threads);
}

namespace {

template <class Transfer> bool transfer_all(uint64_t address, void *data, size_t size, Transfer &&transfer) {
  auto *local = static_cast<char *>(data);
  while (size > 0) { // the kernel moves at most 2 GiB at a time
    iovec here{local, std::min<size_t>(size, 1 << 30)};
    iovec there{reinterpret_cast<void *>(address), here.iov_len};
    const ssize_t moved = transfer(&here, &there);
    if (moved <= 0) {
      return false;
    }
    local += moved;
    address += static_cast<uint64_t>(moved);
    size -= static_cast<size_t>(moved);
  }
  return true;
}

} // namespace

bool Sandbox::write_memory(uint64_t address, const void *data, size_t size, size_t process) {
  const pid_t pid = state_->worker(process).pid;
  return transfer_all(address, const_cast<void *>(data), size, [&](const iovec *here, const iovec *there) {
    return process_vm_writev(pid, here, 1, there, 1, 0);
  });
}

bool Sandbox::read_memory(uint64_t address, void *data, size_t size, size_t process) {
  const pid_t pid = state_->worker(process).pid;
  return transfer_all(address, data, size, [&](const iovec *here, const iovec *there) {
    return process_vm_readv(pid, here, 1, there, 1, 0);
  });
}

bool Sandbox::alive() {
  State &s = *state_;
  if (!s.exit && s.dead()) {
    s.collect();
  }
  return !s.exit;
}

bool Sandbox::poll() {
  State &s = *state_;
  if (alive()) {
    s.drain();
    if (s.output_total > s.options.output_cap) {
      s.end_because(ExitReason::output);
    }
    s.sample(false);
  }
  return alive();
}

std::optional<ExitInfo> Sandbox::exit_info() {
  alive();
  return state_->exit;
}

bool Sandbox::wait(double seconds) {
  const int64_t deadline = now_ns() + static_cast<int64_t>(seconds * 1e9);
  while (poll()) {
    const int64_t left = deadline - now_ns();
    if (left <= 0) {
      return false;
    }
    readable(state_->program().pidfd.get(), static_cast<int>(std::min<int64_t>(left / 1'000'000 + 1, 5)));
  }
  return true;
}

int64_t Sandbox::memory_now() {
  if (alive()) {
    state_->sample(true);
  }
  return state_->exit ? 0 : state_->now;
}

int64_t Sandbox::memory_peak() {
  if (alive()) {
    state_->sample(true);
  }
  return state_->peak;
}

std::string Sandbox::take_output() {
  State &s = *state_;
  s.drain();
  std::string fresh = s.text.substr(s.text_seen);
  s.text_seen = s.text.size();
  return fresh;
}

bool Sandbox::output_flooded() {
  state_->drain();
  return state_->output_total > state_->options.output_cap;
}

int64_t Sandbox::output_bytes() const {
  return state_->output_total;
}

void Sandbox::kill() {
  state_->end();
}

} // namespace perigee::grader
