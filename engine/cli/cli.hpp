// The commands of the `perigee` program that need no grader. Each returns the program's exit code: 0 success, 1 the
// script failed, 2 wrong usage, 3 this machine or Perigee itself is at fault.
#pragma once

#include "core/abi.hpp"

#include <string>
#include <vector>

namespace perigee::cli {

struct RunOptions {
  std::string file;
  std::vector<std::string> arguments; // the script's own
  bool trusted = false;               // the whole Lua library, as demos need
  bool jit_off = false;
  double memory_mib = 0; // 0: no limit
  bool mpi_rank = false; // started by `perigee mpirun`
  bool call = false;     // the file is no script but what mpi.spawn calls
  std::string root;      // where the script's modules lie; "": beside it
};

int run(const RunOptions &options);

struct ProfileOptions {
  RunOptions script;
  bool sample = false, lines = false, jit = false, memory = false, ops = false, timeline = false; // none: calls
  bool sampled = false;                                                                           // lines: by samples
  bool once = false;                  // no second, plain run for the real time
  std::vector<std::string> functions; // for lines: only these
  std::string sort = "own", out, format;
};

int profile(const ProfileOptions &options);
// Prints the calls of a log that pg.log wrote as a tree.
int log_tree(const std::string &file);
// Prints what this machine can do, or what a script's operations made of it.
int roofline(bool fresh);
struct MpirunOptions {
  RunOptions script;
  int ranks = 0; // 0: one a core
  std::string hostfile;
  std::vector<std::string> hosts;
  bool oversubscribe = false; // cores are shared, with others or among the ranks
  bool no_prefix = false;
  double deadlock_after = 10, timeout = 0; // seconds; 0: never
};

int mpirun(const MpirunOptions &options, const std::string &program);
int repl(bool trusted);
// What this machine offers to Perigee and what it lacks, with reasons.
int doctor(bool json);

// The failure of the last call on `vm`: position, message, traceback, as Lua programmers know them.
std::string error_text(pg_vm *vm, bool bold = false);
// Writes it to standard error, on a terminal with the position bold. Returns the exit code that fits.
int print_error(pg_vm *vm);

} // namespace perigee::cli
