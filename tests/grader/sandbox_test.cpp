// The sandbox against every attack it claims to stop. tests/grader/confined_probe.cpp performs them. Runs as root and
// as an ordinary user (ctest runs both, see tests/grader/as_user), in the full and in the degraded sandbox.
#include "grader/lockdown.hpp"
#include "grader/sandbox.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <sched.h>

using namespace perigee::grader;
namespace fs = std::filesystem;

namespace {

struct Page { // as in confined_probe.cpp
  uint32_t denied, ready;
  uint64_t ticks, address, value;
};

class SharedPage {
 public:
  SharedPage() : fd_(memfd_create("page", MFD_CLOEXEC)) {
    REQUIRE(ftruncate(fd_, 4096) == 0);
    page_ = static_cast<Page *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
  }
  ~SharedPage() {
    munmap(page_, 4096);
    close(fd_);
  }
  volatile Page *operator->() const { return page_; }
  int fd() const { return fd_; }
  const uint32_t *denied() const { return &page_->denied; }

 private:
  int fd_;
  Page *page_;
};

double seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

void pause_for(double time) {
  const timespec t{static_cast<time_t>(time), static_cast<long>((time - static_cast<time_t>(time)) * 1e9)};
  nanosleep(&t, nullptr);
}

fs::path probe_program() {
  const char *given = std::getenv("PERIGEE_TEST_PROBE");
  return given ? given : PERIGEE_BUILD "/libexec/perigee/confined-probe";
}

bool full_available() {
  static const bool available = [] {
    unsetenv("PERIGEE_SANDBOX");
    for (const auto &capability : probe_sandbox()) {
      if (capability.name == "user namespaces") {
        return capability.present;
      }
    }
    return false;
  }();
  return available;
}

// Every kind of sandbox that this machine and user can have.
struct Kind {
  std::string name;
  bool full, cgroups;
};

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  if (full_available()) {
    all.push_back({"full", true, true});
    if (geteuid() == 0) {
      all.push_back({"full, no control groups", true, false});
    }
  } else {
    WARN("no user namespaces here: only the degraded sandbox is tested");
  }
  all.push_back({"degraded", false, true});
  return all;
}

struct Confined {
  SharedPage page;
  SandboxOptions options;
  std::optional<Sandbox> sandbox;

  Confined(const Kind &kind, std::vector<std::string> arguments) {
    if (kind.full) {
      unsetenv("PERIGEE_SANDBOX");
    } else {
      setenv("PERIGEE_SANDBOX", "degraded", 1);
    }
    options.program = probe_program();
    options.arguments = std::move(arguments);
    options.inherit_fds = {page.fd()};
    options.denied_word = page.denied();
    options.use_cgroups = kind.cgroups;
    options.require_full = kind.full;
    options.memory_bytes = 128 << 20;
  }
  Sandbox *operator->() {
    if (!sandbox) {
      sandbox = Sandbox::start(options);
    }
    return &*sandbox;
  }
};

template <class Condition> bool eventually(Confined &confined, Condition &&condition, double limit = 5) {
  for (const double start = seconds(); seconds() - start < limit;) {
    confined->poll();
    if (condition()) {
      return true;
    }
    pause_for(0.0005);
  }
  return false;
}

// Runs an attack to its end.
struct Outcome {
  ExitInfo exit;
  std::string output;
};

Outcome run(const Kind &kind, std::vector<std::string> arguments, double limit = 5) {
  Confined confined(kind, std::move(arguments));
  REQUIRE(confined->wait(limit));
  Outcome outcome{*confined->exit_info(), confined->take_output()};
  return outcome;
}

// To see a frozen program move: its ticks before and after a while.
bool ticks_move(const SharedPage &page, double time = 0.02) {
  const uint64_t before = page->ticks;
  pause_for(time);
  return page->ticks != before;
}

} // namespace

