// The life of an MPI job: mpirun as a child, its output taken apart, its end explained.
#include "cli/deadlock.hpp"
#include "cli/mpirun.hpp"
#include "cli/rank.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

namespace perigee::cli {

namespace {

constexpr int64_t second = 1000000000;
constexpr int64_t never = INT64_MAX;

class Job {
 public:
  Job(const MpirunOptions &options, const std::string &folder)
      : options_(options), folder_(folder), board_path_(folder + "/board") {}
  int run(const std::vector<std::string> &command);

 private:
  struct Rank {
    std::string out, err; // of lines that have not ended
    std::string error;    // what ended its script
    std::string how;      // it ended, where its script did not
    int code = -1;        // of the script or the process, once it has ended
  };

  bool start(const std::vector<std::string> &command);
  void read_signals();
  bool read_records(); // false at the end
  void take_record(std::string_view line);
  void has_ended(int number, int code, const std::string &how);
  void show(int to, int rank, std::string &pending, std::string_view text, bool whole);
  void write_all(int to, std::string_view text);
  void flush_pending();
  void say(const std::string &message);
  void stop(int code);
  bool signal_processes(int number);
  void kill_strays();
  bool all_ended() const;
  void look(int64_t now);
  std::vector<RankView> views();
  void report_errors();
  int explain(int status);
  Rank &rank(int number) {
    if (number >= static_cast<int>(ranks_.size()))
      ranks_.resize(static_cast<std::size_t>(number) + 1);
    return ranks_[static_cast<std::size_t>(number)];
  }

  const MpirunOptions &options_;
  const std::string folder_, board_path_;
  mpi::Board board_;
  std::vector<Rank> ranks_;
  pid_t child_ = -1;
  bool own_group_ = false, pipe_closed_ = false;
  int out_ = -1, err_ = -1, signals_ = -1;
  std::string input_;       // of mpirun's standard error: an unfinished line
  std::string mpirun_text_; // lines of it that are no records
  int first_failed_ = -1;
  int code_ = -1;             // this program's, once it is decided
  int64_t report_at_ = never; // when the errors of ranks are told
  int64_t term_at_ = never, kill_at_ = never;
  std::vector<int64_t> still_waits_; // the waits that have not changed
  int64_t still_since_ = 0;          // since then
  bool noticed_ = false;             // that all wait for each other's large message
};

bool Job::start(const std::vector<std::string> &command) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0)
    return false;
  if (pipe2(err, O_CLOEXEC) != 0) {
    close(out[0]);
    close(out[1]);
    return false;
  }
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2})
    sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN); // the job is ended first
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  // A group of its own keeps Ctrl-C from mpirun, which this program passes on; but only the terminal's foreground group
  // may read from it.
  own_group_ = isatty(STDIN_FILENO) == 0;
  std::vector<char *> words;
  for (const std::string &word : command)
    words.push_back(const_cast<char *>(word.c_str()));
  words.push_back(nullptr);
  const bool in_rank = inside_rank();
  std::fflush(nullptr);
  const pid_t parent = getpid();
  child_ = fork();
  if (child_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM); // then it ends its ranks
    if (getppid() != parent)
      _exit(0);
    if (own_group_)
      setpgid(0, 0);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_DFL);
    if (in_rank) { // what the outer job has told this process would be taken for the inner one's
      std::vector<std::string> outer;
      for (char **entry = environ; *entry; ++entry)
        if (std::strncmp(*entry, "OMPI_", 5) == 0 || std::strncmp(*entry, "PMIX_", 5) == 0 ||
            std::strncmp(*entry, "ORTE_", 5) == 0)
          outer.emplace_back(*entry, std::strcspn(*entry, "="));
      for (const std::string &name : outer)
        unsetenv(name.c_str());
    }
    setenv(mpi::board_variable, board_path_.c_str(), 1);
    execv(words[0], words.data());
    std::fprintf(stderr, "%s: %s\n", words[0], std::strerror(errno));
    _exit(127);
  }
  close(out[1]);
  close(err[1]);
  out_ = out[0];
  err_ = err[0];
  return child_ > 0;
}

