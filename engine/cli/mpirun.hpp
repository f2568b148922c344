// `perigee mpirun`: a script on several ranks, by Open MPI's mpirun. This program is no MPI program itself.
#pragma once

#include "cli/cli.hpp"

#include <string>
#include <vector>

namespace perigee::cli {

// The path of Open MPI's mpirun; "" and why where there is none.
std::string find_mpirun(std::string &why);
// Cores (not hardware threads) that this process may use.
int usable_cores();
// Whether processes here may copy from each other's memory, as Open MPI does for large messages (CMA).
bool can_copy_between_processes();

// Whether all ranks will be on this machine: no hosts are given, and no scheduler's job, which has hosts.
bool only_here(const MpirunOptions &options);
// Whether this process is a rank of a job itself, which starts another.
bool inside_rank();

// Says something of the job: on standard error; or to mpi.spawn, which makes it its error.
void tell(const MpirunOptions &options, const std::string &text);

// Runs a command with `mpirun` in it to its end: passes on what ranks print, explains how they ended. `folder` is a
// fresh one, for the board. Returns the program's exit code.
int run_job(const std::vector<std::string> &command, const MpirunOptions &options, const std::string &folder);

} // namespace perigee::cli