TEST_CASE("a confined program runs, prints and ends", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    DYNAMIC_SECTION(kind.name) {
      const Outcome hello = run(kind, {"hello"});
      CHECK(hello.exit.reason == ExitReason::exited);
      CHECK(hello.exit.code == 0);
      CHECK(hello.output == "hello\n");

      // Codes above 128 are not mistaken for signals.
      CHECK(run(kind, {"exit", "139"}).exit.code == 139);
      CHECK(run(kind, {"exit", "139"}).exit.reason == ExitReason::exited);
      const Outcome crash = run(kind, {"crash"});
      CHECK(crash.exit.reason == ExitReason::signalled);
      CHECK(crash.exit.signal == SIGSEGV);
      const Outcome abort = run(kind, {"abort"});
      CHECK(abort.exit.reason == ExitReason::signalled);
      CHECK(abort.exit.signal == SIGABRT);
      CHECK(run(kind, {"machine-code"}).output == "result 42 -\n"); // what LuaJIT does
    }
  }
}

TEST_CASE("what is missing is named, and can be insisted on", "[sandbox]") {
  Confined degraded({"degraded", false, true}, {"hello"});
  CHECK(!degraded->unprotected().empty());
  degraded->kill();
  SandboxOptions strict = degraded.options;
  strict.require_full = true;
  CHECK_THROWS_AS(Sandbox::start(strict), InfrastructureError);
  if (full_available()) {
    Confined full({"full", true, true}, {"hello"});
    CHECK(full->unprotected().empty());
  }
  unsetenv("PERIGEE_SANDBOX");
  const auto capabilities = probe_sandbox();
  CHECK(capabilities.size() >= 8);
  CHECK((sandbox_level(capabilities) == "full") == full_available());
  setenv("PERIGEE_SANDBOX", "degraded", 1);
  CHECK(sandbox_level(probe_sandbox()).rfind("degraded: no user namespaces", 0) == 0);
}

TEST_CASE("a sandbox that cannot start is an infrastructure error", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    Confined confined(kind, {"hello"});
    confined.options.program = "/nonexistent/worker";
    CHECK_THROWS_AS(Sandbox::start(confined.options), InfrastructureError);
    confined.options.program = "/etc/passwd"; // not a program
    CHECK_THROWS_AS(Sandbox::start(confined.options), InfrastructureError);
  }
}

TEST_CASE("refused calls end the program and are named", "[sandbox]") {
  const std::string supervisor = std::to_string(getpid());
  const std::vector<std::pair<std::vector<std::string>, std::string>> attacks = {
      {{"cont-timer"}, "timer_create"},
      {{"cont-clone"}, "clone"},
      {{"cont-mq"}, "mq_notify"},
#ifdef __x86_64__
      {{"fork"}, "fork"},
      {{"vfork"}, "vfork"},
#endif
      {{"execve"}, "execve"},
      {{"kill", supervisor}, "kill"},
      {{"kill", "-1"}, "kill"},
      {{"kill-parent"}, "kill"},
      {{"tgkill-cont"}, "tgkill"},
      {{"queueinfo"}, "rt_sigqueueinfo"},
      {{"ptrace", supervisor}, "ptrace"},
      {{"process-vm", supervisor}, "process_vm_readv"},
      {{"pidfd", supervisor}, "pidfd_open"},
      {{"socket"}, "socket"},
      {{"socket-unix"}, "socket"},
      {{"socketpair"}, "socketpair"},
      {{"priority"}, "setpriority"},
      {{"scheduler"}, "sched_setscheduler"},
      {{"unshare"}, "unshare"},
      {{"userfaultfd"}, "userfaultfd"},
      {{"io_uring"}, "io_uring_setup"},
      {{"keyctl"}, "keyctl"},
      {{"perf"}, "perf_event_open"},
      {{"bpf"}, "bpf"},
      {{"shm"}, "shmget"},
  };
  for (const Kind &kind : kinds()) {
    for (const auto &[arguments, name] : attacks) {
      INFO(kind.name << ": " << arguments[0]);
      const Outcome outcome = run(kind, arguments);
      CHECK(outcome.exit.reason == ExitReason::denied);
      CHECK(outcome.exit.signal == SIGSYS);
      CHECK(outcome.exit.denied_syscall == name);
      CHECK(outcome.output.empty());
      CHECK(outcome.exit.describe() == "tried " + name + " (not allowed in the sandbox)");
    }
    // A fork in the C library is clone by another name; glibc's own spelling does not matter.
    const Outcome bomb = run(kind, {"fork-bomb"});
    CHECK(bomb.exit.reason == ExitReason::denied);
    CHECK(bomb.exit.denied_syscall == "clone");
#ifdef __x86_64__
    for (const char *other_abi : {"abi32", "x32"}) { // calls by other numbers
      const Outcome outcome = run(kind, {other_abi});
      CHECK(outcome.exit.signal == SIGSYS);
      CHECK(outcome.output.empty());
    }
#endif
  }
}

