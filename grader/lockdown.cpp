#include "lockdown.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace perigee::grader {

namespace {

[[noreturn]] void fail(const std::string &step, int error) {
  throw std::runtime_error("cannot lock the sandbox: " + step + ": " + std::strerror(error));
}

// ---- Landlock; its numbers here, since the headers of Debian 12 know only the second of its versions ----

struct RulesetAttributes {
  uint64_t handled_access_fs, handled_access_net, scoped;
};

struct [[gnu::packed]] PathBeneath {
  uint64_t allowed_access;
  int32_t parent_fd;
};

constexpr uint64_t fs_execute = 1 << 0, fs_write_file = 1 << 1, fs_read_file = 1 << 2, fs_read_dir = 1 << 3,
                   fs_truncate = 1 << 14, fs_ioctl = 1 << 15;

uint64_t all_file_rights(int version) {
  uint64_t rights = (1 << 13) - 1;      // version 1
  rights |= version >= 2 ? 1 << 13 : 0; // moving between folders
  rights |= version >= 3 ? 1 << 14 : 0; // truncating
  rights |= version >= 5 ? 1 << 15 : 0; // ioctl on devices
  return rights;
}

void allow_beneath(int ruleset, const char *path, uint64_t rights) {
  const int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) {
    return; // not there: nothing to allow
  }
  PathBeneath rule{rights, fd};
  if (syscall(SYS_landlock_add_rule, ruleset, 1, &rule, 0) != 0) {
    fail(std::string("Landlock rule for ") + path, errno);
  }
  close(fd);
}

// A ruleset that allows nothing yet; -1 where the kernel has no Landlock.
int make_ruleset(int version, bool network) {
  if (version == 0) {
    return -1;
  }
  RulesetAttributes attributes{};
  attributes.handled_access_fs = all_file_rights(version);
  attributes.handled_access_net = version >= 4 && !network ? 3 : 0; // TCP bind, connect
  attributes.scoped = version >= 6 && !network ? 3 : 0;             // abstract sockets, signals to outside
  const size_t size = version >= 6 ? sizeof attributes : version >= 4 ? 16 : 8;
  const int ruleset = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, size, 0));
  if (ruleset < 0) {
    fail("Landlock", errno);
  }
  return ruleset;
}

void enforce(int ruleset) {
  if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
    fail("Landlock", errno);
  }
  close(ruleset);
}

void restrict_files(bool scratch, bool network) {
  const int version = landlock_version(), ruleset = make_ruleset(version, network);
  if (ruleset < 0) {
    return; // the supervisor names it (Sandbox::unprotected) where nothing else hides files
  }
  // Plugins load on first use, so the libraries stay readable.
  const uint64_t read_only = fs_read_file | fs_read_dir;
  const char *libraries = std::getenv("PERIGEE_SANDBOX_LIBRARIES");
  for (const char *folder :
       {libraries ? libraries : "/perigee/lib", "/usr/lib", "/lib", "/usr/lib64", "/lib64", "/usr/local/lib"}) {
    allow_beneath(ruleset, folder, read_only);
  }
  for (const char *file : {"/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom"}) {
    allow_beneath(ruleset, file, fs_read_file);
  }
  if (network) { // a rank's, always in namespaces of its own: there is nothing here but what Open MPI reads
    allow_beneath(ruleset, "/", read_only);
  }
  if (const char *folder = scratch ? std::getenv("PERIGEE_SANDBOX_SCRATCH") : nullptr) {
    allow_beneath(ruleset, folder, all_file_rights(version) & ~fs_execute);
    allow_beneath(ruleset, "/dev/shm", all_file_rights(version) & ~fs_execute); // there in a sandbox that has its own
  }
  enforce(ruleset);
}

