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
int repl(bool trusted);
// What this machine offers to Perigee and what it lacks, with reasons.
int doctor(bool json);

// Writes the failure of the last call on `vm` to standard error: position, message, traceback, as Lua programmers know
// them; on a terminal the position is bold. Returns the exit code that fits.
int print_error(pg_vm *vm);

} // namespace perigee::cli