TEST_CASE("what honest libraries may try is refused softly", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    for (const char *attack :
         {"cont-clone-thread", "cont-async", "cont-setsig", "cont-setown", "cont-lease", "cont-notify", "cont-fioasync",
          "cont-pdeathsig", "setitimer", "affinity", "prlimit", "raise-limit", "memfd", "seccomp", "handler"}) {
      INFO(kind.name << ": " << attack);
      const Outcome outcome = run(kind, {attack, std::to_string(getpid())});
      CHECK(outcome.exit.reason == ExitReason::exited);
      CHECK(outcome.output == "result -1 EPERM\n");
    }
    CHECK(run(kind, {"clone3"}).output == "result -1 ENOSYS\n");
    CHECK(run(kind, {"prlimit-own"}).output == "result 0 -\n");
  }
}

TEST_CASE("the attacks do something where nothing refuses them", "[sandbox]") {
  // Each of these results differs from the one under lockdown(): the tests above can fail.
  if (!full_available()) {
    return;
  }
  const Kind kind{"full", true, true};
  for (const char *attack : {"cont-async", "cont-setsig", "cont-fioasync", "cont-pdeathsig", "setitimer", "affinity",
                             "memfd", "socketpair", "priority"}) {
    INFO(attack);
    const std::string output = run(kind, {"unlocked", attack}).output;
    CHECK(output.rfind("result ", 0) == 0);
    CHECK(output.find("-1") == std::string::npos);
  }
  CHECK(run(kind, {"unlocked", "fork"}).output.find("result -1") == std::string::npos);
}

TEST_CASE("files are out of reach", "[sandbox]") {
  const std::string own = fs::canonical(probe_program()).string();
  const std::string stored = (fs::temp_directory_path() / ("perigee-secret-" + std::to_string(getpid()))).string();
  std::fclose(std::fopen(stored.c_str(), "w"));
  chmod(stored.c_str(), 0666);
  for (const Kind &kind : kinds()) {
    for (const std::string &path :
         {std::string("/etc/passwd"), std::string("/proc/self/status"), "/proc/" + std::to_string(getpid()) + "/maps",
          std::string("/proc/self/mem"), std::string("/sys/kernel/mm"), std::string("/dev/shm"),
          std::string("/dev/kmsg"), std::string(PERIGEE_SOURCE), std::string(PERIGEE_SOURCE "/README.md"), stored,
          std::string("/home"), std::string("/root"), std::string("/tmp/x")}) {
      for (const char *attack : {"open-read", "open-write", "list"}) {
        INFO(kind.name << ": " << attack << " " << path);
        CHECK(run(kind, {attack, path}).output.rfind("result -1", 0) == 0);
        if (kind.full && path.rfind("/tmp/", 0) != 0) { // by the mounts alone, too; /tmp is a private one
          const std::string unlocked = run(kind, {"unlocked", attack, path}).output;
          CHECK(unlocked.rfind("result -1", 0) == 0);
        }
      }
    }
    CHECK(run(kind, {"open-write", "/usr/lib/x"}).output.rfind("result -1", 0) == 0);
    CHECK(run(kind, {"open-read", "/usr/lib/os-release"}).output.rfind("result -1", 0) != 0); // libraries stay readable
    CHECK(run(kind, {"open-read", "/dev/urandom"}).output.rfind("result -1", 0) != 0);
  }
  fs::remove(stored);
}

