// What this machine gives a sandbox, and this user.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace perigee::grader {

bool am_root();
bool has_ptrace_capability(); // whether this process may reach into the memory of a process with another user id

// A user id that nobody has: one a sandbox, so that two of them (or a learner's own processes) share nothing.
uid_t unused_uid();

std::string find_bwrap(); // its path, "" where it is not installed
std::vector<std::string> namespace_arguments(const std::string &bwrap);

// Why no full sandbox can be had here, "" if it can. Tried once a process, unless the environment forces it:
// PERIGEE_SANDBOX=degraded.
std::string full_refused();

} // namespace perigee::grader
