// One process of a sandbox, seen from outside by way of /proc: what it does, its CPU clock, its end.
#pragma once

#include "system.hpp"

#include <dirent.h>
#include <sys/types.h>
#include <time.h>

#include <string>
#include <vector>

namespace perigee::grader {

struct TaskState {
  char state = 0; // 0: gone
  int threads = 0;
  int exit_code = 0; // as waitpid gives it; for a zombie
};

// Of an open /proc/<pid>/stat or /proc/<pid>/task/<tid>/stat.
TaskState read_stat(int fd);

// One process of a sandbox, seen from outside.
struct WatchedProcess {
  pid_t pid = -1; // in our pid namespace
  Descriptor pidfd, stat, wait_channel, tasks;
  clockid_t clock = 0;
  size_t number = 0;                     // among the settled ones
  const uint32_t *denied_word = nullptr; // SandboxOptions::denied_word
  bool idle = false;                     // stopped for good

  std::string open_all(pid_t process); // why it cannot be seen, "" if it can

  bool dead() const;
  void send(int signal) const;
  void pin(int cpu) const;  // all its tasks; what cannot be pinned stays free
  int64_t cpu() const;      // ns; throws WorkerGone
  bool all_stopped() const; // whether every task is; throws WorkerGone if there is none left
  bool all_off_cpu() const;
  template <class Check> bool every_task(const char *file, Check &&check) const;
};

// Whether check(descriptor of /proc/<pid>/task/<tid>/<file>) holds for every task; one that has just ended passes.
template <class Check> bool WatchedProcess::every_task(const char *file, Check &&check) const {
  DIR *folder = fdopendir(openat(tasks.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder == nullptr) {
    if (!dead()) {
      throw InfrastructureError("the tasks of a confined program cannot be listed: " + error_text());
    }
    throw WorkerGone("the confined program is gone");
  }
  bool all = true;
  while (const dirent *entry = readdir(folder)) {
    if (!all) {
      break;
    }
    if (entry->d_name[0] != '.') {
      const std::string path = std::string(entry->d_name) + "/" + file;
      const Descriptor open_file(openat(dirfd(folder), path.c_str(), O_RDONLY | O_CLOEXEC));
      all = !open_file || check(open_file.get());
    }
  }
  closedir(folder);
  return all;
}

// The processes that descend from `ancestor`, itself left out.
std::vector<pid_t> descendants(pid_t ancestor);

// The number by which a process in a pid namespace of its own knows itself; 0 once it has ended.
pid_t number_inside(pid_t process);

} // namespace perigee::grader
