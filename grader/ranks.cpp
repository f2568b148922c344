#include "ranks.hpp"

#include "cli/deadlock.hpp"
#include "mpi/board.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>

namespace perigee::grader {
namespace fs = std::filesystem;

namespace {

constexpr const char *mpirun_variable = "PERIGEE_MPIRUN";
constexpr const char *board_path = "/tmp/perigee-board";
constexpr int64_t long_wait = 1'000'000'000; // nanoseconds; a board says nothing of less than half a second
constexpr int handed = 4;                    // descriptors: control page, settings, script, standard output

// Open MPI's mpirun, not what links to it: the sandbox has neither /usr/bin nor /etc/alternatives' targets there.
fs::path find_mpirun() {
  const char *path = std::getenv("PATH");
  std::istringstream folders(std::string(path ? path : "") + ":/usr/bin:/usr/local/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    for (const char *name : {"mpirun.openmpi", "mpirun"}) {
      std::error_code error;
      const fs::path program = fs::canonical(fs::path(folder) / name, error);
      if (!error && program.filename() == "orterun")
        return program;
    }
  }
  throw InfrastructureError("this exercise runs on MPI ranks, and Open MPI's mpirun is not on this machine; install "
                            "openmpi-bin (scripts/setup)");
}

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of('\n') + 1);
  return text;
}

[[noreturn]] void fail(const char *step) {
  throw std::runtime_error(std::string("ranks: ") + step + ": " + std::strerror(errno));
}

// In the abstract namespace, which is the sandbox's own.
socklen_t address(sockaddr_un &name) {
  constexpr char text[] = "\0perigee-ranks";
  name = {};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, text, sizeof text - 1);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + sizeof text - 1);
}

union Ancillary {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int) * handed)];
};

void send_descriptors(int socket, const int (&descriptors)[handed]) {
  char byte = 0;
  iovec data{&byte, 1};
  Ancillary ancillary{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = &ancillary;
  message.msg_controllen = sizeof ancillary;
  cmsghdr *control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof descriptors);
  std::memcpy(CMSG_DATA(control), descriptors, sizeof descriptors);
  if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1)
    fail("sendmsg");
}

} // namespace