TEST_CASE("nothing is inherited but what was given", "[sandbox]") {
  const int leaked = open("/etc/passwd", O_RDONLY); // on purpose without O_CLOEXEC
  setenv("PERIGEE_TEST_SECRET", "seed", 1);
  for (const Kind &kind : kinds()) {
    CHECK(run(kind, {"descriptors"}).output == "descriptors 0 1 2 3\n");
    CHECK(run(kind, {"unlocked", "descriptors"}).output == "descriptors 0 1 2 3\n");
    CHECK(run(kind, {"environment"}).output.find("PERIGEE_TEST_SECRET") == std::string::npos);
  }
  close(leaked);
  // In the order given, even where the numbers overlap.
  SharedPage other;
  Confined confined({"degraded", false, true}, {"descriptors"});
  confined.options.inherit_fds = {confined.page.fd(), other.fd(), STDERR_FILENO};
  CHECK(confined->wait(5));
  CHECK(confined->take_output() == "descriptors 0 1 2 3\n"); // the program keeps 3 and closes the rest itself
}

TEST_CASE("Ctrl-C does not reach it, and it competes for the CPU as its supervisor does", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    Confined confined(kind, {"spin"});
    const pid_t pid = confined->pid();
    CHECK(getpgid(pid) != getpgrp());
    // A session of its own would be a scheduling group of its own, which gets no CPU for seconds beside busy ones.
    CHECK(getsid(pid) == getsid(0));
  }
}

TEST_CASE("a user id of its own where the supervisor is root", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    Confined one(kind, {"sleep"}), two(kind, {"sleep"});
    struct stat a, b;
    REQUIRE(stat(("/proc/" + std::to_string(one->pid())).c_str(), &a) == 0);
    REQUIRE(stat(("/proc/" + std::to_string(two->pid())).c_str(), &b) == 0);
    if (geteuid() == 0) {
      CHECK(a.st_uid != 0);
      CHECK(a.st_uid != b.st_uid);
      CHECK(a.st_gid == a.st_uid);
    } else {
      CHECK(a.st_uid == geteuid());
    }
  }
}

TEST_CASE("a program that others cannot read is staged", "[sandbox]") {
  // As when a checkout lies in /root.
  std::string folder = (fs::temp_directory_path() / "perigee-private-XXXXXX").string();
  REQUIRE(mkdtemp(folder.data()) != nullptr); // mode 700
  fs::create_directories(folder + "/libexec/perigee");
  fs::create_directories(folder + "/lib");
  const fs::path prefix = fs::canonical(probe_program()).parent_path().parent_path().parent_path();
  fs::copy(probe_program(), folder + "/libexec/perigee/staged-probe");
  for (const auto &entry : fs::directory_iterator(prefix / "lib")) {
    if (entry.path().filename().string().find(".so") != std::string::npos) {
      fs::copy_file(entry.path(), folder + "/lib/" + entry.path().filename().string());
    }
  }
  for (const Kind &kind : kinds()) {
    Confined confined(kind, {"hello"});
    confined.options.program = folder + "/libexec/perigee/staged-probe";
    CHECK(confined->wait(5));
    CHECK(confined->take_output() == "hello\n");
  }
  fs::remove_all(folder);
}

// Ended, not waited for. How fast is for scripts/bench grading to say: a busy machine fails any tight bound.
constexpr double promptly = 10.0;

