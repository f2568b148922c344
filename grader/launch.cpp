#include "launch.hpp"

#include "system.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace perigee::grader {

namespace {

// All that the child needs between fork and exec, made beforehand: there only system calls are safe.
struct Prepared {
  explicit Prepared(const Launch &from) : launch(from) {
    for (const auto &[texts, pointers] : {std::pair(&launch.arguments, &argv), std::pair(&launch.environment, &envp)}) {
      for (const std::string &text : *texts) {
        pointers->push_back(const_cast<char *>(text.c_str()));
      }
      pointers->push_back(nullptr);
    }
  }
  const Launch &launch;
  std::vector<char *> argv, envp;
  pid_t parent = getpid();
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

[[noreturn]] void run_child(const Prepared &prepared) {
  const Launch &launch = prepared.launch;
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
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != prepared.parent) {
    _exit(126);
  }
  if (launch.wait) {
    char byte;
    while (read(2 + count, &byte, 1) < 0 && errno == EINTR) {
    }
    close(2 + count);
  }
  execve(prepared.argv[0], prepared.argv.data(), prepared.envp.data());
  fail_child(prepared.argv[0]);
}

} // namespace

pid_t Launch::start() const {
  const Prepared prepared{*this};
  const pid_t child = fork();
  if (child == 0) {
    run_child(prepared);
  }
  if (child < 0) {
    throw InfrastructureError("cannot start a process for a sandbox: " + error_text());
  }
  return child;
}

} // namespace perigee::grader