// For a GPU's driver: the devices that are there now.
void restrict_device_files(const std::string &folder) {
  const int version = landlock_version(), ruleset = make_ruleset(version, false);
  if (ruleset < 0) {
    return;
  }
  const uint64_t all = all_file_rights(version), read_only = fs_read_file | fs_read_dir;
  const uint64_t device = (read_only | fs_write_file | fs_truncate | fs_ioctl) & all;
  allow_beneath(ruleset, "/", read_only); // where the driver, toolkits and Python's wheels lie is not known
  allow_beneath(ruleset, folder.c_str(), all & ~fs_execute);
  allow_beneath(ruleset, "/dev/shm", all & ~fs_execute);
  const uint64_t file = device & ~fs_read_dir; // rules for files have no rights of folders
  for (const char *name : {"/dev/null", "/dev/zero"}) {
    allow_beneath(ruleset, name, file);
  }
  if (DIR *list = opendir("/dev")) {
    while (const dirent *entry = readdir(list)) {
      const std::string name = entry->d_name;
      if (name.rfind("nvidia", 0) == 0) {
        allow_beneath(ruleset, ("/dev/" + name).c_str(), entry->d_type == DT_DIR ? device : file);
      }
    }
    closedir(list);
  }
  enforce(ruleset);
}

// ---- seccomp ----

uint32_t *denied_word = nullptr;

// A call that no rule allows and that ends the process whatever its handlers: the only certain death for the first
// process of a pid namespace, which ignores signals it sends itself.
constexpr int deadly_call = SYS_reboot;

void store_and_die(uint32_t word) {
  if (denied_word != nullptr && __atomic_load_n(denied_word, __ATOMIC_RELAXED) == 0) {
    __atomic_store_n(denied_word, word, __ATOMIC_RELEASE);
  }
  syscall(deadly_call, 0, 0, 0, 0);
  _exit(159);
}

void on_denied(int, siginfo_t *info, void *) {
  store_and_die(static_cast<uint32_t>(info->si_syscall));
}
void on_abort(int) {
  store_and_die(denied_word_abort);
}

class Filter {
 public:
  explicit Filter(uint32_t otherwise) : context_(seccomp_init(otherwise)) {
    if (context_ == nullptr) {
      fail("seccomp", ENOMEM);
    }
    // Another architecture's calls (int 0x80, x32) would pass by numbers that mean something else.
    check(seccomp_attr_set(context_, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "architecture");
    check(seccomp_attr_set(context_, SCMP_FLTATR_CTL_TSYNC, 1), "threads");
    seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2); // a tree instead of a list; older libraries lack it
  }
  Filter(const Filter &) = delete;
  ~Filter() { seccomp_release(context_); }

  void add(uint32_t action, const char *name, std::initializer_list<scmp_arg_cmp> conditions = {}) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) {
      return; // unknown to this library: the default (EPERM) holds
    }
    const int result = seccomp_rule_add_array(context_, action, number, conditions.size(), conditions.begin());
    // EACCES: the action is the default already. Calls that this architecture lacks have negative numbers.
    if (result != 0 && number >= 0 && result != -EACCES) {
      fail(std::string("rule for ") + name, -result);
    }
  }

  void load() { check(seccomp_load(context_), "loading the filter"); }

 private:
  static void check(int result, const char *what) {
    if (result != 0) {
      fail(std::string("seccomp, ") + what, -result);
    }
  }
  scmp_filter_ctx context_;
};

// What LuaJIT, malloc, threads, OpenBLAS, oneTBB and libuv need. Executable mappings are allowed: LuaJIT makes machine
// code.
// clang-format off
constexpr const char *allowed[] = {
    "read", "write", "readv", "writev", "pread64", "close", "lseek", "fstat", "newfstatat", "stat", "lstat", "statx",
    "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "open", "openat", "getdents64",
    "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "mincore",
    "futex", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "exit", "exit_group",
    "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times",
    "sched_yield", "sched_getaffinity", "getcpu", "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid",
    "getegid", "getrandom", "getrusage", "getrlimit", "sysinfo", "uname", "poll", "ppoll", "select", "pselect6", "pause",
    // event loops (perigee.async)
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "pipe2"};

// For scripts that may use /tmp.
constexpr const char *allowed_with_scratch[] = {"pwrite64", "ftruncate", "unlink", "unlinkat", "rename", "renameat",
                                                "renameat2", "mkdir", "mkdirat", "rmdir", "fsync", "fdatasync",
                                                "fallocate", "statfs", "fstatfs"};