void Job::write_all(int to, std::string_view text) {
  while (!text.empty() && !pipe_closed_) {
    const ssize_t written = write(to, text.data(), text.size());
    if (written > 0)
      text.remove_prefix(static_cast<std::size_t>(written));
    else if (errno == EPIPE)
      pipe_closed_ = true;
    else if (errno == EAGAIN) { // whoever shares the terminal has made it non-blocking
      pollfd ready{to, POLLOUT, 0};
      poll(&ready, 1, 1000);
    } else if (errno != EINTR)
      return;
  }
}

// A line of a rank, or a part of one: parts are kept until the line's end, unless lines are not told apart anyway.
void Job::show(int to, int number, std::string &pending, std::string_view text, bool whole) {
  if (options_.no_prefix) {
    write_all(to, whole ? std::string(text) + '\n' : std::string(text));
    return;
  }
  pending += text;
  if (whole || pending.size() > 1 << 20) {
    write_all(to, '[' + std::to_string(number) + "] " + pending + '\n');
    pending.clear();
  }
}

void Job::flush_pending() {
  for (std::size_t i = 0; i < ranks_.size(); ++i)
    for (auto [to, pending] : {std::pair(STDOUT_FILENO, &ranks_[i].out), std::pair(STDERR_FILENO, &ranks_[i].err)})
      if (!pending->empty())
        show(to, static_cast<int>(i), *pending, "", true);
}

void Job::say(const std::string &message) {
  flush_pending();
  if (options_.script.call)
    tell(options_, message + '\n');
  else
    write_all(STDERR_FILENO, "perigee mpirun: " + message + '\n');
}

void Job::take_record(std::string_view line) {
  // mark, kind, number, space, text
  std::size_t at = 2;
  int number = 0;
  for (; at < line.size() && line[at] >= '0' && line[at] <= '9' && number < 1 << 20; ++at)
    number = number * 10 + (line[at] - '0');
  if (at == 2 || at >= line.size() || line[at] != ' ') {
    mpirun_text_.append(line).append("\n");
    return;
  }
  const std::string_view text = line.substr(at + 1);
  Rank &from = rank(number);
  switch (line[1]) {
  case record::out:
  case record::out_part:
    show(STDOUT_FILENO, number, from.out, text, line[1] == record::out);
    break;
  case record::err:
  case record::err_part:
    show(STDERR_FILENO, number, from.err, text, line[1] == record::err);
    break;
  case record::error:
    from.error.append(text).append("\n");
    break;
  case record::end:
    has_ended(number, std::atoi(std::string(text).c_str()), "");
    break;
  case record::wait: { // of a rank on another host
    mpi::RankState state{};
    mpi::Wait wait;
    if (read_wait_text(text, mpi::monotonic_nanoseconds(), state, wait))
      board_.set(static_cast<uint32_t>(number), state, wait);
    break;
  }
  case record::exit: {
    const int code = std::atoi(std::string(text).c_str());
    mpi::Wait wait;
    const mpi::RankState state = number < static_cast<int>(board_.slots())
                                     ? board_.get(static_cast<uint32_t>(number), wait)
                                     : mpi::RankState::absent;
    const bool in_mpi = state == mpi::RankState::running || state == mpi::RankState::waiting;
    if (in_mpi && std::string_view(wait.operation) == "abort" && state == mpi::RankState::waiting)
      has_ended(number, std::max(code, 1), "ended the job by mpi.abort, with code " + std::to_string(code));
    else if (code == 0 && in_mpi)
      has_ended(number, 1, "ended without leaving MPI (os.exit?)");
    else
      has_ended(number, code, "ended with exit code " + std::to_string(code));
    break;
  }
  case record::signal: {
    const int signal = std::atoi(std::string(text).c_str());
    if (signal == SIGTERM) // as mpirun ends ranks, which says why
      from.code = 128 + signal;
    else
      has_ended(number, 1,
                "was killed by signal " + std::to_string(signal) + " (" + strsignal(signal) + ")" +
                    (signal == SIGKILL ? ", by someone, or because memory ran out" : ""));
    break;
  }
  default:
    break;
  }
}

