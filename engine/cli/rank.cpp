#include "cli/rank.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <vector>

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

// Tells the launcher what the rank writes on a board of the relay's own.
class Watch {
 public:
  explicit Watch(mpi::Board &board) : board_(board) {}
  explicit operator bool() const { return static_cast<bool>(board_); }
  void look(int rank, Wire &wire, bool at_once = false) {
    const int64_t now = mpi::monotonic_nanoseconds();
    if (!board_ || (now < next_ && !at_once))
      return;
    next_ = now + interval;
    mpi::Wait wait;
    const mpi::RankState state = board_.get(static_cast<uint32_t>(rank), wait);
    if (state == state_ && wait.since == since_)
      return;
    state_ = state;
    since_ = wait.since;
    wire.put(record::wait, wait_text(state, wait, now));
  }
  static constexpr int64_t interval = 300'000'000;

 private:
  mpi::Board &board_;
  int64_t next_ = 0, since_ = 0;
  mpi::RankState state_ = mpi::RankState::absent;
};

// The launcher's board is a file; ranks on other hosts do not see it, and write on one of their relay's.
void open_own_board(mpi::Board &board, int rank) {
  const char *path = std::getenv(mpi::board_variable);
  if (!path || mpi::Board().open(path))
    return;
  const int file = memfd_create("board", MFD_CLOEXEC); // stays open: the rank finds it by this name
  const std::string name = "/proc/self/fd/" + std::to_string(file);
  if (file >= 0 && board.create(name.c_str(), static_cast<uint32_t>(rank) + 1))
    setenv(mpi::board_variable, name.c_str(), 1);
}

// `last_words`: of the rank, and of nobody that it starts: its end is the rank's.
[[noreturn]] void relay(int rank, pid_t child, int out, int err, int last_words, int wire_fd, mpi::Board &board) {
  const int null = open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2})
    dup2(null, fd);
  Wire wire(wire_fd, rank);
  Stream streams[] = {{out, record::out, record::out_part}, {err, record::err, record::err_part}};
  std::string words;
  Watch watch(board);
  for (bool alive = true;;) {
    pollfd ready[] = {{streams[0].fd, POLLIN, 0}, {streams[1].fd, POLLIN, 0}, {alive ? last_words : -1, POLLIN, 0}};
    const bool pending = !streams[0].pending.empty() || !streams[1].pending.empty();
    // What waits for its line's end for so long is shown as it is. After the rank's end what is there is passed on, and
    // what programs that it has left behind may still print is not waited for.
    const int count = poll(ready, 3, !alive ? 0 : pending ? 200 : watch ? int(Watch::interval / 1'000'000) : -1);
    if (count == 0)
      for (Stream &stream : streams)
        stream.send_pending(wire);
    if (count == 0 && !alive)
      break;
    for (int i = 0; i < 2 && count > 0; ++i)
      if (ready[i].revents && !streams[i].read_some(wire))
        streams[i].fd = -1;
    if (count > 0 && ready[2].revents) {
      char buffer[4096];
      const ssize_t size = read(last_words, buffer, sizeof buffer);
      if (size > 0)
        words.append(buffer, static_cast<std::size_t>(size));
      else
        alive = size < 0 && errno == EINTR;
    }
    watch.look(rank, wire);
    wire.flush();
  }
  watch.look(rank, wire, true); // what it was at says how it ended
  // Lines, each after its kind.
  bool said = false;
  for (std::string_view rest = words; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    if (end > 0)
      wire.put(rest[0], rest.substr(1, std::min(end - 1, Wire::room)));
    said = said || (end > 0 && rest[0] == record::end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  wire.flush();
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (!said) {
    wire.put(number ? record::signal : record::exit, std::to_string(number ? number : WEXITSTATUS(status)));
    wire.flush();
  }
  // The launcher has been told, and ends the job; mpirun would have its own way of saying it. (SIGTERM is how mpirun
  // ends ranks.)
  std::signal(SIGTERM, SIG_DFL);
  if (!said && number != SIGTERM && status != 0)
    sleep(10);
  if (number) {
    std::signal(number, SIG_DFL);
    raise(number);
  }
  _exit(number ? 128 + number : WEXITSTATUS(status));
}

} // namespace