// What no honest script does. Each would undo freezing, outlive a kill, look at or signal other processes, or reach for
// more of the kernel than a computation needs.
constexpr const char *deadly[] = {
    "fork", "vfork", "execve", "execveat",
    "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp",
    "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
    "timer_create", "mq_notify", "mq_open",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup", "io_submit", "userfaultfd",
    "setpriority", "sched_setscheduler", "sched_setparam", "sched_setattr", "ioprio_set",
    "add_key", "request_key", "keyctl", "bpf", "perf_event_open", "name_to_handle_at", "open_by_handle_at",
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsmount", "open_tree", "move_mount",
    "mount_setattr",
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto", "recvfrom", "sendmsg", "recvmsg",
    "sendmmsg", "recvmmsg", "shmget", "msgget", "semget", "memfd_secret"};
// clang-format on

void install_filter(const LockdownOptions &options) {
  Filter filter(SCMP_ACT_ERRNO(EPERM));
  for (const char *name : allowed) {
    filter.add(SCMP_ACT_ALLOW, name);
  }
  if (options.scratch) {
    for (const char *name : allowed_with_scratch) {
      filter.add(SCMP_ACT_ALLOW, name);
    }
  }
  for (const char *name : deadly) {
    filter.add(SCMP_ACT_TRAP, name);
  }
  filter.add(SCMP_ACT_KILL_PROCESS, "reboot"); // deadly_call

  // A new thread: never its own process, its own namespace, or a parent to be signalled (the exit signal is the lowest
  // byte). Comparing the whole word but the harmless flags also refuses flags that kernels to come may add.
  const uint64_t must = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
  const uint64_t may = CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                       CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CLONE_DETACHED;
  if (options.threads) {
    filter.add(SCMP_ACT_ALLOW, "clone", {SCMP_A0_64(SCMP_CMP_MASKED_EQ, ~may, must)});
  }
  filter.add(SCMP_ACT_TRAP, "clone", {SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)});
  // Its arguments are in memory, where a filter cannot look; glibc then falls back to clone.
  filter.add(SCMP_ACT_ERRNO(ENOSYS), "clone3");

  // abort() signals its own thread.
  const auto self = static_cast<uint64_t>(getpid());
  filter.add(SCMP_ACT_ALLOW, "tgkill", {SCMP_A0_64(SCMP_CMP_EQ, self), SCMP_A2_64(SCMP_CMP_EQ, SIGABRT)});
  filter.add(SCMP_ACT_TRAP, "tgkill", {SCMP_A0_64(SCMP_CMP_NE, self)});
  filter.add(SCMP_ACT_TRAP, "tgkill", {SCMP_A0_64(SCMP_CMP_EQ, self), SCMP_A2_64(SCMP_CMP_NE, SIGABRT)});

  // No F_SETFL (O_ASYNC), F_SETOWN, F_SETSIG, F_NOTIFY, F_SETLEASE: all of them can make the kernel send SIGCONT.
  for (const uint64_t command : {F_GETFD, F_SETFD, F_GETFL, F_DUPFD, F_DUPFD_CLOEXEC}) {
    filter.add(SCMP_ACT_ALLOW, "fcntl", {SCMP_A1_64(SCMP_CMP_EQ, command)});
  }
  // Only names: other options change dumpability, the parent-death signal (SIGCONT again), timers, seccomp itself.
  for (const uint64_t option : {PR_SET_NAME, 0x53564d41 /* PR_SET_VMA: glibc names its arenas */}) {
    filter.add(SCMP_ACT_ALLOW, "prctl", {SCMP_A0_64(SCMP_CMP_EQ, option)});
  }
  // Reading one's own limits.
  filter.add(SCMP_ACT_ALLOW, "prlimit64", {SCMP_A0_64(SCMP_CMP_EQ, 0), SCMP_A2_64(SCMP_CMP_EQ, 0)});
  // The profiling timer, for perigee.profiler: its signal is SIGPROF, which wakes nobody who is stopped.
  filter.add(SCMP_ACT_ALLOW, "setitimer", {SCMP_A0_64(SCMP_CMP_EQ, ITIMER_PROF)});
  // Any handler but that of refused calls.
  filter.add(SCMP_ACT_ALLOW, "rt_sigaction", {SCMP_A0_64(SCMP_CMP_NE, SIGSYS)});
  filter.load();
}

