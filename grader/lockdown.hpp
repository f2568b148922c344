// What a confined program calls on itself once it has started up and before it loads anything hostile: resource limits,
// no_new_privs, Landlock, and a seccomp allow-list. There is no way back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace perigee::grader {

struct LockdownOptions {
  bool threads = true;             // whether new threads may be started
  std::vector<int> keep_fds;       // beside 0, 1, 2; all others are closed
  bool scratch = false;            // whether /tmp may be used; not in a degraded sandbox, where it is the machine's own
  uint32_t *denied_word = nullptr; // gets the number of the refused call that ended the process (see describe_denied)
};

// Call it from the only thread. Throws std::runtime_error naming the step that failed; the program must then exit.
// Refused calls that no honest script makes (fork, exec, kill, sockets, ...) end the process with SIGSYS; all else that
// is not on the list fails with EPERM.
void lockdown(const LockdownOptions &options);

// denied_word holds this when the process aborted (as first process of its pid namespace it cannot die by SIGABRT).
inline constexpr uint32_t denied_word_abort = 0xFFFF0006u;

// The two halves of lockdown(), for a program that starts threads of its own in between (a rank of MPI). The first
// limits files and resources of those threads too, and must be called from the only thread; it leaves the network
// alone. The second refuses system calls of all threads that there are.
void lock_files(const LockdownOptions &options);
void lock_calls(const LockdownOptions &options);

// The same two halves for the process that measures on a GPU (gpu_time.hpp). Its driver opens devices, starts threads
// and listens on a socket of its own, with calls that are the driver's affair: so all but what reaches other processes,
// files and the network is allowed. The first comes before the driver is loaded: no capabilities, files are read-only
// but those in `folder`, NVIDIA's devices and shared memory, nothing is executed, and it ends with its parent. The
// second comes when the driver runs and before it is given anything: no new processes, no new sockets.
void lock_device_files(const std::string &folder);
void lock_device_calls();

// Name of a system call number of this machine, "system call 999" if unknown.
std::string system_call_name(uint32_t number);

// Landlock's version, 0 when the kernel has none.
int landlock_version();

} // namespace perigee::grader