std::string wait_text(mpi::RankState state, const mpi::Wait &wait, int64_t now) {
  std::string text;
  for (const int64_t number : {int64_t(state), now - wait.since, int64_t(wait.peer), int64_t(wait.tag)})
    text += std::to_string(number) + '\t';
  return text + wait.operation + '\t' + wait.communicator + '\t' + wait.place;
}

bool read_wait_text(std::string_view text, int64_t now, mpi::RankState &state, mpi::Wait &wait) {
  std::vector<std::string> fields(1);
  for (const char c : text) {
    if (c == '\t' && fields.size() < 7)
      fields.emplace_back();
    else
      fields.back() += c;
  }
  if (fields.size() != 7)
    return false;
  state = static_cast<mpi::RankState>(std::atoi(fields[0].c_str()));
  wait = {};
  wait.since = now - std::atoll(fields[1].c_str());
  wait.peer = std::atoi(fields[2].c_str());
  wait.tag = std::atoi(fields[3].c_str());
  std::snprintf(wait.operation, sizeof wait.operation, "%s", fields[4].c_str());
  std::snprintf(wait.communicator, sizeof wait.communicator, "%s", fields[5].c_str());
  std::snprintf(wait.place, sizeof wait.place, "%s", fields[6].c_str());
  return true;
}

RankOutput::RankOutput() {
  const char *text = std::getenv("OMPI_COMM_WORLD_RANK");
  const int rank = text ? std::atoi(text) : 0;
  int out[2], err[2], words[2];
  const int wire = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  if (wire < 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0 || pipe2(words, O_CLOEXEC) != 0) {
    std::fprintf(stderr, "perigee: a rank has no descriptors left: %s\n", std::strerror(errno));
    std::exit(3);
  }
  fcntl(wire, F_SETFL, O_WRONLY | O_DIRECT); // packets
  mpi::Board board;
  open_own_board(board, rank);
  prctl(PR_SET_PDEATHSIG, SIGKILL); // the end of mpirun, however it comes, is the relay's
  // The rank's end ends the relay, and no signal to their group before.
  constexpr int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
  struct sigaction before[std::size(ignored)];
  for (std::size_t i = 0; i < std::size(ignored); ++i) {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    sigaction(ignored[i], &ignore, &before[i]);
  }
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) {
    std::fprintf(stderr, "perigee: a rank cannot start its process: %s\n", std::strerror(errno));
    std::exit(3);
  }
  if (child > 0) {
    for (const int fd : {out[1], err[1], words[1]})
      close(fd);
    relay(rank, child, out[0], err[0], words[0], wire, board);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL); // and the relay's this process's
  if (getppid() != parent)
    _exit(1);
  for (std::size_t i = 0; i < std::size(ignored); ++i)
    sigaction(ignored[i], &before[i], nullptr);
  dup2(out[1], STDOUT_FILENO);
  dup2(err[1], STDERR_FILENO);
  for (const int fd : {out[0], out[1], err[0], err[1], words[0], wire})
    close(fd);
  last_words_ = words[1];
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ); // others want to see a rank's lines when they are printed
}

void RankOutput::end(int code, std::string_view error) {
  std::fflush(nullptr);
  std::string words;
  while (!error.empty()) {
    const std::size_t at = std::min(error.find('\n'), error.size());
    words += record::error + std::string(error.substr(0, at)) + '\n';
    error.remove_prefix(std::min(at + 1, error.size()));
  }
  words += record::end + std::to_string(code) + '\n';
  for (std::string_view rest = words; !rest.empty();) {
    const ssize_t written = write(last_words_, rest.data(), rest.size());
    if (written < 0 && errno != EINTR)
      break;
    rest.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
  }
  close(last_words_);
}

void RankOutput::fail(int code, std::string_view error) {
  end(code, error);
  sleep(10);
  _exit(code);
}

} // namespace perigee::cli