void prepare_ranks(SandboxOptions &options, int ranks) {
  const fs::path mpirun = find_mpirun();
  options.processes = true;
  options.also_visible = {mpirun};
  for (const char *folder : {"/usr/share/openmpi", "/etc/openmpi", "/usr/share/pmix", "/etc/pmix"})
    if (fs::is_directory(folder))
      options.also_visible.emplace_back(folder);
  options.shared_memory_bytes = static_cast<int64_t>(ranks) * (32 << 20);
  options.scratch_bytes = static_cast<int64_t>(ranks) * (32 << 20);
  options.memory_bytes += static_cast<int64_t>(ranks) * (64 << 20) + (64 << 20); // mpirun and Open MPI's buffers
  options.max_tasks = 32 + 12 * ranks;
  const auto set = [&](const std::string &name, const std::string &value) {
    options.environment.push_back(name + "=" + value);
  };
  set(mpirun_variable, mpirun.string());
  set("HWLOC_HIDE_ERRORS", "2"); // it finds no /sys, and need not
  set("HOME", "/tmp");
  set("TMPDIR", "/tmp");
  // One host, and it is this one: no remote shell is looked for.
  set("OMPI_MCA_plm", "isolated");
  // Messages by shared memory alone, copied by the ranks themselves: process_vm_readv is refused to all that is
  // confined.
  set("OMPI_MCA_pml", "ob1");
  set("OMPI_MCA_btl", "self,vader");
  set("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
  set("OMPI_MCA_oob_tcp_if_include", "lo");
  set("PMIX_MCA_gds", "hash");
  set("PMIX_MCA_psec", "native");
  // The grader decides on cores. A rank that waits must not keep the one it waits for, or the grader, from running.
  set("OMPI_MCA_rmaps_base_oversubscribe", "1");
  set("OMPI_MCA_hwloc_base_binding_policy", "none");
  set("OMPI_MCA_mpi_yield_when_idle", "1");
  set("OMPI_ALLOW_RUN_AS_ROOT", "1"); // without any rights, where it is
  set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
  set(mpi::board_variable, board_path);
}

Waits look_at_waits(pid_t sandbox, const std::vector<bool> &returned) {
  // The file is the ranks' own, and they may do with it what they like: only a copy is looked at.
  const std::string path = "/proc/" + std::to_string(sandbox) + "/root" + board_path;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  std::string bytes(64 << 10, '\0');
  struct stat info {};
  const ssize_t size =
      file >= 0 && fstat(file, &info) == 0 && S_ISREG(info.st_mode) ? pread(file, bytes.data(), bytes.size(), 0) : -1;
  if (file >= 0)
    close(file);
  const int copy = size > 0 ? memfd_create("board", MFD_CLOEXEC) : -1;
  if (copy < 0)
    return {};
  mpi::Board board;
  const bool opened = pwrite(copy, bytes.data(), static_cast<size_t>(size), 0) == size &&
                      board.open(("/proc/self/fd/" + std::to_string(copy)).c_str());
  close(copy);
  if (!opened)
    return {};
  std::vector<cli::RankView> views(returned.size());
  for (uint32_t rank = 0; rank < std::min<std::size_t>(board.slots(), returned.size()); ++rank) {
    views[rank].ended = returned[rank];
    mpi::Wait &wait = views[rank].wait;
    views[rank].state = board.get(rank, wait);
    for (char *last : {std::end(wait.operation), std::end(wait.communicator), std::end(wait.place)})
      last[-1] = 0;
  }
  // It knows programs that end. Here functions return, and their ranks wait for the next call.
  const auto words = [](std::string text) {
    for (const char *have : {" has", " have"})
      for (const std::string ended = std::string(have) + " ended"; text.find(ended) != std::string::npos;)
        text.replace(text.find(ended), ended.size(), std::string(have) + " returned");
    return trimmed(std::move(text));
  };
  const cli::Standstill found = cli::examine(views, mpi::monotonic_nanoseconds(), long_wait);
  if (found.kind == cli::Standstill::Kind::deadlock)
    return {true, words("no rank can go on: " + found.reason + "\n" + found.table)};
  const bool anybody = std::any_of(views.begin(), views.end(), [](const cli::RankView &view) {
    return !view.ended && view.state == mpi::RankState::waiting;
  });
  return {false, anybody ? words("what the ranks do:\n" + cli::what_ranks_do(views)) : ""};
}

int start_ranks(int ranks, const char *program) {
  mpi::Board board;
  if (!board.create(std::getenv(mpi::board_variable), static_cast<uint32_t>(ranks)))
    fail("the wait board");
  sockaddr_un name;
  const socklen_t size = address(name);
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr *>(&name), size) != 0 || listen(listener, ranks) != 0)
    fail("a socket");

  const std::string mpirun = std::getenv(mpirun_variable), count = std::to_string(ranks);
  const char *arguments[] = {mpirun.c_str(), "-n", count.c_str(), program, "rank", nullptr};
  const pid_t launcher = fork();
  if (launcher < 0)
    fail("fork");
  if (launcher == 0) {
    for (int fd = 3; fd < 3 + ranks + 2; ++fd)
      close(fd);
    execv(mpirun.c_str(), const_cast<char **>(arguments));
    std::fprintf(stderr, "%s: %s\n", mpirun.c_str(), std::strerror(errno));
    _exit(127);
  }
  const auto exit_code = [](int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 1; };
  for (int served = 0; served < ranks; ++served) {
    // Where mpirun fails, no rank comes.
    for (pollfd entry{listener, POLLIN, 0}; poll(&entry, 1, 100) <= 0;) {
      int status = 0;
      if (waitpid(launcher, &status, WNOHANG) == launcher)
        return exit_code(status);
    }
    const int rank_socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    int32_t rank = -1;
    if (rank_socket < 0 || read(rank_socket, &rank, sizeof rank) != sizeof rank || rank < 0 || rank >= ranks)
      fail("a rank did not say which it is");
    send_descriptors(rank_socket, {3 + rank, 3 + ranks, 4 + ranks, 1});
    close(rank_socket);
  }
  close(listener);
  for (;;) {
    int status = 0;
    const pid_t ended = wait(&status);
    if (ended == launcher)
      return exit_code(status);
    if (ended < 0 && errno != EINTR)
      fail("wait");
  }
}

RankFiles join_ranks() {
  const char *number = std::getenv("OMPI_COMM_WORLD_RANK");
  if (!number)
    throw std::runtime_error("not started by mpirun");
  const int32_t rank = std::atoi(number);
  sockaddr_un name;
  const socklen_t size = address(name);
  const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server < 0 || connect(server, reinterpret_cast<sockaddr *>(&name), size) != 0 ||
      write(server, &rank, sizeof rank) != sizeof rank)
    fail("connect");
  char byte;
  iovec data{&byte, 1};
  Ancillary ancillary{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = &ancillary;
  message.msg_controllen = sizeof ancillary;
  const cmsghdr *control = nullptr;
  if (recvmsg(server, &message, MSG_CMSG_CLOEXEC) != 1 || !(control = CMSG_FIRSTHDR(&message)) ||
      control->cmsg_len != CMSG_LEN(sizeof(int) * handed))
    fail("recvmsg");
  int descriptors[handed];
  std::memcpy(descriptors, CMSG_DATA(control), sizeof descriptors);
  close(server);
  return {rank, descriptors[0], descriptors[1], descriptors[2], descriptors[3]};
}

} // namespace perigee::grader
