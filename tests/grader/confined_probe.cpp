// A confined program for the sandbox's tests: `confined-probe ATTACK [argument]` locks itself as a worker does,
// performs one named attack, prints "result VALUE ERRNO" where the attack is a system call, and ends. With a leading
// "unlocked" it skips lockdown(), so that a test can show that the attack works when nothing stops it.
#include "grader/lockdown.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <functional>
#include <map>
#include <sched.h>
#include <string>
#include <thread>
#include <vector>

namespace {

// Shared with the test through descriptor 3 (a memfd of one page) where it passes one.
struct Page {
  uint32_t denied;
  uint32_t ready;
  uint64_t ticks;   // how far the program has come
  uint64_t address; // of its secret
  uint64_t value;
};
Page private_page{};
Page *page = &private_page;
volatile uint64_t secret = 0x1234567890abcdef;

void result(long value) {
  std::printf("result %ld %s\n", value, value < 0 ? strerrorname_np(errno) : "-");
}

void spin_for_ever() {
  for (;;) {
    __atomic_add_fetch(&page->ticks, 1, __ATOMIC_RELAXED);
  }
}

void send_cont_by_timer() {
  std::signal(SIGCONT, [](int) {}); // since Linux 6.13 an ignored signal stops its timer
  // Many, since a stop drops the signals that are pending just then, and their timers with them.
  for (long i = 0; i < 32; ++i) {
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGCONT;
    int timer = 0;
    const long made = syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer); // glibc's wrapper does the same
    if (i == 0) {
      result(made);
    }
    itimerspec every{};
    every.it_value.tv_nsec = every.it_interval.tv_nsec = (2 + i) * 1'000'000;
    syscall(SYS_timer_settime, timer, 0, &every, nullptr);
  }
  std::fflush(stdout);
  spin_for_ever();
}

