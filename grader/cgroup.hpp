// Control groups for one sandbox, where the supervisor may create them (usually: as root). A machine may have the v2
// hierarchy, v1 hierarchies, or both; each of memory, task count and freezing is taken from whichever has it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace perigee::grader {

class Cgroup {
 public:
  // Makes groups for one process: at most `memory_bytes` of memory and `max_tasks` tasks. Returns nothing where no
  // hierarchy is writable. Never throws; what could not be made is simply absent (see has_*).
  static std::optional<Cgroup> create(int64_t memory_bytes, int max_tasks);

  Cgroup(Cgroup &&) noexcept;
  Cgroup &operator=(Cgroup &&) noexcept;
  Cgroup(const Cgroup &) = delete;
  ~Cgroup(); // removes the groups; every process in them must be dead

  // Moves a process (all its threads) into every group; what a group gives that refuses is absent from then on. The
  // first move on a quiet machine waits for the kernel (5 to 20 ms here), so call it while the process does something
  // else.
  void add(pid_t pid);

  bool has_memory() const { return !memory_.empty(); }
  bool has_pids() const { return !pids_.empty(); }
  bool has_freezer() const { return freeze_fd_ >= 0; }

  bool freeze();       // asks; false if the write failed
  bool frozen() const; // whether the kernel has confirmed that every task is frozen
  bool thaw();

  int64_t memory_now() const;  // bytes, 0 when unknown
  int64_t memory_peak() const; // bytes, 0 when unknown
  bool out_of_memory() const;  // whether the kernel has killed a process of the group for memory

 private:
  Cgroup() = default;
  void forget_freezer();
  void remove();

  std::filesystem::path memory_, pids_, unified_; // folders of this sandbox
  bool memory_is_v2_ = false;
  std::vector<std::filesystem::path> folders_; // all of them, to enter and to remove
  int freeze_fd_ = -1, events_fd_ = -1;
};

} // namespace perigee::grader
