#include "sandbox_support.hpp"

#include "cgroup.hpp"
#include "launch.hpp"
#include "lockdown.hpp"
#include "system.hpp"

#include <dirent.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>

namespace perigee::grader {

bool am_root() {
  return geteuid() == 0;
}

bool has_ptrace_capability() {
  static const bool has = [] {
    std::istringstream in(read_kernel_file("/proc/self/status"));
    for (std::string line; std::getline(in, line);) {
      if (line.rfind("CapEff:", 0) == 0) {
        return (std::strtoull(line.c_str() + 7, nullptr, 16) >> 19 & 1) != 0; // CAP_SYS_PTRACE
      }
    }
    return false;
  }();
  return has;
}

// 0x70000000 and up is left free by systemd's allocation of ids; inside a container that maps fewer ids, the upper half
// of those.
uid_t unused_uid() {
  static std::mutex mutex;
  static std::mt19937 random{std::random_device{}()};
  static const std::pair<uint64_t, uint64_t> range = [] {
    uint64_t inside = 0, outside = 0, count = 0;
    std::istringstream(read_kernel_file("/proc/self/uid_map")) >> inside >> outside >> count;
    if (inside != 0 || count == 0 || count > 0x7FFFFFFE) {
      return std::pair<uint64_t, uint64_t>(0x70000000, 0x7FFFFFFE);
    }
    return std::pair<uint64_t, uint64_t>(count / 2, count - 2);
  }();
  const std::lock_guard lock(mutex);
  for (;;) {
    const uid_t uid = std::uniform_int_distribution<uint32_t>(range.first, range.second)(random);
    if (getpwuid(uid) != nullptr) {
      continue;
    }
    bool used = false;
    if (DIR *proc = opendir("/proc")) {
      while (const dirent *entry = readdir(proc)) {
        struct stat status;
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' &&
            fstatat(dirfd(proc), entry->d_name, &status, 0) == 0 && status.st_uid == uid) {
          used = true;
        }
      }
      closedir(proc);
    }
    if (!used) {
      return uid;
    }
  }
}