// `how`: "" for a script.
void Job::has_ended(int number, int code, const std::string &how) {
  Rank &rank = this->rank(number);
  rank.code = code;
  rank.how = how;
  if (code != 0 && first_failed_ < 0 && code_ < 0) {
    first_failed_ = number;
    // Where one rank fails, the others often do for the same reason, and at the same time: said once for all.
    report_at_ = mpi::monotonic_nanoseconds() + second / 4;
  }
}

bool Job::read_records() {
  char buffer[1 << 16];
  const ssize_t size = read(err_, buffer, sizeof buffer);
  if (size < 0 && errno == EINTR)
    return true;
  if (size > 0)
    input_.append(buffer, static_cast<std::size_t>(size));
  else if (!input_.empty() && input_.back() != '\n')
    input_ += '\n';
  std::string_view rest = input_;
  for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
    const std::string_view line = rest.substr(0, end);
    // (mpirun's own text does not always end with a line's end.)
    const std::size_t mark = std::min(line.find(record_mark), line.size());
    if (mark > 0 || line.empty())
      mpirun_text_.append(line.substr(0, mark)).append("\n");
    if (mark < line.size())
      take_record(line.substr(mark));
  }
  input_.erase(0, input_.size() - rest.size());
  return size > 0;
}

// Ends the job; this program's exit code will be `code`.
void Job::stop(int code) {
  if (code_ >= 0)
    return;
  code_ = code;
  // mpirun would wait for a second between its two signals to the ranks; without ranks it has nothing to wait for.
  signal_processes(SIGTERM);
  const int64_t now = mpi::monotonic_nanoseconds();
  term_at_ = now + second / 5;
  kill_at_ = now + 8 * second;
}

void Job::read_signals() {
  signalfd_siginfo info;
  while (read(signals_, &info, sizeof info) == sizeof info) {
    switch (info.ssi_signo) {
    case SIGUSR1:
    case SIGUSR2:
      if (child_ > 0)
        kill(child_, static_cast<int>(info.ssi_signo)); // mpirun passes them on to the ranks
      break;
    case SIGINT:
    case SIGTERM:
    case SIGHUP:
      if (code_ < 0) {
        const int code = 128 + static_cast<int>(info.ssi_signo);
        if (info.ssi_signo == SIGINT && !own_group_) {
          // The terminal has told mpirun, which takes a second signal for impatience.
          code_ = code;
          term_at_ = mpi::monotonic_nanoseconds() + 2 * second;
          kill_at_ = term_at_ + 6 * second;
        } else {
          stop(code);
        }
        say(info.ssi_signo == SIGINT ? "interrupted" : "ended by a signal");
      } else {
        kill_at_ = 0; // for the second time: at once
      }
      break;
    default: // SIGCHLD only wakes the loop
      break;
    }
  }
}

// Sends a signal to what there is of the job on this machine but mpirun: it has the board's path in its environment.
// (Relays ignore signals that can be ignored.) Returns whether there was any.
bool Job::signal_processes(int number) {
  const std::string marker = std::string(mpi::board_variable) + "=" + board_path_;
  bool any = false;
  DIR *folder = opendir("/proc");
  while (const dirent *entry = folder ? readdir(folder) : nullptr) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 1 || pid == getpid() || pid == child_)
      continue;
    std::ifstream file("/proc/" + std::string(entry->d_name) + "/environ");
    std::string variable;
    while (std::getline(file, variable, '\0'))
      if (variable == marker) {
        any = kill(pid, number) == 0 || any;
        break;
      }
  }
  if (folder)
    closedir(folder);
  return any;
}

void Job::kill_strays() {
  for (int round = 0; round < 20 && signal_processes(SIGKILL); ++round)
    usleep(20000);
}

