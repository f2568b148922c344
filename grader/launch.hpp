// From fork to exec: a child that gives up what it must not have and becomes another program.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace perigee::grader {

struct Launch {
  std::vector<std::string> arguments, environment;
  std::vector<int> fds; // become 3, 4, ...
  int output = -1;
  bool change_user = false, drop_root = false;
  uid_t uid = 0;
  cpu_set_t cpus;
  bool pin = false;
  int64_t address_space = 0, file_size = 0;
  bool wait = false; // the last of fds is ours: exec only once it can be read

  // Throws InfrastructureError if there is no child. What fails in the child, it says on its output in words that begin
  // with "perigee-sandbox: ", and exits with code 126.
  pid_t start() const;
};

} // namespace perigee::grader