void hog(bool all_at_once) {
  const size_t step = all_at_once ? size_t{1} << 40 : size_t{8} << 20;
  for (;;) {
    auto *block = static_cast<char *>(mmap(nullptr, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (block == MAP_FAILED) {
      result(-1);
      return;
    }
    for (size_t i = 0; i < step; i += 4096) {
      block[i] = 1;
    }
  }
}

void try_open(const char *path, int flags) {
  result(open(path, flags, 0600));
}

void list_descriptors() {
  std::string found;
  for (int fd = 0; fd < 1024; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) {
      found += " " + std::to_string(fd);
    }
  }
  std::printf("descriptors%s\n", found.c_str());
}

void many_threads(int count) {
  std::vector<std::thread> threads;
  int started = 0;
  try {
    for (; started < count; ++started) {
      threads.emplace_back([] { pause(); });
    }
  } catch (const std::exception &) {
  }
  std::printf("threads %d\n", started);
  std::fflush(stdout);
  _exit(0);
}

// The flags that glibc gives a thread.
constexpr unsigned long thread_flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

void perform(const std::string &attack, const char *argument) {
  const char *path = argument ? argument : "/";
  const pid_t other = argument ? std::atoi(argument) : 1;
  const std::map<std::string, std::function<void()>> attacks = {
      {"nothing", [] {}},
      {"hello", [] { std::puts("hello"); }},
      {"exit", [&] { _exit(other); }},
      {"spin", spin_for_ever},
      {"sleep", [] { pause(); }},
      {"naps",
       [] {
         for (;;) {
           ++page->ticks;
           const timespec t{0, 20'000};
           nanosleep(&t, nullptr);
         }
       }},
      {"threads-spin",
       [&] {
         for (int i = 0; i < other; ++i) {
           std::thread(spin_for_ever).detach();
         }
         // The main thread sleeps; the others spin.
         for (;;) {
           pause();
         }
       }},
      {"leader-exits",
       [] {
         std::thread(spin_for_ever).detach();
         syscall(SYS_exit, 0); // only this thread; the process lives on in the other
       }},
      {"many-threads", [&] { many_threads(other); }},
      {"crash",
       [] {
         volatile int *nowhere = nullptr;
         *nowhere = 1;
       }},
      {"abort", [] { std::abort(); }},
      {"flood",
       [] {
         static char line[4096];
         std::memset(line, 'x', sizeof line);
         for (;;) {
           if (write(1, line, sizeof line) < 0)
             return;
         }
       }},
      {"hog", [] { hog(false); }},
      {"use",
       [&] {
         std::vector<char> block(static_cast<size_t>(other) << 20, 1);
         page->ready = 1;
         pause();
         result(block[0]);
       }},
      {"huge-mmap", [] { hog(true); }},
      {"cont-timer", send_cont_by_timer},
      {"cont-clone", [] { result(syscall(SYS_clone, SIGCONT, nullptr, nullptr, nullptr, nullptr)); }},
      {"cont-clone-thread",
       [] {
         // A thread with an exit signal; the kernel ignores it today, the filter does not rely on that.
         result(syscall(SYS_clone, thread_flags | SIGCONT, nullptr, nullptr, nullptr, nullptr));
       }},
      {"cont-async", [] { result(fcntl(1, F_SETFL, O_ASYNC)); }},
      {"cont-setsig", [] { result(fcntl(1, F_SETSIG, SIGCONT)); }},
      {"cont-setown", [] { result(fcntl(1, F_SETOWN, getpid())); }},
      {"cont-lease", [] { result(fcntl(1, F_SETLEASE, F_RDLCK)); }},
      {"cont-notify", [] { result(fcntl(1, F_NOTIFY, DN_ACCESS)); }},
      {"cont-fioasync",
       [] {
         int on = 1;
         result(ioctl(1, FIOASYNC, &on));
       }},
      {"cont-pdeathsig", [] { result(prctl(PR_SET_PDEATHSIG, SIGCONT)); }},
      {"cont-mq", [] { result(syscall(SYS_mq_notify, 0, nullptr)); }},
      {"setitimer",
       [] {
         itimerval t{{0, 1000}, {0, 1000}};
         result(setitimer(ITIMER_REAL, &t, nullptr));
       }},
      {"alarm", [] { result(syscall(SYS_alarm, 1) == 0 ? 0 : -1); }},
      {"fork", [] { result(syscall(SYS_fork)); }},
      {"vfork", [] { result(syscall(SYS_vfork)); }},
      {"fork-bomb",
       [] {
         for (;;) {
           if (fork() < 0) {
             result(-1);
             return;
           }
         }
       }},
      {"clone3",
       [] {
         uint64_t arguments[11] = {0, 0, 0, 0, SIGCHLD};
         result(syscall(SYS_clone3, arguments, sizeof arguments));
       }},
      {"execve",
       [&] {
         char *none[] = {nullptr};
         result(execve("/perigee/libexec/perigee/confined-probe", none, none));
       }},
      {"kill", [&] { result(syscall(SYS_kill, other, 0)); }},
      {"kill-parent", [] { result(syscall(SYS_kill, getppid(), SIGKILL)); }},
      {"tgkill-cont", [] { result(syscall(SYS_tgkill, getpid(), gettid(), SIGCONT)); }},
      {"queueinfo",
       [] {
         siginfo_t info{};
         result(syscall(SYS_rt_sigqueueinfo, getpid(), SIGCONT, &info));
       }},
      {"ptrace", [&] { result(syscall(SYS_ptrace, 16 /* attach */, other, nullptr, nullptr)); }},
      {"process-vm",
       [&] {
         char c = 0;
         iovec one{&c, 1};
         result(process_vm_readv(other, &one, 1, &one, 1, 0));
       }},
      {"pidfd", [&] { result(syscall(SYS_pidfd_open, other, 0)); }},
      {"prlimit",
       [&] {
         rlimit r{};
         result(syscall(SYS_prlimit64, other, RLIMIT_NOFILE, nullptr, &r));
       }},
      {"prlimit-own",
       [] {
         rlimit r{};
         result(getrlimit(RLIMIT_NOFILE, &r));
       }},
      {"raise-limit",
       [] {
         rlimit r{1 << 20, 1 << 20};
         result(setrlimit(RLIMIT_NPROC, &r));
       }},
      {"open-read", [&] { try_open(path, O_RDONLY); }},
      {"open-write", [&] { try_open(path, O_WRONLY | O_CREAT); }},
      {"list", [&] { result(opendir(path) ? 0 : -1); }},
      {"socket", [] { result(socket(AF_INET, SOCK_STREAM, 0)); }},
      {"socket-unix", [] { result(socket(AF_UNIX, SOCK_STREAM, 0)); }},
      {"socketpair",
       [] {
         int ends[2];
         result(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
       }},
      {"descriptors", list_descriptors},
      {"dumpable",
       [] {
         result(prctl(PR_SET_DUMPABLE, 0));
         std::fflush(stdout);
         page->ready = 1;
         pause();
       }},
      {"affinity",
       [] {
         cpu_set_t all;
         std::memset(&all, 255, sizeof all);
         result(sched_setaffinity(0, sizeof all, &all));
       }},
      {"priority", [] { result(syscall(SYS_setpriority, PRIO_PROCESS, 0, 5)); }},
      {"scheduler",
       [] {
         sched_param p{};
         result(sched_setscheduler(0, SCHED_BATCH, &p));
       }},
      {"unshare", [] { result(unshare(CLONE_NEWUSER)); }},
      {"userfaultfd", [] { result(syscall(SYS_userfaultfd, 0)); }},
      {"io_uring",
       [] {
         char parameters[120] = {};
         result(syscall(SYS_io_uring_setup, 4, parameters));
       }},
      {"keyctl", [] { result(syscall(SYS_keyctl, 0, -3, 0)); }},
      {"perf",
       [] {
         char attributes[128] = {};
         result(syscall(SYS_perf_event_open, attributes, 0, -1, -1, 0));
       }},
      {"bpf", [] { result(syscall(SYS_bpf, 0, nullptr, 0)); }},
      {"shm", [] { result(syscall(SYS_shmget, 0, 4096, 01600)); }},
      {"memfd", [] { result(memfd_create("x", 0)); }},
      {"seccomp", [] { result(syscall(SYS_seccomp, 2 /* is the action available? */, 0, nullptr)); }},
      {"handler",
       [] {
         struct sigaction a {};
         a.sa_handler = SIG_IGN;
         result(syscall(SYS_rt_sigaction, SIGSYS, &a, nullptr, 8));
       }},
#ifdef __x86_64__
      {"abi32",
       [] {
         long out;
         asm volatile("int $0x80" : "=a"(out) : "a"(20L /* getpid */) : "memory");
         errno = 0;
         result(out);
       }},
      {"x32", [] { result(syscall(0x40000000 | SYS_getpid)); }},
#endif
      {"fill-tmp",
       [] {
         signal(SIGXFSZ, SIG_IGN);
         static char block[1 << 16];
         long total = 0;
         for (int file = 0; file < 1000; ++file) {
           const int fd = open(("/tmp/" + std::to_string(file)).c_str(), O_WRONLY | O_CREAT, 0600);
           if (fd < 0) {
             break;
           }
           long here = 0;
           for (ssize_t n; (n = write(fd, block, sizeof block)) > 0;) {
             here += n;
           }
           total += here;
           if (here == 0) {
             break;
           }
         }
         std::printf("wrote %ld\n", total);
         std::fflush(stdout);
         page->ready = 1;
         pause();
       }},
      {"memory",
       [] {
         page->address = reinterpret_cast<uint64_t>(&secret);
         __atomic_store_n(&page->ready, 1u, __ATOMIC_RELEASE);
         while (secret == 0x1234567890abcdef) {
         }
         page->value = secret;
         pause();
       }},
      {"machine-code",
       [] {
#ifdef __x86_64__
         const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; // mov eax, 42; ret
#else
         const unsigned char code[] = {0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6};
#endif
         void *at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         std::memcpy(at, code, sizeof code);
         mprotect(at, 4096, PROT_READ | PROT_EXEC);
         __builtin___clear_cache(static_cast<char *>(at), static_cast<char *>(at) + 64);
         result(reinterpret_cast<int (*)()>(at)());
       }},
      {"environment",
       [] {
         for (char **entry = environ; *entry; ++entry) {
           std::puts(*entry);
         }
       }},
      {"identity", [] { std::printf("uid %d gid %d pid %d ppid %d\n", getuid(), getgid(), getpid(), getppid()); }},
  };
  const auto found = attacks.find(attack);
  if (found == attacks.end()) {
    std::printf("unknown attack %s\n", attack.c_str());
    std::exit(99);
  }
  found->second();
}

} // namespace

int main(int argc, char **argv) {
  int at = 1;
  const auto option = [&](const char *name) { return at < argc && std::strcmp(argv[at], name) == 0 ? ++at : 0; };
  const bool unlocked = option("unlocked"), scratch = option("scratch"), single = option("single");
  if (at >= argc) {
    return 98;
  }
  struct stat status;
  if (fstat(3, &status) == 0 && S_ISREG(status.st_mode) && status.st_size >= 4096) {
    page = static_cast<Page *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0));
  }
  if (!unlocked) {
    try {
      perigee::grader::lockdown(
          {.threads = !single, .keep_fds = {3}, .scratch = scratch, .denied_word = &page->denied});
    } catch (const std::exception &e) {
      std::puts(e.what());
      return 97;
    }
  }
  perform(argv[at], at + 1 < argc ? argv[at + 1] : nullptr);
  return 0;
}
