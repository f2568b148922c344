// A submission as ranks of MPI, all in one sandbox. The sandbox's first process is ours: it starts Open MPI's mpirun,
// which starts the ranks, and gives each its control page over a Unix socket (mpirun closes what it does not know).
// Each rank is a worker like any other. It initialises MPI, and only then, before it reads the submission, may it start
// no process and open no socket any more; the first process and mpirun are stopped for good (Sandbox::settle). From
// there on ranks talk over shared memory alone, so that the filter for MPI is no weaker than the other.
#pragma once

#include "sandbox.hpp"

#include <string>
#include <vector>

namespace perigee::grader {

inline constexpr int most_ranks = 16;

// What a sandbox for so many ranks needs beside the control pages. Throws InfrastructureError where Open MPI is not
// installed.
void prepare_ranks(SandboxOptions &options, int ranks);

// What the ranks of a sandbox say they wait for.
struct Waits {
  bool deadlock = false; // no wait can end, unless a message is under way that both sides have left to MPI
  std::string words;     // why no rank goes on, and what each does; "" where none waits
};
// Of a sandbox by its first process; `returned`: the ranks whose function has returned.
Waits look_at_waits(pid_t sandbox, const std::vector<bool> &returned);

// Inside, the first process: descriptors 3, 4, ... are the control pages of ranks 0, 1, ..., then settings and script;
// `program` is its own. Returns when mpirun has ended, with its exit code.
int start_ranks(int ranks, const char *program);

// Inside, a rank: its number, and the descriptors that it shares with the first process.
struct RankFiles {
  int rank = 0, page = -1, settings = -1, script = -1, output = -1;
};
RankFiles join_ranks();

} // namespace perigee::grader
