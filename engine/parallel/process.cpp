// Starting worker processes and noticing their ends.
#include "parallel/process_worker.hpp"

#include "core/abi.hpp"
#include "core/status.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

extern char **environ;

namespace perigee::parallel {
namespace {

std::atomic<const char *> forbidden{nullptr};

constexpr int patience = 2000; // milliseconds for a worker to end in order, once its channel is closed

// The program is installed at <prefix>/libexec/perigee beside the library, which lies in <prefix>/lib or, where a
// distribution sorts libraries by machine, a folder below. A host that embeds the engine has no `perigee` to start.
const std::string &worker_program() {
  static const std::string path = [] {
    Dl_info info{};
    if (!dladdr(reinterpret_cast<const void *>(&pg_version), &info) || !info.dli_fname)
      throw InternalError("cannot find the path of libperigee");
    std::error_code error;
    auto folder = std::filesystem::canonical(info.dli_fname, error).parent_path();
    for (auto prefix = folder; prefix.has_relative_path() && prefix != prefix.parent_path();) {
      prefix = prefix.parent_path();
      auto candidate = prefix / "libexec/perigee/perigee-process";
      if (access(candidate.c_str(), X_OK) == 0)
        return candidate.string();
      if (prefix == folder.parent_path().parent_path())
        break;
    }
    throw UnsupportedError(
        "worker processes need the program perigee-process, which is not in libexec/perigee beside " + folder.string() +
        "; install Perigee there as a whole (cmake --install)");
  }();
  return path;
}

std::pair<Descriptor, Descriptor> connected_pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw UnsupportedError(std::string("no channel to a worker process: ") + std::strerror(errno) +
                           (errno == EMFILE ? " (ulimit -n says how many this process may have)" : ""));
  Descriptor ours(ends[0]), theirs(ends[1]);
  return {beyond_streams(std::move(ours)), beyond_streams(std::move(theirs))};
}

struct Actions {
  posix_spawn_file_actions_t value;
  Actions() { posix_spawn_file_actions_init(&value); }
  ~Actions() { posix_spawn_file_actions_destroy(&value); }
};
struct Attributes {
  posix_spawnattr_t value;
  Attributes() { posix_spawnattr_init(&value); }
  ~Attributes() { posix_spawnattr_destroy(&value); }
};

pid_t spawn(int socket) {
  check_processes();
  const std::string &program = worker_program();
  Actions actions;
  posix_spawn_file_actions_addopen(&actions.value, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions.value, socket, 3);
  posix_spawn_file_actions_addclosefrom_np(&actions.value, 4);
  // Whatever this program does with signals, a worker does what programs do: Ctrl-C ends it with all others.
  Attributes attributes;
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&attributes.value, &all);
  posix_spawnattr_setsigmask(&attributes.value, &none);
  posix_spawnattr_setflags(&attributes.value, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  std::string parent = std::to_string(getpid());
  std::string name = "perigee-process";
  char *arguments[] = {name.data(), parent.data(), nullptr};
  pid_t pid = -1;
  if (int error = posix_spawn(&pid, program.c_str(), &actions.value, &attributes.value, arguments, environ))
    throw UnsupportedError("cannot start a worker process (" + program + "): " + std::strerror(error) +
                           (error == EAGAIN   ? "; ulimit -u says how many processes this user may have"
                            : error == ENOMEM ? "; fewer workers take less memory"
                                              : ""));
  return pid;
}

const char *signal_hint(int signal) {
  switch (signal) {
  case SIGSEGV:
  case SIGBUS:
    return " (it accessed memory that is not its own)";
  case SIGKILL:
    return " (by somebody, or because this machine ran out of memory)";
  case SIGINT:
    return " (Ctrl-C)";
  case SIGABRT:
    return " (it aborted)";
  case SIGXCPU:
    return " (its CPU time was used up)";
  default:
    return "";
  }
}

} // namespace

Descriptor beyond_streams(Descriptor file) {
  if (file.get() < 0 || file.get() > STDERR_FILENO)
    return file;
  return Descriptor(fcntl(file.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

void Descriptor::reset() {
  if (fd_ >= 0)
    close(std::exchange(fd_, -1));
}

void forbid_processes(const char *reason) {
  forbidden.store(reason);
}

void check_processes() {
  if (const char *reason = forbidden.load())
    throw UnsupportedError(reason);
  worker_program();
}

Process::Process() : Process(connected_pair()) {}

Process::Process(std::pair<Descriptor, Descriptor> sockets)
    : channel_(std::move(sockets.first), Channel::Role::parent), pid_(spawn(sockets.second.get())),
      end_(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0))) {}

Process::~Process() {
  if (pid_ <= 0)
    return;
  shutdown(channel_.descriptor(), SHUT_RDWR); // by which it ends, unless it computes
  if (end_.get() >= 0) {
    pollfd ended{end_.get(), POLLIN, 0};
    while (poll(&ended, 1, patience) < 0 && errno == EINTR)
      ;
  }
  bury();
}

void Process::kill(int signal) {
  if (pid_ <= 0)
    return;
  if (end_.get() < 0) // no descriptor left, or a filter of system calls
    ::kill(pid_, signal);
  else
    syscall(SYS_pidfd_send_signal, end_.get(), signal, nullptr, 0);
}

std::string Process::bury() {
  if (pid_ <= 0)
    return "has ended";
  // A process that ended by itself has its status before its descriptors are closed, so this kills only what closed the
  // channel and lives on.
  kill(SIGKILL);
  int status = 0;
  pid_t ended;
  while ((ended = waitpid(pid_, &status, 0)) < 0 && errno == EINTR)
    ;
  pid_ = -1;
  end_.reset();
  if (ended < 0) // the host program waits for all children itself
    return "has died";
  if (WIFEXITED(status))
    return "ended with exit code " + std::to_string(WEXITSTATUS(status));
  return "was killed by signal " + std::to_string(WTERMSIG(status)) + signal_hint(WTERMSIG(status));
}

} // namespace perigee::parallel

using namespace perigee;
using namespace perigee::parallel;

void pg_processes_forbid(const char *reason) {
  forbid_processes(reason);
}

int32_t pg_processes_check(void) {
  return guard([] { check_processes(); });
}