std::string find_bwrap() {
  std::string path = std::getenv("PATH") ? std::getenv("PATH") : "";
  std::istringstream folders(path + ":/usr/bin:/usr/local/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/bwrap";
    if (!folder.empty() && folder[0] == '/' && access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  return {};
}

std::vector<std::string> namespace_arguments(const std::string &bwrap) {
  return {bwrap,
          "--unshare-user",
          "--unshare-pid",
          "--unshare-net",
          "--unshare-ipc",
          "--unshare-uts",
          "--unshare-cgroup-try",
          "--die-with-parent",
          "--as-pid-1",
          "--cap-drop",
          "ALL",
          "--hostname",
          "perigee"};
}

namespace {

// Runs bubblewrap on `true` as the sandboxes' user would: "" if that works, else its message.
std::string try_bwrap() {
  const std::string bwrap = find_bwrap();
  if (bwrap.empty()) {
    return "bubblewrap (bwrap) is not installed";
  }
  auto [read_end, write_end] = make_pipe();
  Launch launch;
  launch.arguments = namespace_arguments(bwrap);
  launch.arguments.insert(launch.arguments.end(), {"--ro-bind", "/", "/", "/bin/true"});
  launch.change_user = am_root() && has_ptrace_capability();
  launch.uid = launch.change_user ? unused_uid() : 0;
  launch.output = write_end.get();
  const pid_t pid = launch.start();
  write_end.reset();
  std::string text;
  char buffer[512];
  for (ssize_t size; (size = read(read_end.get(), buffer, sizeof buffer)) > 0 || (size < 0 && errno == EINTR);) {
    text.append(buffer, size > 0 ? size : 0);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return {};
  }
  text.erase(text.find_last_not_of('\n') + 1);
  return text.empty() ? "bwrap failed" : text;
}

// Why processes cannot reach into a sandboxed user's memory here, "" if they can.
std::string try_memory_access() {
  uint64_t word = 0x5065726967656521;
  const pid_t parent = getpid();
  const uid_t uid = am_root() && has_ptrace_capability() ? unused_uid() : 0;
  auto [read_end, write_end] = make_pipe();
  const pid_t pid = fork();
  if (pid == 0) {
    if (uid != 0 && syscall(SYS_setresuid, uid, uid, uid) != 0) {
      _exit(1);
    }
    prctl(PR_SET_DUMPABLE, 1); // as an exec would
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && write(write_end.get(), "", 1) == 1) {
      pause();
    }
    _exit(1);
  }
  if (pid < 0) {
    return "cannot fork: " + error_text();
  }
  readable(read_end.get(), 1000);
  uint64_t got = 0;
  iovec here{&got, sizeof got}, there{&word, sizeof word};
  const bool reached = process_vm_readv(pid, &here, 1, &there, 1, 0) == sizeof got && got == word;
  const std::string reason = reached ? "" : error_text();
  ::kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return reason;
}

} // namespace

std::string full_refused() {
  if (const char *value = std::getenv("PERIGEE_SANDBOX"); value != nullptr && std::strcmp(value, "degraded") == 0) {
    return "PERIGEE_SANDBOX=degraded";
  }
  static std::mutex mutex;
  static std::optional<std::string> reason;
  const std::lock_guard lock(mutex);
  if (!reason) {
    reason = try_bwrap();
  }
  return *reason;
}

std::vector<SandboxCapability> probe_sandbox() {
  std::vector<SandboxCapability> list;
  const auto add = [&](const char *name, bool present, const std::string &found, const std::string &missing) {
    list.push_back({name, present, present ? found : missing});
  };
  const std::string bwrap = find_bwrap();
  std::string version;
  if (!bwrap.empty()) {
    if (FILE *answer = popen((bwrap + " --version").c_str(), "re")) {
      char line[128] = "";
      version = fgets(line, sizeof line, answer) ? line : "";
      version.erase(version.find_last_not_of('\n') + 1);
      pclose(answer);
    }
  }
  add("bubblewrap", !bwrap.empty(), version, "not installed");
  const std::string refused = full_refused();
  add("user namespaces", refused.empty(), "own user, process, file and network namespaces", refused);
  const uint32_t trap = 0x00030000; // SECCOMP_RET_TRAP
  add("seccomp", syscall(SYS_seccomp, 2 /* SECCOMP_GET_ACTION_AVAIL */, 0, &trap) == 0, "system calls are filtered",
      error_text());
  add("Landlock", landlock_version() > 0, "version " + std::to_string(landlock_version()), "not in this kernel");
  const std::string unreachable = try_memory_access();
  add("memory access", unreachable.empty(), "process_vm_readv, process_vm_writev", unreachable);
  const bool own_user = am_root() && has_ptrace_capability();
  add("own user id", own_user, "each sandbox has an unused one",
      am_root() ? "no CAP_SYS_PTRACE to reach other users' memory" : "needs root; sandboxes run as this user");
  std::optional<Cgroup> group;
  if (am_root()) {
    group = Cgroup::create(64 << 20, 16);
  }
  const std::string no_group = am_root() ? "no writable hierarchy" : "needs root";
  add("memory control group", group && group->has_memory(), "limits the whole sandbox",
      no_group + "; memory is sampled");
  add("task control group", group && group->has_pids(), "limits threads", no_group + "; RLIMIT_NPROC limits threads");
  add("freezer", group && group->has_freezer(), "control group", no_group + "; sandboxes are stopped by signal");
  return list;
}

std::string sandbox_level(const std::vector<SandboxCapability> &capabilities) {
  std::string missing;
  for (const SandboxCapability &capability : capabilities) {
    const bool essential = capability.name == "bubblewrap" || capability.name == "user namespaces" ||
                           capability.name == "seccomp" || capability.name == "memory access";
    if (essential && !capability.present) {
      missing += (missing.empty() ? "" : ", ") + ("no " + capability.name) + " (" + capability.reason + ")";
    }
  }
  return missing.empty() ? "full" : "degraded: " + missing;
}

} // namespace perigee::grader
