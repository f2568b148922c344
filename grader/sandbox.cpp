#include "sandbox.hpp"

#include "cgroup.hpp"
#include "lockdown.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <random>
#include <sstream>
#include <utility>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

namespace perigee::grader {
namespace fs = std::filesystem;

namespace {

constexpr size_t kept_output = 64 << 10;
constexpr int64_t freeze_deadline_ns = 1'000'000'000; // SIGSTOP works once the program gets the CPU
constexpr int64_t stop_tail_ns = 50'000;              // a task
constexpr int64_t start_deadline_ns = 30'000'000'000;
constexpr int64_t sample_interval_ns = 2'000'000;
constexpr int64_t zombie_patience_ns = 50'000'000;
constexpr int64_t address_space_slack = 2LL << 30; // RLIMIT_AS is a backstop: a tight one hangs OpenBLAS

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true; // shadow memory needs terabytes of address space
#else
constexpr bool sanitized = false;
#endif

int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

void sleep_ns(long ns) {
  const timespec pause{0, ns};
  nanosleep(&pause, nullptr);
}

std::string error_text(int error = errno) {
  return std::strerror(error);
}

std::string read_text(const fs::path &path) {
  std::ifstream in(path);
  std::string text;
  // (An istreambuf_iterator would throw where a process of /proc ends between opening and reading.)
  for (char buffer[4096]; in.read(buffer, sizeof buffer), in.gcount() > 0;)
    text.append(buffer, static_cast<size_t>(in.gcount()));
  return text;
}

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor &operator=(Descriptor &&other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { reset(); }
  void reset() {
    if (fd_ >= 0) {
      close(fd_);
    }
    fd_ = -1;
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

std::pair<Descriptor, Descriptor> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    throw InfrastructureError("no pipe for a sandbox: " + error_text());
  }
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

// ---- who may do what on this machine ----

bool am_root() {
  return geteuid() == 0;
}

// Whether this process may reach into the memory of a process with another user id.
bool has_ptrace_capability() {
  static const bool has = [] {
    std::istringstream in(read_text("/proc/self/status"));
    for (std::string line; std::getline(in, line);) {
      if (line.rfind("CapEff:", 0) == 0) {
        return (std::strtoull(line.c_str() + 7, nullptr, 16) >> 19 & 1) != 0; // CAP_SYS_PTRACE
      }
    }
    return false;
  }();
  return has;
}

// A user id that nobody has: per sandbox, so that two of them (or a learner's own processes) share nothing. 0x70000000
// and up is left free by systemd's allocation of ids; inside a container that maps fewer ids, the upper half of those.
uid_t unused_uid() {
  static std::mutex mutex;
  static std::mt19937 random{std::random_device{}()};
  static const std::pair<uint64_t, uint64_t> range = [] {
    uint64_t inside = 0, outside = 0, count = 0;
    std::istringstream(read_text("/proc/self/uid_map")) >> inside >> outside >> count;
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

bool forced_degraded() {
  const char *value = std::getenv("PERIGEE_SANDBOX");
  return value != nullptr && std::strcmp(value, "degraded") == 0;
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

// ---- program and libraries where the confined user can read them ----

bool readable_by_all(const fs::path &file) {
  struct stat status;
  if (stat(file.c_str(), &status) != 0 || !(status.st_mode & S_IROTH)) {
    return false;
  }
  for (fs::path folder = file.parent_path(); folder != folder.root_path(); folder = folder.parent_path()) {
    if (stat(folder.c_str(), &status) != 0 || !(status.st_mode & S_IXOTH)) {
      return false;
    }
  }
  return true;
}

struct ProgramFiles {
  fs::path program;
  fs::path library_folder;
  std::vector<std::string> libraries; // in that folder: libperigee* and perigee/* (plugins), links included
};

ProgramFiles files_of(const fs::path &program) {
  std::error_code error;
  ProgramFiles files;
  files.program = fs::canonical(program, error);
  if (error || access(files.program.c_str(), X_OK) != 0) {
    throw InfrastructureError("cannot run " + program.string() + ": " + (error ? error.message() : error_text()));
  }
  // As its RPATH has it: <prefix>/lib beside <prefix>/libexec/perigee, or where a distribution puts libraries.
  const fs::path prefix = files.program.parent_path().parent_path().parent_path();
  for (const char *name : {"lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"}) {
    for (const auto &entry : fs::directory_iterator(prefix / name, error)) {
      const std::string file = entry.path().filename();
      if (file.rfind("libperigee", 0) == 0 && file.find(".so") != std::string::npos) {
        files.libraries.push_back(file);
      }
    }
    if (!files.libraries.empty()) {
      files.library_folder = prefix / name;
      break;
    }
  }
  for (const auto &entry : fs::directory_iterator(files.library_folder / "perigee", error)) {
    if (entry.path().extension() == ".so") {
      files.libraries.push_back("perigee/" + entry.path().filename().string());
    }
  }
  return files;
}

// Copies for a supervisor that is root and whose program lies where other users cannot look (/root): made once per
// process and program, removed at exit.
class Stage {
 public:
  static Stage &instance() {
    static Stage stage;
    return stage;
  }

  ProgramFiles files(const ProgramFiles &original) {
    const std::lock_guard lock(mutex_);
    if (owner_ != getpid()) { // forked
      folder_.clear();
      owner_ = getpid();
    }
    if (folder_.empty()) {
      sweep();
      std::string name = "/tmp/perigee-stage-" + std::to_string(getpid()) + "-XXXXXX";
      if (mkdtemp(name.data()) == nullptr || chmod(name.c_str(), 0755) != 0) {
        throw InfrastructureError("cannot create a folder in /tmp: " + error_text());
      }
      folder_ = name;
      for (const char *part : {"/libexec", "/libexec/perigee", "/lib", "/lib/perigee"}) {
        make_folder(folder_.string() + part);
      }
    }
    ProgramFiles copy;
    copy.library_folder = folder_ / "lib";
    copy.program = copy_once(original.program, folder_ / "libexec/perigee" / original.program.filename());
    for (const std::string &library : original.libraries) {
      copy_once(original.library_folder / library, copy.library_folder / library);
    }
    copy.libraries = original.libraries;
    return copy;
  }

  ~Stage() {
    if (!folder_.empty() && owner_ == getpid()) {
      std::error_code ignored;
      fs::remove_all(folder_, ignored);
    }
  }

 private:
  static void make_folder(const std::string &path) {
    if (mkdir(path.c_str(), 0755) != 0 || chmod(path.c_str(), 0755) != 0) { // whatever the umask
      throw InfrastructureError("cannot create " + path + ": " + error_text());
    }
  }

  static fs::path copy_once(const fs::path &from, const fs::path &to) {
    std::error_code error;
    if (!fs::exists(to)) {
      fs::copy_file(from, to, error);
      if (error || chmod(to.c_str(), 0755) != 0) {
        throw InfrastructureError("cannot copy " + from.string() + " to " + to.string());
      }
    }
    return to;
  }

  // Removes what a supervisor that was killed has left.
  static void sweep() {
    std::error_code ignored;
    for (const auto &entry : fs::directory_iterator("/tmp", ignored)) {
      const std::string name = entry.path().filename(), prefix = "perigee-stage-";
      struct stat status;
      if (name.rfind(prefix, 0) == 0 && lstat(entry.path().c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
          status.st_uid == geteuid() && ::kill(std::atoi(name.c_str() + prefix.size()), 0) != 0 && errno == ESRCH) {
        fs::remove_all(entry.path(), ignored);
      }
    }
  }

  std::mutex mutex_;
  fs::path folder_;
  pid_t owner_ = getpid();
};

// ---- /proc ----

struct TaskState {
  char state = 0; // 0: gone
  int threads = 0;
  int exit_code = 0; // as waitpid gives it; for a zombie
};

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

TaskState read_stat(int fd) {
  char text[1024];
  const ssize_t size = pread(fd, text, sizeof text - 1, 0);
  text[size > 0 ? size : 0] = 0;
  return parse_stat(text, size);
}

bool same_file(const struct stat &a, const struct stat &b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool readable(int fd, int timeout_ms = 0) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, timeout_ms) > 0;
}

// One process of a sandbox, seen from outside.
struct Process {
  pid_t pid = -1; // in our pid namespace
  Descriptor pidfd, stat, wait_channel, tasks;
  clockid_t clock = 0;
  size_t number = 0;                     // among the settled ones
  const uint32_t *denied_word = nullptr; // SandboxOptions::denied_word
  bool idle = false;                     // stopped for good

  // Why it cannot be seen, "" if it can.
  std::string open_all(pid_t process) {
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

  bool dead() const { return readable(pidfd.get()); }
  void send(int signal) const { syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0); }
  int64_t cpu() const;
  bool all_stopped() const;
  bool all_off_cpu() const;
  template <class Check> bool every_task(const char *file, Check &&check) const;
};

int64_t Process::cpu() const {
  timespec t;
  if (clock_gettime(clock, &t) != 0) {
    throw WorkerGone("the confined program is gone");
  }
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

// Whether check(descriptor of /proc/<pid>/task/<tid>/<file>) holds for every task; one that has just ended passes.
template <class Check> bool Process::every_task(const char *file, Check &&check) const {
  DIR *folder = fdopendir(openat(tasks.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder == nullptr) {
    throw WorkerGone("the confined program is gone");
  }
  bool all = true;
  while (const dirent *entry = readdir(folder)) {
    if (!all) {
      break;
    }
    if (entry->d_name[0] != '.') {
      const std::string path = std::string(entry->d_name) + "/" + file;
      const Descriptor open_file(openat(dirfd(folder), path.c_str(), O_RDONLY | O_CLOEXEC));
      all = !open_file || check(open_file.get());
    }
  }
  closedir(folder);
  return all;
}

// Whether every task is stopped. Throws WorkerGone if there is none left.
bool Process::all_stopped() const {
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
bool Process::all_off_cpu() const {
  const auto left = [](int fd) {
    char text[64];
    const ssize_t size = pread(fd, text, sizeof text, 0);
    return size <= 0 || text[0] != '0';
  };
  return read_stat(stat.get()).threads <= 1 ? left(wait_channel.get()) : every_task("wchan", left);
}

// ---- starting ----

// All that the child needs between fork and exec, prepared beforehand: there only system calls are safe.
struct Launch {
  std::vector<std::string> arguments, environment;
  std::vector<char *> argv, envp;
  std::vector<int> fds; // become 3, 4, ...
  int output = -1;
  bool change_user = false, drop_root = false;
  uid_t uid = 0;
  cpu_set_t cpus;
  bool pin = false;
  int64_t address_space = 0, file_size = 0;
  pid_t parent = 0;
  bool wait = false; // the last of fds is ours: exec only once it can be read

  void seal() {
    for (std::string &text : arguments) {
      argv.push_back(text.data());
    }
    argv.push_back(nullptr);
    for (std::string &text : environment) {
      envp.push_back(text.data());
    }
    envp.push_back(nullptr);
  }
};

[[noreturn]] void fail_child(const char *step) {
  const char *reason = strerrordesc_np(errno);
  for (const char *part : {"perigee-sandbox: ", step, ": ", reason ? reason : "unknown error", "\n"}) {
    if (write(2, part, std::strlen(part)) < 0) {
      break;
    }
  }
  _exit(126);
}

void limit(int resource, int64_t value) {
  const rlimit both{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
  if (setrlimit(static_cast<__rlimit_resource>(resource), &both) != 0) {
    fail_child("setrlimit");
  }
}

[[noreturn]] void run_child(const Launch &launch) {
  // Signals: default actions, nothing blocked, whatever the supervisor uses.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) {
    sigaction(number, &standard, nullptr);
  }

  // Move all descriptors out of the way first, so that none is overwritten before it is copied.
  int moved[64];
  const int count = static_cast<int>(launch.fds.size());
  const int output = fcntl(launch.output, F_DUPFD_CLOEXEC, 100);
  for (int i = 0; i < count; ++i) {
    moved[i] = fcntl(launch.fds[i], F_DUPFD_CLOEXEC, 100);
  }
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (output < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 || null < 0 || dup2(null, 0) < 0) {
    fail_child("standard streams");
  }
  for (int i = 0; i < count; ++i) {
    if (moved[i] < 0 || dup2(moved[i], 3 + i) < 0) {
      fail_child("descriptors");
    }
  }
  if (syscall(SYS_close_range, 3 + count, ~0U, 0) != 0) {
    for (int fd = 3 + count; fd < 65536; ++fd) { // before Linux 5.9
      close(fd);
    }
  }

  // Ctrl-C is for the supervisor only, and so is its terminal. A process group of its own does it, not a new session:
  // that makes a new scheduling group (sched_autogroup), which Linux 6.18 left without the CPU for over 0.5 s in 36 of
  // 40 starts beside a hog on every core of a busy machine (without it: 20 ms at most). What else a session keeps away,
  // seccomp refuses: ioctl (TIOCSTI) and signals.
  setpgid(0, 0);
  if (const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY); terminal >= 0) {
    ioctl(terminal, TIOCNOTTY);
    close(terminal);
  }
  umask(077);
  if (launch.pin && sched_setaffinity(0, sizeof launch.cpus, &launch.cpus) != 0) {
    fail_child("pinning to a CPU");
  }
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, launch.file_size);
  limit(RLIMIT_NOFILE, 256);
  limit(RLIMIT_MEMLOCK, 0);
  limit(RLIMIT_MSGQUEUE, 0);
  if (launch.address_space > 0) {
    limit(RLIMIT_AS, launch.address_space);
  }
  if (launch.drop_root) { // stays uid 0, but exec gives it no capability
    const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
                               SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                               SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (prctl(PR_SET_SECUREBITS, bits) != 0) {
      fail_child("dropping root's capabilities");
    }
  }
  if (launch.change_user) {
    const gid_t gid = launch.uid;
    // Raw calls: glibc's wrappers signal threads, which a forked child must not.
    if (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setresgid, gid, gid, gid) != 0 ||
        syscall(SYS_setresuid, launch.uid, launch.uid, launch.uid) != 0) {
      fail_child("changing to an unused user id");
    }
  }
  // After the change of user, which resets it.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != launch.parent) {
    _exit(126);
  }
  if (launch.wait) {
    char byte;
    while (read(2 + count, &byte, 1) < 0 && errno == EINTR) {
    }
    close(2 + count);
  }
  execve(launch.argv[0], launch.argv.data(), launch.envp.data());
  fail_child(launch.argv[0]);
}

std::atomic<bool> user_namespaces_work{false}; // a sandbox of the full kind has been started
std::mutex support_mutex;
std::optional<std::string> no_full_reason; // why bubblewrap cannot work here; empty text: it can

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
  launch.parent = getpid();
  launch.output = write_end.get();
  launch.seal();
  const pid_t pid = fork();
  if (pid == 0) {
    run_child(launch);
  }
  write_end.reset();
  if (pid < 0) {
    return "cannot fork: " + error_text();
  }
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

// Why no full sandbox can be had here, "" if it can. Asked once a process, unless forced by the environment.
std::string full_refused() {
  if (forced_degraded()) {
    return "PERIGEE_SANDBOX=degraded";
  }
  const std::lock_guard lock(support_mutex);
  if (!no_full_reason) {
    if (user_namespaces_work) {
      no_full_reason = "";
    } else {
      no_full_reason = try_bwrap();
    }
  }
  return *no_full_reason;
}

} // namespace

// ---- the sandbox ----

struct Sandbox::State {
  SandboxOptions options;
  pid_t launcher = -1; // our child: bubblewrap, or the program itself when degraded
  bool direct = false;
  bool held = false; // bubblewrap is stopped, so that it cannot reap the program
  bool reaped = false;
  // First the program, which is the first process of its pid namespace; then those it has started, once settled.
  std::vector<Process> processes = std::vector<Process>(1);
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

  Process &program() { return processes.front(); }
  const Process &worker(size_t number) const {
    return settled.empty() ? processes.front() : processes.at(settled.at(number));
  }
  // The first that is dead; nullptr while all live.
  const Process *corpse() const {
    const auto found = std::find_if(processes.begin(), processes.end(), [](const Process &p) { return p.dead(); });
    return found == processes.end() ? nullptr : &*found;
  }
  bool dead() const { return corpse() != nullptr; }
  int64_t cpu() const {
    int64_t sum = 0;
    for (const Process &process : processes) {
      sum += process.cpu();
    }
    return sum;
  }
  // To all that work. What is idle stays stopped.
  void send(int signal) const {
    for (const Process &process : processes) {
      if (!process.idle) {
        process.send(signal);
      }
    }
  }
  // The death of the first process of a pid namespace is the death of all in it.
  void strike() { program().send(SIGKILL); }
  bool all(bool (Process::*check)() const) const {
    return std::all_of(processes.begin(), processes.end(),
                       [&](const Process &process) { return process.idle || (process.*check)(); });
  }

  void drain();
  void sample(bool force);
  void end_because(ExitReason reason);
  void collect();
  void end();
  bool reap(bool block);
  int launcher_status = 0;
};

// Reads what the program has printed: the first 64 KiB are kept, the rest only counted.
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
                   [](const Process &process) { return read_stat(process.stat.get()).state == 'Z'; })) {
    zombie_since = 0;
  } else if (zombie_since == 0) {
    zombie_since = time;
  } else if (time - zombie_since > zombie_patience_ns) {
    end_because(ExitReason::exited);
    return;
  }
  if (cgroup && cgroup->has_memory()) {
    now = cgroup->memory_now();
    peak = std::max(peak, cgroup->memory_peak());
    return;
  }
  int64_t used = 0, scratch_used = 0;
  for (const Process &process : processes) {
    long long size = 0, resident = 0;
    std::istringstream(read_text("/proc/" + std::to_string(process.pid) + "/statm")) >> size >> resident;
    used += resident * sysconf(_SC_PAGESIZE);
  }
  for (const Descriptor &folder : scratch) {
    struct statfs info;
    if (fstatfs(folder.get(), &info) == 0) {
      scratch_used += static_cast<int64_t>(info.f_blocks - info.f_bfree) * info.f_bsize;
    }
  }
  if (used + scratch_used > options.memory_bytes) {
    // Resident size counts shared libraries in full; the proportional size is fair but takes long to read.
    used = 0;
    for (const Process &process : processes) {
      std::istringstream in(read_text("/proc/" + std::to_string(process.pid) + "/smaps_rollup"));
      for (std::string line; std::getline(in, line);) {
        if (line.rfind("Pss:", 0) == 0) {
          used += std::strtoll(line.c_str() + 4, nullptr, 10) * 1024;
        }
      }
    }
  }
  now = used + scratch_used;
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

// The program is dead: find out how. Its zombie is kept (bubblewrap is stopped and cannot reap it), which gives the
// exact status, its CPU time, and a pid that nobody else gets.
void Sandbox::State::collect() {
  if (exit) {
    return;
  }
  drain();
  int status = 0;
  const Process *process = corpse();
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

Sandbox::Sandbox(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sandbox::Sandbox(Sandbox &&) noexcept = default;
Sandbox &Sandbox::operator=(Sandbox &&) noexcept = default;
Sandbox::~Sandbox() = default;

Sandbox Sandbox::start(const SandboxOptions &options) {
  if (options.inherit_fds.size() > 32) {
    throw InfrastructureError("a sandbox takes at most 32 descriptors");
  }
  auto state = std::make_unique<State>();
  state->options = options;
  const std::string refused = full_refused();
  state->direct = !refused.empty();
  if (state->direct) {
    if (options.require_full) {
      throw InfrastructureError("the full sandbox is required, but this machine gives only a degraded one: " + refused);
    }
    if (options.processes) {
      throw InfrastructureError(
          "several processes in one sandbox (MPI) need namespaces of their own, which this machine "
          "does not give: " +
          refused);
    }
    state->missing.push_back("own process, file and network namespaces (" + refused + ")");
    if (landlock_version() == 0) {
      state->missing.push_back("hidden files (this kernel has no Landlock)");
    }
    // Same user id or not, nothing may look into the process that holds the seed.
    prctl(PR_SET_DUMPABLE, 0);
  }

  Launch launch;
  launch.parent = getpid();
  if (am_root()) {
    launch.change_user = has_ptrace_capability();
    launch.drop_root = !launch.change_user && state->direct;
    if (launch.change_user) {
      launch.uid = unused_uid();
    } else {
      state->missing.push_back("own user id (root without CAP_SYS_PTRACE could not reach its memory)");
    }
  } else if (state->direct) {
    state->missing.push_back("own user id (not started as root)");
  }

  ProgramFiles files = files_of(options.program);
  if (launch.change_user) {
    bool stage = !readable_by_all(files.program);
    for (const std::string &library : files.libraries) {
      stage = stage || !readable_by_all(files.library_folder / library);
    }
    if (stage) {
      files = Stage::instance().files(files);
    }
  }

  const std::string inside_libraries = state->direct ? files.library_folder.string() : "/perigee/lib";
  launch.environment = {"LC_ALL=C", "PATH=/nonexistent", "LD_LIBRARY_PATH=" + inside_libraries,
                        "PERIGEE_SANDBOX_LIBRARIES=" + inside_libraries};
  if (!state->direct || launch.change_user) { // else the limit would count the user's other processes
    launch.environment.push_back("PERIGEE_SANDBOX_TASKS=" + std::to_string(options.max_tasks + 2)); // and bwrap
  }
  if (!state->direct) { // without a mount namespace, /tmp is everybody's
    launch.environment.push_back("PERIGEE_SANDBOX_SCRATCH=/tmp");
  }
  launch.environment.insert(launch.environment.end(), options.environment.begin(), options.environment.end());
  if (sanitized) {
    launch.environment.push_back("ASAN_OPTIONS=detect_leaks=0"); // leak checking needs ptrace
  }

  auto [output_read, output_write] = make_pipe();
  auto [info_read, info_write] = make_pipe();
  auto [go_read, go_write] = make_pipe();
  fcntl(output_read.get(), F_SETFL, O_NONBLOCK);
  fcntl(output_read.get(), F_SETPIPE_SZ, 1 << 20); // fewer stalls of a program that prints much; may be refused
  launch.output = output_write.get();
  launch.fds = options.inherit_fds;
  launch.file_size = std::max(options.scratch_bytes, options.shared_memory_bytes);
  launch.address_space = sanitized ? 0 : options.memory_bytes + address_space_slack;
  if (!options.cpus.empty()) {
    CPU_ZERO(&launch.cpus);
    for (const int cpu : options.cpus) {
      CPU_SET(cpu, &launch.cpus);
    }
    launch.pin = true;
  }

  std::string inside_program;
  if (state->direct) {
    launch.arguments = {files.program};
    launch.fds.push_back(go_read.get());
    launch.wait = true;
  } else {
    const std::string bwrap = find_bwrap();
    launch.arguments = namespace_arguments(bwrap);
    const auto add = [&](std::initializer_list<std::string> list) {
      launch.arguments.insert(launch.arguments.end(), list);
    };
    launch.fds.push_back(info_write.get());
    add({"--info-fd", std::to_string(2 + launch.fds.size())});
    launch.fds.push_back(go_read.get());
    add({"--block-fd", std::to_string(2 + launch.fds.size())});
    add({"--ro-bind", "/usr/lib", "/usr/lib", "--ro-bind-try", "/usr/lib64", "/usr/lib64"});
    add({"--ro-bind-try", "/usr/lib32", "/usr/lib32", "--ro-bind-try", "/usr/local/lib", "/usr/local/lib"});
    for (const char *name : {"lib", "lib64"}) {
      std::error_code error;
      if (fs::is_symlink(std::string("/") + name, error)) { // merged /usr
        add({"--symlink", std::string("usr/") + name, std::string("/") + name});
      } else {
        add({"--ro-bind-try", std::string("/") + name, std::string("/") + name});
      }
    }
    add({"--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"});
    // Debian's libopenblas.so.0 is a link by way of here.
    add({"--ro-bind-try", "/etc/alternatives", "/etc/alternatives"});
    for (const char *device : {"/dev/null", "/dev/zero", "/dev/urandom"}) {
      add({"--dev-bind", device, device});
    }
    add({"--size", std::to_string(options.scratch_bytes), "--tmpfs", "/tmp"});
    if (options.shared_memory_bytes > 0) {
      add({"--size", std::to_string(options.shared_memory_bytes), "--tmpfs", "/dev/shm"});
    }
    for (const fs::path &path : options.also_visible) {
      add({"--ro-bind", path.string(), path.string()});
    }
    for (const std::string &library : files.libraries) {
      add({"--ro-bind", fs::canonical(files.library_folder / library).string(), "/perigee/lib/" + library});
    }
    inside_program = "/perigee/libexec/perigee/" + files.program.filename().string();
    add({"--ro-bind", files.program.string(), inside_program, "--remount-ro", "/", "--chdir", "/", "--",
         inside_program});
  }
  launch.arguments.insert(launch.arguments.end(), options.arguments.begin(), options.arguments.end());
  launch.seal();

  if (options.use_cgroups && am_root()) {
    state->cgroup = Cgroup::create(options.memory_bytes, options.max_tasks);
  }

  const pid_t child = fork();
  if (child == 0) {
    run_child(launch);
  }
  if (child < 0) {
    throw InfrastructureError("cannot start a process for a sandbox: " + error_text());
  }
  state->launcher = child;
  state->output = std::move(output_read);
  output_write.reset();
  info_write.reset();

  const int64_t deadline = now_ns() + start_deadline_ns;
  const auto refuse = [&](const std::string &what) {
    state->reap(false);
    state->drain();
    std::string words = state->text;
    words.erase(words.find_last_not_of('\n') + 1);
    throw InfrastructureError("the sandbox did not start: " + (words.empty() ? what : words));
  };

  // Who is the program? Our own child when degraded; else bubblewrap's child, named by bubblewrap before it runs
  // anything of ours: nothing that is confined has a say.
  pid_t pid = 0;
  if (state->direct) {
    pid = child;
  } else {
    std::string info;
    while (info.find('}') == std::string::npos) {
      char buffer[256];
      const int64_t left = deadline - now_ns();
      if (left <= 0 || !readable(info_read.get(), static_cast<int>(left / 1'000'000) + 1)) {
        refuse("bubblewrap gave no answer");
      }
      const ssize_t size = read(info_read.get(), buffer, sizeof buffer);
      if (size < 0 && errno == EINTR) {
        continue;
      }
      if (size <= 0) {
        state->reap(true);
        refuse("bubblewrap ended without a word");
      }
      info.append(buffer, size);
    }
    const size_t at = info.find("\"child-pid\":");
    pid = at == std::string::npos ? 0 : std::atoi(info.c_str() + at + 12);
    if (pid <= 0) {
      refuse("bubblewrap did not name its child");
    }
  }
  const std::string proc = "/proc/" + std::to_string(pid);
  if (const std::string reason = state->program().open_all(pid); !reason.empty()) {
    refuse(reason);
  }
  state->program().denied_word = options.denied_word;
  // Entering the groups waits for the kernel; meanwhile bubblewrap mounts. The program runs only once it is inside.
  if (state->cgroup && !state->cgroup->add(pid)) {
    state->cgroup.reset();
  }
  state->cgroup_freezes = state->cgroup && state->cgroup->has_freezer();

  // Bubblewrap's child has made all mounts when it sees the program; it then waits for our word. By now its parent has
  // nothing left to do but to wait for it, so it can be stopped for good (see collect()).
  const std::string seen = proc + "/root" + inside_program;
  struct stat launcher_exe {
  }, exe{};
  const fs::path launcher_path = state->direct ? fs::path("/proc/self/exe") : fs::path(launch.arguments[0]);
  if (stat(launcher_path.c_str(), &launcher_exe) != 0) {
    refuse("no " + launcher_path.string());
  }
  bool released = false;
  for (;;) {
    const bool dead = state->dead();
    if (!released && (state->direct || dead || access(seen.c_str(), F_OK) == 0)) {
      state->held = !state->direct && !dead && ::kill(child, SIGSTOP) == 0;
      go_write.reset();
      released = true;
    }
    if (dead) {
      // Failed before the exec, or has run and ended already: then exit_info() tells.
      if (!state->direct && !state->held) {
        state->reap(true);
      }
      state->drain();
      if (state->text.rfind("bwrap: ", 0) == 0 || state->text.rfind("perigee-sandbox: ", 0) == 0) {
        refuse("");
      }
      break;
    }
    if (stat((proc + "/exe").c_str(), &exe) == 0 ? !same_file(exe, launcher_exe)
                                                 : read_stat(state->program().stat.get()).state == 'Z') {
      break; // exec'ed; its first thread may even have ended already
    }
    if (now_ns() > deadline) {
      refuse("the program did not start within 30 s");
    }
    sleep_ns(100'000);
  }
  user_namespaces_work = user_namespaces_work || !state->direct;
  if (!state->direct) {
    for (const char *folder : {"/root/tmp", "/root/dev/shm"}) {
      if (Descriptor opened(open((proc + folder).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)); opened) {
        state->scratch.push_back(std::move(opened));
      }
    }
  }
  return Sandbox(std::move(state));
}

namespace {

// The processes that descend from `ancestor`, itself left out.
std::vector<pid_t> descendants(pid_t ancestor) {
  std::vector<std::pair<pid_t, pid_t>> parents; // process, its parent
  if (DIR *proc = opendir("/proc")) {
    while (const dirent *entry = readdir(proc)) {
      if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') {
        const std::string text = read_text(std::string("/proc/") + entry->d_name + "/stat");
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

// The number by which a process in a pid namespace of its own knows itself.
pid_t number_inside(pid_t process) {
  std::istringstream in(read_text("/proc/" + std::to_string(process) + "/status"));
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("NSpid:", 0) == 0) {
      return std::atoi(line.c_str() + line.find_last_of(" \t") + 1);
    }
  }
  return 0;
}

} // namespace

void Sandbox::settle(const std::vector<SettledProcess> &given) {
  State &s = *state_;
  s.settled.assign(given.size(), 0);
  s.program().idle = true;
  for (const pid_t pid : descendants(s.program().pid)) {
    Process process;
    if (const std::string reason = process.open_all(pid); !reason.empty()) {
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
  for (const Process &process : s.processes) {
    if (process.idle) {
      process.send(SIGSTOP);
    }
  }
  for (const int64_t start = now_ns();;) {
    if (s.dead()) {
      throw WorkerGone("the confined program is gone");
    }
    if (std::all_of(s.processes.begin(), s.processes.end(),
                    [](const Process &process) { return !process.idle || process.all_stopped(); })) {
      break;
    }
    if (now_ns() - start > start_deadline_ns) {
      throw InfrastructureError("a process of the sandbox could not be stopped within 30 s");
    }
    sleep_ns(100'000);
  }
  if (descendants(s.program().pid).size() + 1 != s.processes.size()) {
    throw InfrastructureError("a process of the sandbox has come or gone while it was counted");
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
  for (const Process &process : state_->processes) {
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
  while (!(s.cgroup_freezes ? s.cgroup->frozen() : s.all(&Process::all_stopped))) {
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
  while (!no_wait_channels && !s.all(&Process::all_off_cpu)) {
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
  for (const Process &process : s.processes) {
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