std::vector<RankView> Job::views() {
  std::vector<RankView> views(board_.slots());
  for (uint32_t i = 0; i < board_.slots(); ++i) {
    views[i].state = board_.get(i, views[i].wait);
    views[i].ended = i < ranks_.size() && ranks_[i].code >= 0;
  }
  return views;
}

void Job::look(int64_t now) {
  // (Where hosts are given and no number, mpirun chooses it: then the board may be too small.)
  const bool known = options_.ranks > 0 || only_here(options_);
  if (options_.deadlock_after <= 0 || !known || code_ >= 0 || first_failed_ >= 0)
    return;
  const std::vector<RankView> ranks = views();
  const auto limit = static_cast<int64_t>(options_.deadlock_after * 1e9);
  const Standstill found = examine(ranks, now, limit);
  // Nothing has moved for a while, too: a message may be there, and the rank that it is for has not been let run.
  std::vector<int64_t> waits;
  for (const RankView &rank : ranks)
    waits.push_back(rank.state == mpi::RankState::waiting ? rank.wait.since : -1);
  if (found.kind == Standstill::Kind::none || waits != still_waits_) {
    still_waits_ = waits;
    still_since_ = now;
    return;
  }
  if (now - still_since_ < std::max(limit / 2, std::min(5 * second, 5 * limit) / 2))
    return;
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%g s", options_.deadlock_after);
  if (found.kind == Standstill::Kind::deadlock) {
    say(std::string("deadlock: all ranks have waited for more than ") + seconds + "\n" + found.table +
        "perigee mpirun: " + found.reason);
    stop(1);
  } else if (now - still_since_ > 6 * limit) { // 60 s: within one machine a message of 100 GB or more
    say("deadlock: nothing has moved for six times as long, though calls seem to fit (in communicators that look "
        "alike?)\n" +
        found.table.substr(0, found.table.size() - 1));
    stop(1);
  } else if (!noticed_) {
    noticed_ = true;
    say(std::string("all ranks have waited for each other for more than ") + seconds +
        " (a large message may be under way)\n" + found.table.substr(0, found.table.size() - 1));
  }
}

bool Job::all_ended() const {
  return std::all_of(ranks_.begin(), ranks_.end(), [](const Rank &rank) { return rank.code >= 0; }) &&
         static_cast<int>(ranks_.size()) >= static_cast<int>(board_.slots());
}

std::string names_of(const std::vector<int> &ranks) {
  std::string text = ranks.size() > 1 ? "ranks " : "rank ";
  for (std::size_t i = 0; i < ranks.size(); ++i)
    text += (i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ") + std::to_string(ranks[i]);
  return text;
}

// The error of the rank that failed first, once; who else had the same, and in a line each, what else there was.
void Job::report_errors() {
  const Rank &first = ranks_[static_cast<std::size_t>(first_failed_)];
  std::vector<int> same{first_failed_};
  flush_pending();
  std::string_view rest = first.error;
  for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
    std::string pending;
    if (options_.script.call)
      tell(options_, std::string(rest.substr(0, end)) + '\n');
    else
      show(STDERR_FILENO, first_failed_, pending, rest.substr(0, end), true);
  }
  std::string others;
  for (int i = 0; i < static_cast<int>(ranks_.size()); ++i) {
    const Rank &other = ranks_[static_cast<std::size_t>(i)];
    if (i == first_failed_ || other.code <= 0)
      continue;
    if (other.error == first.error && first.how.empty())
      same.push_back(i);
    else if (!other.error.empty())
      others += "\nperigee mpirun: rank " + std::to_string(i) +
                " then failed, too: " + other.error.substr(0, other.error.find('\n'));
  }
  std::sort(same.begin(), same.end());
  const std::size_t left = std::max<std::size_t>(ranks_.size(), board_.slots()) - same.size();
  say(names_of(same) + " " + (first.how.empty() ? "failed" : first.how) +
      (left == 0   ? ""
       : left == 1 ? "; the other rank was ended"
                   : "; the other " + std::to_string(left) + " ranks were ended") +
      others);
}