TEST_CASE("an endless loop is ended at once", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    for (const std::vector<std::string> &arguments : {std::vector<std::string>{"spin"}, {"threads-spin", "6"}}) {
      INFO(kind.name << ": " << arguments[0]);
      Confined confined(kind, arguments);
      REQUIRE(eventually(confined, [&] { return confined.page->ticks > 0; }));
      CHECK_FALSE(confined->wait(0.1));
      CHECK(confined->alive());
      const double start = seconds();
      confined->kill();
      CHECK(seconds() - start < promptly);
      CHECK(confined->exit_info()->reason == ExitReason::killed);
      CHECK_FALSE(ticks_move(confined.page));
    }
  }
}

TEST_CASE("a program whose first thread leaves is ended", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    INFO(kind.name);
    Confined confined(kind, {"leader-exits"});
    const double start = seconds();
    REQUIRE(confined->wait(5));
    CHECK(seconds() - start < promptly);
    CHECK(confined->exit_info()->reason == ExitReason::exited);
    CHECK_FALSE(ticks_move(confined.page));
  }
}

TEST_CASE("freezing stops every task, and the CPU clock with it", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    for (const std::vector<std::string> &arguments :
         {std::vector<std::string>{"spin"}, {"naps"}, {"threads-spin", "6"}}) {
      INFO(kind.name << ": " << arguments[0]);
      Confined confined(kind, arguments);
      REQUIRE(eventually(confined, [&] { return confined.page->ticks > 0; }));
      for (int round = 0; round < 20; ++round) {
        confined->freeze();
        CHECK(confined->frozen());
        const int64_t cpu = confined->cpu_ns();
        CHECK_FALSE(ticks_move(confined.page, 0.003));
        CHECK_FALSE(confined->ran_while_frozen());
        CHECK(confined->cpu_ns() - cpu < 100'000);
        confined->thaw();
        CHECK_FALSE(confined->frozen());
        REQUIRE(eventually(confined, [&] { return ticks_move(confined.page, 0.0005); }));
      }
      confined->freeze(); // a frozen one can be killed
      const double start = seconds();
      confined->kill();
      CHECK(seconds() - start < promptly);
    }
  }
}

TEST_CASE("a program that undoes its stop is noticed", "[sandbox]") {
  // Without lockdown() the timer works against SIGSTOP; this is what the check is for. A control group stands it.
  if (!full_available()) {
    return;
  }
  Confined confined({"full, no control groups", true, false}, {"unlocked", "cont-timer"});
  REQUIRE(eventually(confined, [&] { return confined.page->ticks > 0; }));
  bool noticed = false;
  for (int round = 0; round < 100 && !noticed; ++round) {
    try {
      confined->freeze();
      pause_for(0.03 * (1 + round / 5)); // on a crowded machine it may wait that long for a CPU
      noticed = confined->ran_while_frozen();
      confined->thaw();
    } catch (const InfrastructureError &) { // it may not even be seen to stop
      noticed = true;
    }
  }
  CHECK(noticed);
  Confined grouped({"full", true, true}, {"unlocked", "cont-timer"});
  REQUIRE(eventually(grouped, [&] { return grouped.page->ticks > 0; }));
  if (std::string(grouped->freezer()) == "cgroup") {
    grouped->freeze();
    CHECK_FALSE(ticks_move(grouped.page));
  }
}

TEST_CASE("a dead program cannot be frozen", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    Confined confined(kind, {"hello"});
    REQUIRE(confined->wait(5));
    CHECK_THROWS_AS(confined->freeze(), WorkerGone);
    CHECK_FALSE(confined->alive());
    char c = 0;
    CHECK_FALSE(confined->read_memory(0x10000, &c, 1));
  }
}

TEST_CASE("CPU time is read from outside", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    Confined confined(kind, {"spin"});
    REQUIRE(eventually(confined, [&] { return confined.page->ticks > 0; }));
    const int64_t before = confined->cpu_ns();
    REQUIRE(eventually(confined, [&] { return confined->cpu_ns() - before > 20'000'000; }));
    Confined idle(kind, {"sleep"});
    const int64_t resting = (pause_for(0.05), idle->cpu_ns());
    pause_for(0.05);
    CHECK(idle->cpu_ns() - resting < 5'000'000);
  }
}

