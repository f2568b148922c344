// How many threads this process should use by default, and who says so.
#pragma once

#include <cstdint>
#include <string>

namespace perigee::core {

/// How many processors this process was allowed to run on when the library was loaded, at least 1.
int available_processors();

/// The time that control groups (a container's limit) give this process, in processors; 0: no limit. `root`: the folder
/// that stands for /, for tests.
double processor_quota(const std::string &root = "");

struct ThreadDefault {
  int count = 1;
  /// "PERIGEE_NUM_THREADS", "OMP_NUM_THREADS", "quota" or "processors": what decided.
  const char *source = "";
};

/// The number that PERIGEE_NUM_THREADS asks for, else that of OMP_NUM_THREADS (of a list, the first), else count 0.
/// ArgumentError where one of them is not an integer from 1 to 1024.
ThreadDefault threads_of_environment();
/// The same, else the processors, or the quota, rounded up, if that is less: 64 threads that share the time of two
/// processors use it up in 3 of 100 ms, and all stand still for the other 97. Wrong variables count as unset here; the
/// VM has refused to start.
ThreadDefault thread_default();

} // namespace perigee::core

#pragma GCC visibility push(default)
extern "C" {
/// What `perigee doctor` asks for: the default number of threads, or the status of what forbids one (a wrong variable);
/// *source as above, and what there is: processors and the quota.
int32_t pg_threads_default(int32_t *count, const char **source, int32_t *processors, double *quota);
}
#pragma GCC visibility pop
