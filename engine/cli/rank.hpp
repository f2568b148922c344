// A rank's side of `perigee mpirun`: how what it prints gets there, and how it says that it has ended.
//
// mpirun passes on what ranks print in pieces of its own, and with --tag-output loses lines (seen: 1645 of 3000 short
// ones arrived). Nor does it always say which rank died of what: its message is lost at times. So what mpirun starts is
// a relay, a small process whose child is the rank. It reads the rank's output and writes records, each whole in one
// packet of the pipe to mpirun (O_DIRECT), which passes packets on as they are; where the rank is on another host, too.
// And it sees how the rank ends.
//
// A record is a line: record_mark, its kind, the rank, a space, text. Other lines are mpirun's own.
#pragma once

#include "mpi/board.hpp"

#include <string>
#include <string_view>

namespace perigee::cli {

constexpr char record_mark = '\x01';
namespace record {
constexpr char out = 'o', out_part = 'O'; // a line of standard output; a part of one that is longer or not ended yet
constexpr char err = 'e', err_part = 'E';
constexpr char error = '!';  // a line of the error that ended the script
constexpr char end = 'x';    // the script has ended with this exit code
constexpr char exit = 'q';   // the process has ended with this exit code, and its script had not ended before
constexpr char signal = 'k'; // the process was ended by this signal
constexpr char wait = 'w';   // what it waits for (wait_text), where the launcher's wait board is out of its sight
} // namespace record

constexpr std::size_t packet_size = 4096; // what a pipe passes on in one piece

// A slot of the wait board as text: clocks of hosts differ, so it says how long ago the wait began.
std::string wait_text(mpi::RankState state, const mpi::Wait &wait, int64_t now);
bool read_wait_text(std::string_view text, int64_t now, mpi::RankState &state, mpi::Wait &wait);

class RankOutput {
 public:
  // Goes on in a child of this process, which becomes its relay. Before there are threads.
  RankOutput();
  RankOutput(const RankOutput &) = delete;
  // The script has ended with this exit code: the last word.
  void end(int code, std::string_view error = {});
  // The same for a script that failed: mpirun ends this process with the others, which may wait for it.
  [[noreturn]] void fail(int code, std::string_view error);

 private:
  int last_words_ = -1; // to the relay; what this process starts does not have it
};

} // namespace perigee::cli
