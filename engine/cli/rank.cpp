#include "cli/rank.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace perigee::cli {

namespace {

// Collects records in packets.
class Wire {
 public:
  Wire(int fd, int rank) : fd_(fd), rank_(std::to_string(rank)) {}
  ~Wire() { flush(); }
  static constexpr std::size_t room = packet_size - 32; // for a record's text

  void put(char kind, std::string_view text) {
    if (packet_.size() + text.size() + rank_.size() + 4 > packet_size)
      flush();
    packet_ += record_mark;
    packet_ += kind;
    packet_ += rank_;
    packet_ += ' ';
    packet_ += text;
    packet_ += '\n';
  }
  // A line of any length.
  void put_line(char kind, char part, std::string_view line) {
    for (; line.size() > room; line.remove_prefix(room))
      put(part, line.substr(0, room));
    put(kind, line);
  }
  void flush() {
    std::string_view rest = packet_;
    while (!rest.empty()) {
      const ssize_t written = write(fd_, rest.data(), rest.size());
      if (written > 0)
        rest.remove_prefix(static_cast<std::size_t>(written));
      else if (errno != EINTR)
        break; // nobody reads any more
    }
    packet_.clear();
  }

 private:
  int fd_;
  std::string rank_, packet_;
};

// One of the two streams that a relay reads.
struct Stream {
  int fd;
  char line, part;
  std::string pending{}; // of a line that has not ended

  // False at the end of the stream.
  bool read_some(Wire &wire) {
    char buffer[1 << 16];
    const ssize_t size = read(fd, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR)
      return true;
    if (size <= 0) {
      send_pending(wire);
      return false;
    }
    std::string_view text(buffer, static_cast<std::size_t>(size));
    for (std::size_t at; (at = text.find('\n')) != std::string_view::npos; text.remove_prefix(at + 1)) {
      pending += text.substr(0, at);
      wire.put_line(line, part, pending);
      pending.clear();
    }
    pending += text;
    if (pending.size() > Wire::room)
      send_pending(wire);
    return true;
  }
  void send_pending(Wire &wire) {
    std::string_view rest = pending;
    for (; !rest.empty(); rest.remove_prefix(std::min(rest.size(), Wire::room)))
      wire.put(part, rest.substr(0, Wire::room));
    pending.clear();
  }
};

// `life`: the rank holds its other end, and nobody that it starts.
[[noreturn]] void relay(int rank, int out, int err, int life, int wire_fd) {
  // The rank's end ends this process, and no signal to its group before.
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE})
    std::signal(number, SIG_IGN);
  const int null = open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2})
    dup2(null, fd);
  {
    Wire wire(wire_fd, rank);
    Stream streams[] = {{out, record::out, record::out_part}, {err, record::err, record::err_part}};
    bool alive = true;
    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
      pollfd ready[] = {{streams[0].fd, POLLIN, 0}, {streams[1].fd, POLLIN, 0}, {alive ? life : -1, POLLIN, 0}};
      const bool pending = !streams[0].pending.empty() || !streams[1].pending.empty();
      // What waits for its line's end for so long is shown as it is. After the rank's end what is there is passed on,
      // and what programs that it has left behind may still print is not waited for.
      const int count = poll(ready, 3, !alive ? 0 : pending ? 200 : -1);
      if (count == 0)
        for (Stream &stream : streams)
          stream.send_pending(wire);
      if (count == 0 && !alive)
        break;
      for (int i = 0; i < 2 && count > 0; ++i)
        if (ready[i].revents && !streams[i].read_some(wire))
          streams[i].fd = -1;
      alive = alive && !ready[2].revents;
      wire.flush();
    }
    wire.put(record::closed, "");
  }
  _exit(0);
}

} // namespace

RankOutput::RankOutput() {
  prctl(PR_SET_PDEATHSIG, SIGKILL); // mpirun's own end, however it comes, is this process's
  const char *text = std::getenv("OMPI_COMM_WORLD_RANK");
  rank_ = text ? std::atoi(text) : 0;
  int out[2], err[2], done[2], life[2];
  wire_ = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  if (wire_ < 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0 || pipe2(done, O_CLOEXEC) != 0 ||
      pipe2(life, O_CLOEXEC) != 0) {
    std::fprintf(stderr, "perigee: a rank has no descriptors left: %s\n", std::strerror(errno));
    std::exit(3);
  }
  fcntl(wire_, F_SETFL, O_WRONLY | O_DIRECT); // packets
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) {
    std::fprintf(stderr, "perigee: a rank cannot start its relay: %s\n", std::strerror(errno));
    std::exit(3);
  }
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, 0);
    for (const int fd : {out[1], err[1], done[0], life[1]})
      close(fd);
    relay(rank_, out[0], err[0], life[0], wire_);
  }
  dup2(out[1], STDOUT_FILENO);
  dup2(err[1], STDERR_FILENO);
  for (const int fd : {out[0], out[1], err[0], err[1], done[1], life[0]})
    close(fd);
  done_ = done[0];
  life_ = life[1];
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ); // others want to see a rank's lines when they are printed
}

void RankOutput::end(int code, std::string_view error) {
  std::fflush(nullptr);
  const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  dup2(null, STDOUT_FILENO);
  dup2(null, STDERR_FILENO);
  close(life_);
  pollfd ended{done_, POLLIN, 0};
  poll(&ended, 1, 5000);
  Wire wire(wire_, rank_);
  while (!error.empty()) {
    const std::size_t at = std::min(error.find('\n'), error.size());
    wire.put(record::error, error.substr(0, std::min(at, Wire::room)));
    error.remove_prefix(std::min(at + 1, error.size()));
  }
  wire.put(record::end, std::to_string(code));
}

void RankOutput::fail(int code, std::string_view error) {
  end(code, error);
  sleep(10);
  _exit(code);
}

} // namespace perigee::cli
