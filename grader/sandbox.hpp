// One confined process: how the grader runs code that nobody trusts (DESIGN section 6). Sandbox::start puts a program
// of ours (worker, judge) behind bubblewrap, in its own namespaces and, started as root, under its own unused user id
// and control groups; the program then calls lockdown() on itself (lockdown.hpp) before it loads anything hostile. Here
// are the supervisor's handles on it: freeze, thaw, its CPU clock, its memory, its output, its end.
//
// Nothing here is thread-safe for one Sandbox; different Sandboxes may be used from different threads. The thread that
// starts a Sandbox must outlive it: when it ends, the kernel kills the sandbox (so that no worker survives a supervisor
// that was killed).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace perigee::grader {

// The machine or the sandbox is broken: never the learner's fault, never a zero.
struct InfrastructureError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The confined program is dead: exit_info() says how.
struct WorkerGone : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct SandboxOptions {
  std::filesystem::path program;         // e.g. <prefix>/libexec/perigee/perigee-worker; its libraries: <prefix>/lib
  std::vector<std::string> arguments;    // after argv[0]
  std::vector<int> inherit_fds;          // become 3, 4, 5, ... in the program; nothing else is passed
  int64_t memory_bytes = 512LL << 20;    // of the whole sandbox
  int max_tasks = 64;                    // threads
  std::vector<int> cpus;                 // CPUs to run on; empty: as the supervisor
  int64_t output_cap = 1LL << 20;        // bytes of stdout and stderr together before it is ended
  int64_t scratch_bytes = 16LL << 20;    // size of its /tmp (which lockdown() hides unless told otherwise)
  const uint32_t *denied_word = nullptr; // supervisor's view of LockdownOptions::denied_word; null: the name is unknown
  bool require_full = false;             // a degraded sandbox is an InfrastructureError
  bool use_cgroups = true;               // false: as if no control group were writable
  // A program that starts others (settle() says when it has): what it sees beside libraries, read-only and where it is;
  // the size of its /dev/shm; variables ("NAME=value").
  bool processes = false;
  std::vector<std::filesystem::path> also_visible;
  int64_t shared_memory_bytes = 0;
  std::vector<std::string> environment;
};

enum class ExitReason { exited, signalled, memory, output, denied, killed };

// How the confined program ended. `killed` = by the supervisor's own kill().
struct ExitInfo {
  ExitReason reason = ExitReason::exited;
  int code = 0;                 // exit code, when exited
  int signal = 0;               // when signalled (and SIGSYS when denied)
  std::string denied_syscall;   // "fork", when denied and known
  std::string describe() const; // "tried fork (not allowed in the sandbox)", "used more than its 512 MiB of memory"
  int64_t memory_limit = 0;
  std::size_t process = 0; // which of the settled processes (settle()) it was
};

// One of the processes that a confined program has started.
struct SettledProcess {
  pid_t pid = 0;                         // as the processes inside know it
  const uint32_t *denied_word = nullptr; // as in SandboxOptions
};

class Sandbox {
 public:
  // Returns once the program has been exec'ed (6 to 15 ms). Throws InfrastructureError.
  static Sandbox start(const SandboxOptions &options);

  Sandbox(Sandbox &&) noexcept;
  Sandbox &operator=(Sandbox &&) noexcept;
  ~Sandbox(); // kills the whole tree and waits for it

  pid_t pid() const; // of the confined program, in our pid namespace; stays its own until kill() or the destructor

  // Of a program that has started others: these are the ones that work, and from now on what is said here of the
  // program holds for all of them; the death of one is the end of all. All other processes of the sandbox are stopped
  // for good, so that nothing in it can start another process: call it once those named have locked themselves down.
  // Throws InfrastructureError.
  void settle(const std::vector<SettledProcess> &processes);

  // Gives each of the settled processes a core: process p gets cpus[(p + shift) % cpus.size()].
  void spread(const std::vector<int> &cpus, size_t shift);

  // Stops every task and returns once the kernel has confirmed it: from then on the CPU clocks stand still. Throws
  // WorkerGone if the program is dead, InfrastructureError if not confirmed within a second. Freezing twice is
  // harmless.
  void freeze();
  void thaw();
  bool frozen() const;
  // Whether a task has used CPU time since freeze() returned. Ask just before thaw(): true means that the program found
  // a way to run, and its results are not to be trusted.
  bool ran_while_frozen() const;
  const char *freezer() const; // "cgroup" or "signal"

  int64_t cpu_ns() const; // CPU time of all its tasks, ended ones included, read from outside; throws WorkerGone
  // How long its living tasks have waited for a CPU although they could run, summed: what other processes on the
  // machine took from them. 0 where the kernel does not tell (no scheduler statistics).
  int64_t waited_ns() const;

  // The private memory (process_vm_*) of the program, or of one of the settled processes. False if it is dead or the
  // range is not wholly accessible.
  bool write_memory(uint64_t address, const void *data, size_t size, size_t process = 0);
  bool read_memory(uint64_t address, void *data, size_t size, size_t process = 0);

  // Looks after the sandbox: drains output, samples memory, ends it when over a limit. Call it at least every 10 ms
  // while the program runs (it does its work at most every 2 ms, so calling it more often is cheap). False once dead.
  bool poll();
  bool alive();                        // poll() without the sampling
  std::optional<ExitInfo> exit_info(); // nothing while alive
  bool wait(double seconds);           // poll until dead or time is over; true if dead

  int64_t memory_now();  // bytes, control group or resident size
  int64_t memory_peak(); // bytes, the highest so far (sampled where no control group tells)

  std::string take_output();    // what came since the last call, stdout and stderr mixed; at most 64 KiB in all
  bool output_flooded();        // more than output_cap came
  int64_t output_bytes() const; // all that came, the dropped included

  void kill();                                  // idempotent; the tree is gone when it returns
  std::vector<std::string> unprotected() const; // what is missing: "own namespaces (...)"; empty: full protection

 private:
  struct State;
  explicit Sandbox(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct SandboxCapability {
  std::string name; // "user namespaces"
  bool present = false;
  std::string reason; // why not, or what was found
};

// What this machine gives a sandbox started now, by this user (starts two short-lived processes).
std::vector<SandboxCapability> probe_sandbox();
// "full", or "degraded: no user namespaces (reason)".
std::string sandbox_level(const std::vector<SandboxCapability> &capabilities);

} // namespace perigee::grader