TEST_CASE("its memory is read and written from outside", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    Confined confined(kind, {"memory"});
    REQUIRE(eventually(confined, [&] { return confined.page->ready == 1; }));
    confined->freeze();
    uint64_t value = 0;
    CHECK(confined->read_memory(confined.page->address, &value, sizeof value));
    CHECK(value == 0x1234567890abcdef);
    value = 42;
    CHECK(confined->write_memory(confined.page->address, &value, sizeof value));
    CHECK_FALSE(confined->read_memory(16, &value, sizeof value)); // not mapped
    confined->thaw();
    CHECK(eventually(confined, [&] { return confined.page->value == 42; }));
  }
}

TEST_CASE("it cannot hide its memory", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    Confined confined(kind, {"dumpable"});
    REQUIRE(eventually(confined, [&] { return confined.page->ready == 1; }));
    CHECK(confined->take_output() == "result -1 EPERM\n");
  }
}

TEST_CASE("a memory hog is ended, and called one", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    INFO(kind.name);
    Confined confined(kind, {"hog"});
    const double start = seconds();
    REQUIRE(confined->wait(5));
    CHECK(seconds() - start < promptly);
    const ExitInfo info = *confined->exit_info();
    CHECK(info.reason == ExitReason::memory);
    CHECK(info.describe() == "used more than its 128 MiB of memory");
    CHECK(confined->memory_peak() > 100 << 20);
    CHECK(confined->memory_peak() < 512 << 20);
    // A mapping beyond all bounds fails; it does not end the program.
    CHECK(run(kind, {"huge-mmap"}).output == "result -1 ENOMEM\n");
  }
}

TEST_CASE("its memory use is seen", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    Confined confined(kind, {"use", "32"});
    REQUIRE(eventually(confined, [&] { return confined.page->ready == 1; }));
    CHECK(confined->memory_now() >= 28 << 20); // a control group counts in batches
    CHECK(confined->memory_now() < 48 << 20);
    CHECK(confined->memory_peak() >= confined->memory_now());
  }
}

TEST_CASE("a full /tmp is bounded and counts as memory", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    INFO(kind.name);
    CHECK(run(kind, {"open-write", "/tmp/x"}).output == "result -1 EACCES\n"); // not without `scratch`
    if (!kind.full) {
      CHECK(run(kind, {"scratch", "open-write", "/tmp/x"}).output == "result -1 EACCES\n"); // the machine's own
      continue;
    }
    Confined confined(kind, {"scratch", "fill-tmp"});
    REQUIRE(eventually(confined, [&] { return confined.page->ready == 1; }));
    long total = 0;
    REQUIRE(std::sscanf(confined->take_output().c_str(), "wrote %ld", &total) == 1);
    CHECK(total > 15 << 20);
    CHECK(total <= 16 << 20);
    CHECK(confined->memory_now() >= total);
    Confined greedy(kind, {"scratch", "fill-tmp"});
    greedy.options.scratch_bytes = 512 << 20;
    REQUIRE(greedy->wait(5));
    CHECK(greedy->exit_info()->reason == ExitReason::memory);
  }
}

TEST_CASE("output is drained, bounded, and a flood ends the program", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    INFO(kind.name);
    Confined confined(kind, {"flood"});
    const double start = seconds();
    REQUIRE(confined->wait(5));
    CHECK(seconds() - start < promptly);
    CHECK(confined->exit_info()->reason == ExitReason::output);
    CHECK(confined->output_flooded());
    CHECK(confined->output_bytes() > 1 << 20);
    CHECK(confined->take_output().size() == 64 << 10);
    CHECK(confined->take_output().empty());
  }
}

