// A rank's side of `perigee mpirun`: how what it prints gets there, and how it says that it has ended.
//
// mpirun passes on what ranks print in pieces of its own, and with --tag-output loses lines (seen: 1645 of 3000 short
// ones arrived). So each rank has a small process, its relay, that reads its output and writes records, each whole in
// one packet of the pipe to mpirun (O_DIRECT), which passes packets on as they are; where the rank is on another host,
// too. The relay holds what a rank that is killed has printed.
//
// A record is a line: record_mark, its kind, the rank, a space, text. Other lines are mpirun's own.
#pragma once

#include <string>
#include <string_view>

namespace perigee::cli {

constexpr char record_mark = '\x01';
namespace record {
constexpr char out = 'o', out_part = 'O'; // a line of standard output; a part of one that is longer or not ended yet
constexpr char err = 'e', err_part = 'E';
constexpr char closed = '.'; // nothing can be printed any more
constexpr char error = '!';  // a line of the error that ended the script
constexpr char end = 'x';    // the script has ended with this exit code; nothing follows
} // namespace record

constexpr std::size_t packet_size = 4096; // what a pipe passes on in one piece

class RankOutput {
 public:
  // Turns standard output and error of this process over to the relay. Before there are threads.
  RankOutput();
  RankOutput(const RankOutput &) = delete;
  // All that was printed has arrived, and the script has ended with this exit code: the last word.
  void end(int code, std::string_view error = {});
  // The same for a script that failed: mpirun ends this process with the others, which may wait for it.
  [[noreturn]] void fail(int code, std::string_view error);

 private:
  int rank_ = 0, wire_ = -1;
  int life_ = -1; // tells the relay of this process's end
  int done_ = -1; // tells this process of the relay's
};

} // namespace perigee::cli
