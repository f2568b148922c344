#include "watched_process.hpp"

#include <sys/syscall.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace perigee::grader {

namespace {

TaskState parse_stat(const char *text, ssize_t size) {
  TaskState result;
  const char *end = size > 0 ? static_cast<const char *>(memrchr(text, ')', size)) : nullptr; // names may hold ')'
  if (end == nullptr || end + 3 >= text + size) {
    return result;
  }
  result.state = end[2];
  const char *at = end + 2;
  for (int field = 3; *at; ++field) { // numbered as in proc(5)
    if (field == 20) {
      result.threads = std::atoi(at);
    } else if (field == 52) {
      result.exit_code = std::atoi(at);
    }
    at = std::strchr(at, ' ');
    if (at == nullptr) {
      break;
    }
    ++at;
  }
  return result;
}

} // namespace

TaskState read_stat(int fd) {
  char text[2048]; // 52 fields of up to 20 digits, and the last is needed
  const ssize_t size = pread(fd, text, sizeof text - 1, 0);
  text[size > 0 ? size : 0] = 0;
  return parse_stat(text, size);
}

std::string WatchedProcess::open_all(pid_t process) {
  pid = process;
  const std::string proc = "/proc/" + std::to_string(pid);
  pidfd = Descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  stat = Descriptor(open((proc + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  wait_channel = Descriptor(open((proc + "/wchan").c_str(), O_RDONLY | O_CLOEXEC));
  tasks = Descriptor(open((proc + "/task").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!pidfd) {
    return "pidfd_open: " + error_text();
  }
  return clock_getcpuclockid(pid, &clock) == 0 ? "" : "the program has no CPU clock";
}

bool WatchedProcess::dead() const {
  return readable(pidfd.get());
}

void WatchedProcess::send(int signal) const {
  syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
}

void WatchedProcess::pin(int cpu) const {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  every_task("stat", [&](int fd) {
    char text[32] = "";
    if (pread(fd, text, sizeof text - 1, 0) > 0) {
      sched_setaffinity(std::atoi(text), sizeof one, &one);
    }
    return true;
  });
}

int64_t WatchedProcess::cpu() const {
  timespec t;
  if (clock_gettime(clock, &t) != 0) {
    throw WorkerGone("the confined program is gone");
  }
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

bool WatchedProcess::all_stopped() const {
  const TaskState leader = read_stat(stat.get());
  if (leader.state == 0 || (leader.threads <= 1 && (leader.state == 'Z' || leader.state == 'X'))) {
    throw WorkerGone("the confined program is gone");
  }
  if (leader.threads == 1) {
    return leader.state == 'T';
  }
  // New threads join the stop, so one pass that finds all stopped is enough; a leader that has left by pthread_exit
  // stays behind as a zombie.
  return every_task("stat", [](int fd) {
    const char state = read_stat(fd).state;
    return state == 'T' || state == 'Z' || state == 'X' || state == 0;
  });
}

// A task is marked as stopped shortly before it leaves the CPU, and may be preempted in between; whenever it gets the
// CPU back, its clock moves (by 230 us once, with what interrupts and a hypervisor add). It has a wait channel only
// once it has left. Kernels without wait channels always say 0.
bool WatchedProcess::all_off_cpu() const {
  const auto left = [](int fd) {
    char text[64];
    const ssize_t size = pread(fd, text, sizeof text, 0);
    return size <= 0 || text[0] != '0';
  };
  return read_stat(stat.get()).threads <= 1 ? left(wait_channel.get()) : every_task("wchan", left);
}

std::vector<pid_t> descendants(pid_t ancestor) {
  std::vector<std::pair<pid_t, pid_t>> parents; // process, its parent
  if (DIR *proc = opendir("/proc")) {
    while (const dirent *entry = readdir(proc)) {
      if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') {
        const std::string text = read_kernel_file(std::string("/proc/") + entry->d_name + "/stat");
        const size_t end = text.rfind(')');
        int parent = 0;
        if (end != std::string::npos && std::sscanf(text.c_str() + end + 1, " %*c %d", &parent) == 1) {
          parents.emplace_back(std::atoi(entry->d_name), parent);
        }
      }
    }
    closedir(proc);
  }
  std::vector<pid_t> family{ancestor};
  for (size_t i = 0; i < family.size(); ++i) {
    for (const auto &[process, parent] : parents) {
      if (parent == family[i]) {
        family.push_back(process);
      }
    }
  }
  family.erase(family.begin());
  return family;
}

pid_t number_inside(pid_t process) {
  std::istringstream in(read_kernel_file("/proc/" + std::to_string(process) + "/status"));
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("NSpid:", 0) == 0) {
      return std::atoi(line.c_str() + line.find_last_of(" \t") + 1);
    }
  }
  return 0;
}

} // namespace perigee::grader