// What mpirun said where it is not known what was wrong: without its frames.
std::string cleaned(const std::string &text) {
  std::string result;
  for (std::size_t at = 0, end; at < text.size(); at = end + 1) {
    end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    // (Open MPI 4.1 sometimes fails to show a message, that of MPI_Abort for one, and says only so; and it speaks of
    // signals that it passes on, as of SIGCONT after Ctrl-Z.)
    if (line.find_first_not_of("- \t") != std::string::npos && line.find("show_help.c") == std::string::npos &&
        line.find("Forwarding signal") == std::string::npos)
      result += (result.empty() ? "" : "\n") + ("  " + line);
  }
  return result;
}

int number_after(const std::string &text, const char *words, int otherwise) {
  const std::size_t at = text.find(words);
  return at == std::string::npos ? otherwise : std::atoi(text.c_str() + at + std::strlen(words));
}

// The job has ended with this status of mpirun's, and neither a rank nor this program has said why.
int Job::explain(int status) {
  const std::string &text = mpirun_text_;
  auto has = [&](const char *words) { return text.find(words) != std::string::npos; };
  if (WIFSIGNALED(status)) {
    say(std::string("mpirun itself was ended by signal ") + std::to_string(WTERMSIG(status)) + " (" +
        strsignal(WTERMSIG(status)) + "); its ranks were ended with it");
    return 3;
  }
  const int code = WEXITSTATUS(status);
  if (code == 0) {
    if (const std::string rest = cleaned(text); !rest.empty())
      say("Open MPI says:\n" + rest);
    return 0;
  }
  if (has("not enough slots") || has("There are no allocated resources") || has("no nodes available")) {
    say("there are fewer slots than the " + (options_.ranks > 0 ? std::to_string(options_.ranks) + " " : "") +
        "ranks that were asked for; give hosts more (--host NAME:4, or NAME slots=4 in the hostfile), or let ranks "
        "take "
        "turns on the cores with --oversubscribe");
    return 2;
  }
  if (has("unable to find network interfaces")) {
    say("this machine has no network interface that is up, and Open MPI needs one, if only lo (ip link set lo up)");
    return 3;
  }
  if (const std::size_t at = text.find("unable to reliably start one or more daemons"); at != std::string::npos) {
    // What ssh said is above the page of reasons that there may be.
    const std::string above = cleaned(text.substr(0, text.rfind('\n', at) + 1));
    say("a host cannot be used; each must let you in by ssh without a password, and have Open MPI and Perigee at the "
        "same "
        "paths" +
        (above.empty() ? "" : ":\n" + above));
    return 3;
  }
  if (has(" exited on signal ")) {
    const int rank = number_after(text, "process rank ", -1), number = number_after(text, " exited on signal ", 0);
    say("rank " + std::to_string(rank) + " was killed by signal " + std::to_string(number) + " (" + strsignal(number) +
        ")" + (number == SIGKILL ? ", by someone, or because memory ran out" : "") + "; the other ranks were ended");
    return 1;
  }
  // "Process name: [[5528,1],2]"
  int who = -1;
  if (const std::size_t at = text.find("Process name: [["); at != std::string::npos)
    who = number_after(text.substr(at), "],", -1);
  if (has("without calling \"finalize\"") || has("before completing MPI_FINALIZE")) {
    if (who < 0)
      who = number_after(text, "process rank ", -1);
    say((who < 0 ? "a rank" : "rank " + std::to_string(who)) +
        " ended without leaving MPI (os.exit?), and the other ranks were ended; let a script end by returning");
    return 1;
  }
  const std::vector<RankView> last = views();
  const auto aborted = std::find_if(last.begin(), last.end(), [](const RankView &rank) {
    return rank.state == mpi::RankState::waiting && std::string_view(rank.wait.operation) == "abort";
  });
  if (aborted != last.end() || has("MPI_ABORT was invoked")) {
    say("rank " +
        std::to_string(aborted != last.end() ? static_cast<int>(aborted - last.begin())
                                             : number_after(text, "invoked on rank ", -1)) +
        " ended the job, by MPI_Abort with code " + std::to_string(code));
    return code <= 3 ? code : 1;
  }
  if (who >= 0 && has("Exit code:")) {
    const int exit_code = number_after(text, "Exit code:", code);
    say("rank " + std::to_string(who) + " ended with exit code " + std::to_string(exit_code) +
        "; the other ranks were ended");
    return exit_code >= 1 && exit_code <= 3 ? exit_code : 1;
  }
  const std::string rest = cleaned(text);
  say("Open MPI failed with exit code " + std::to_string(code) + (rest.empty() ? "" : ":\n" + rest));
  return 3;
}