TEST_CASE("threads are limited", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    if (!kind.full && geteuid() != 0) {
      continue; // the limit would count the user's other processes; the memory limit bounds threads
    }
    INFO(kind.name);
    Confined confined(kind, {"many-threads", "200"});
    confined.options.max_tasks = 16;
    REQUIRE(confined->wait(5));
    int started = 0;
    REQUIRE(std::sscanf(confined->take_output().c_str(), "threads %d", &started) == 1);
    CHECK(started >= 8);
    CHECK(started <= 18);
    int none = -1;
    REQUIRE(std::sscanf(run(kind, {"single", "many-threads", "4"}).output.c_str(), "threads %d", &none) == 1);
    CHECK(none == 0);
  }
}

TEST_CASE("it runs on the CPUs it was given", "[sandbox]") {
  cpu_set_t ours;
  REQUIRE(sched_getaffinity(0, sizeof ours, &ours) == 0);
  int last = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    last = CPU_ISSET(cpu, &ours) ? cpu : last;
  }
  for (const Kind &kind : kinds()) {
    Confined confined(kind, {"sleep"});
    confined.options.cpus = {last};
    cpu_set_t its;
    REQUIRE(sched_getaffinity(confined->pid(), sizeof its, &its) == 0);
    CHECK(CPU_COUNT(&its) == 1);
    CHECK(CPU_ISSET(last, &its));
  }
}

TEST_CASE("no sandbox outlives a supervisor that is killed", "[sandbox]") {
  for (const Kind &kind : kinds()) {
    INFO(kind.name);
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t supervisor = fork();
    if (supervisor == 0) {
      {
        Confined confined(kind, {"spin"});
        const pid_t pid = confined->pid();
        if (write(ends[1], &pid, sizeof pid) != sizeof pid) {
          _exit(1);
        }
        pause();
      }
      _exit(0);
    }
    pid_t confined = 0;
    REQUIRE(read(ends[0], &confined, sizeof confined) == sizeof confined);
    kill(supervisor, SIGKILL);
    waitpid(supervisor, nullptr, 0);
    bool gone = false;
    for (int i = 0; i < 100 && !gone; ++i) {
      pause_for(0.005);
      // Its new parent may be slow to reap it: a zombie does not run.
      std::string stat;
      if (FILE *file = std::fopen(("/proc/" + std::to_string(confined) + "/stat").c_str(), "r")) {
        char line[512] = "";
        stat = std::fgets(line, sizeof line, file) ? line : "";
        std::fclose(file);
      }
      const size_t at = stat.rfind(") ");
      gone = at == std::string::npos || stat[at + 2] == 'Z' || stat[at + 2] == 'X';
    }
    CHECK(gone);
    close(ends[0]);
    close(ends[1]);
  }
}

// Not a test but a figure: grader_tests "[sandbox-cost]".
TEST_CASE("what a sandbox costs", "[.][sandbox-cost]") {
  for (const Kind &kind : kinds()) {
    for (const char *attack : {"spin", "naps"}) {
      std::vector<double> start, end, both;
      std::string freezer;
      for (int i = 0; i < 15; ++i) {
        Confined confined(kind, {attack});
        confined.options.cpus = {1};
        double t = seconds();
        confined->poll();
        start.push_back(seconds() - t);
        freezer = confined->freezer();
        eventually(confined, [&] { return confined.page->ticks > 0; });
        for (int j = 0; j < 100; ++j) {
          pause_for(0.0002);
          t = seconds();
          confined->freeze();
          confined->thaw();
          both.push_back(seconds() - t);
        }
        t = seconds();
        confined->kill();
        end.push_back(seconds() - t);
      }
      const auto print = [&](const char *what, std::vector<double> &values) {
        std::sort(values.begin(), values.end());
        std::printf("%-26s %-5s %-14s min %8.1f  median %8.1f  p90 %8.1f us\n", kind.name.c_str(), attack, what,
                    values[0] * 1e6, values[values.size() / 2] * 1e6, values[values.size() * 9 / 10] * 1e6);
      };
      print("start", start);
      print(("freeze+thaw " + freezer).c_str(), both);
      print("kill", end);
    }
  }
}