// What reaches beyond this process and the descriptors that it has, refused to a GPU's driver and its threads.
// clang-format off
constexpr const char *refused_with_device[] = {
    "fork", "vfork", "execve", "execveat", "socket", "connect",
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp",
    "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "bpf", "perf_event_open",
    "add_key", "request_key", "keyctl", "name_to_handle_at", "open_by_handle_at",
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsmount", "open_tree", "move_mount",
    "mount_setattr", "mq_open", "shmget", "msgget", "semget", "memfd_secret",
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff"};
// clang-format on

void install_device_filter() {
  Filter filter(SCMP_ACT_ALLOW);
  const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  for (const char *name : refused_with_device) {
    filter.add(refuse, name);
  }
  filter.add(refuse, "clone", {SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)});
  filter.add(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  const auto self = static_cast<uint64_t>(getpid());
  for (const char *name : {"kill", "tgkill"}) {
    filter.add(refuse, name, {SCMP_A0_64(SCMP_CMP_NE, self)});
  }
  filter.add(refuse, "prlimit64", {SCMP_A0_64(SCMP_CMP_NE, 0)});
  filter.load();
}

void limit(__rlimit_resource resource, rlim_t value) {
  rlimit now{};
  getrlimit(resource, &now);
  const rlim_t least = std::min(now.rlim_max, value);
  const rlimit both{least, least};
  if (setrlimit(resource, &both) != 0) {
    fail("resource limits", errno);
  }
}

void close_others(std::vector<int> keep) {
  keep.insert(keep.end(), {0, 1, 2});
  std::sort(keep.begin(), keep.end());
  keep.push_back(INT32_MAX);
  for (size_t i = 0, next = 0; i < keep.size(); ++i) {
    const auto fd = static_cast<size_t>(keep[i]);
    if (fd > next) {
      syscall(SYS_close_range, static_cast<unsigned>(next), static_cast<unsigned>(fd - 1), 0);
    }
    next = std::max(next, fd + 1);
  }
}

} // namespace

int landlock_version() {
  const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U /* asks for the version */);
  return version > 0 ? static_cast<int>(version) : 0;
}

std::string system_call_name(uint32_t number) {
  char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(number));
  std::string result = name ? name : "system call " + std::to_string(number);
  std::free(name);
  return result;
}

namespace {

// Landlock binds the calling thread and those it starts, no others. unshare(CLONE_VM) does nothing in a process of one
// thread and fails in one of several.
void need_one_thread() {
  if (unshare(CLONE_VM) != 0) {
    throw std::runtime_error("cannot lock the sandbox: threads are running already");
  }
}

void lock_files(const LockdownOptions &options, bool network) {
  need_one_thread();
  close_others(options.keep_fds);
  limit(RLIMIT_CORE, 0);
  if (const char *tasks = std::getenv("PERIGEE_SANDBOX_TASKS")) {
    limit(RLIMIT_NPROC, std::strtoul(tasks, nullptr, 10));
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    fail("no_new_privs", errno);
  }
  restrict_files(options.scratch, network);
}

} // namespace

void lock_files(const LockdownOptions &options) {
  lock_files(options, true);
}

void lock_calls(const LockdownOptions &options) {
  denied_word = options.denied_word;
  struct sigaction action {};
  action.sa_sigaction = on_denied;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSYS, &action, nullptr);
  action.sa_flags = SA_NODEFER;
  action.sa_handler = on_abort;
  sigaction(SIGABRT, &action, nullptr);
  install_filter(options);
}

void lock_device_files(const std::string &folder) {
  need_one_thread();
  close_others({});
  limit(RLIMIT_CORE, 0);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) {
    fail("ending with the parent", errno);
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    fail("no_new_privs", errno);
  }
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  if (syscall(SYS_capset, &head, none) != 0) {
    fail("capabilities", errno);
  }
  restrict_device_files(folder);
}

void lock_device_calls() {
  install_device_filter();
}

void lockdown(const LockdownOptions &options) {
  lock_files(options, false);
  lock_calls(options);
}

} // namespace perigee::grader