int Job::run(const std::vector<std::string> &command) {
  const int ranks = options_.ranks > 0 ? options_.ranks : usable_cores();
  // (Ranks on other hosts cannot see the board; their relays say what they wait for.)
  if (!board_.create(board_path_.c_str(), static_cast<uint32_t>(ranks)) || !start(command)) {
    say(std::string("cannot start: ") + std::strerror(errno));
    return 3;
  }
  const int64_t begun = mpi::monotonic_nanoseconds();
  int64_t timeout_at = options_.timeout > 0 ? begun + static_cast<int64_t>(options_.timeout * 1e9) : never;
  int64_t look_at = begun + second / 2, give_up_at = never;
  int status = 0;
  while (child_ > 0 || out_ >= 0 || err_ >= 0) {
    int64_t now = mpi::monotonic_nanoseconds();
    const int64_t next = std::min({timeout_at, look_at, report_at_, term_at_, kill_at_, give_up_at});
    pollfd ready[] = {{signals_, POLLIN, 0}, {out_, POLLIN, 0}, {err_, POLLIN, 0}};
    const int wait = static_cast<int>(std::clamp<int64_t>((next - now) / 1000000 + 1, 0, 1000));
    if (poll(ready, 3, wait) > 0) {
      if (ready[0].revents)
        read_signals();
      if (ready[1].revents) {
        char buffer[1 << 16];
        const ssize_t size = read(out_, buffer, sizeof buffer);
        if (size > 0)
          write_all(STDOUT_FILENO, std::string_view(buffer, static_cast<std::size_t>(size)));
        else if (size == 0 || errno != EINTR) {
          close(out_);
          out_ = -1;
        }
      }
      if (ready[2].revents && !read_records()) {
        close(err_);
        err_ = -1;
      }
    }
    now = mpi::monotonic_nanoseconds();
    if (child_ > 0 && waitpid(child_, &status, WNOHANG) == child_) {
      child_ = -1;
      kill_at_ = term_at_ = look_at = timeout_at = never;
      give_up_at = now + 2 * second; // what holds the pipe open now is none of the job's business
    }
    if (pipe_closed_)
      stop(128 + SIGPIPE);
    if (report_at_ != never && (now >= report_at_ || all_ended() || child_ < 0)) {
      report_at_ = never;
      report_errors();
      const int code = ranks_[static_cast<std::size_t>(first_failed_)].code;
      stop(code <= 3 ? code : 1);
    }
    if (now >= look_at) {
      look(now);
      look_at = now + second / 2;
    }
    if (now >= timeout_at) {
      timeout_at = never;
      if (code_ < 0 && first_failed_ < 0) {
        char text[64];
        std::snprintf(text, sizeof text, "not done after %g s (--timeout): ended\n", options_.timeout);
        const std::string table = what_ranks_do(views());
        say(text + table.substr(0, table.size() - 1));
        stop(1);
      }
    }
    if (now >= term_at_) {
      term_at_ = never;
      if (child_ > 0)
        kill(child_, SIGTERM);
    }
    if (now >= kill_at_) {
      kill_at_ = never;
      if (child_ > 0)
        kill(child_, SIGKILL);
    }
    if (now >= give_up_at)
      break;
  }
  flush_pending();
  if (code_ < 0)
    code_ = explain(status);
  if (code_ != 0)
    kill_strays();
  return code_;
}

} // namespace

int run_job(const std::vector<std::string> &command, const MpirunOptions &options, const std::string &folder) {
  return Job(options, folder).run(command);
}

} // namespace perigee::cli
