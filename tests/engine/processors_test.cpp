// What decides how many threads there are at the start: environment variables and the limits of containers.
#include <catch2/catch.hpp>

#include "core/processors.hpp"
#include "core/status.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace perigee;
using namespace perigee::core;

namespace {

namespace fs = std::filesystem;

// A folder that stands for /.
struct Machine {
  Machine() {
    std::string name = (fs::temp_directory_path() / "perigee-cgroups-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    root = name;
  }
  ~Machine() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  void write(const std::string &path, const std::string &text) const {
    fs::create_directories(fs::path(root + path).parent_path());
    std::ofstream(root + path) << text << "\n";
  }
  std::string root;
};

// A variable of the environment, as it was again at the end.
struct Variable {
  Variable(const char *name, const char *value) : name(name), before(std::getenv(name) ? std::getenv(name) : "") {
    setenv(name, value, 1);
  }
  ~Variable() { before.empty() ? unsetenv(name) : setenv(name, before.c_str(), 1); }
  const char *name;
  std::string before;
};

} // namespace

TEST_CASE("a quota of control groups, version 2", "[processors]") {
  const Machine machine;
  CHECK(processor_quota(machine.root) == 0); // nothing there
  machine.write("/proc/self/cgroup", "0::/user.slice/job");
  CHECK(processor_quota(machine.root) == 0);
  machine.write("/sys/fs/cgroup/user.slice/job/cpu.max", "max 100000");
  CHECK(processor_quota(machine.root) == 0);
  machine.write("/sys/fs/cgroup/user.slice/job/cpu.max", "250000 100000");
  CHECK(processor_quota(machine.root) == 2.5);
  machine.write("/sys/fs/cgroup/user.slice/cpu.max", "150000 100000"); // the group around it has less
  CHECK(processor_quota(machine.root) == 1.5);
  machine.write("/proc/self/cgroup", "0::/"); // a container's own root
  machine.write("/sys/fs/cgroup/cpu.max", "50000 100000");
  CHECK(processor_quota(machine.root) == 0.5);
  machine.write("/sys/fs/cgroup/cpu.max", "nonsense");
  CHECK(processor_quota(machine.root) == 0);
}

TEST_CASE("a quota of control groups, version 1", "[processors]") {
  const Machine machine;
  machine.write("/proc/self/cgroup", "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/");
  machine.write("/sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "-1");
  machine.write("/sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us", "100000");
  CHECK(processor_quota(machine.root) == 0);
  machine.write("/sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "300000");
  CHECK(processor_quota(machine.root) == 3);
  // Inside a container the group's path is another's, and its limit is that of the root.
  machine.write("/proc/self/cgroup", "4:cpuacct,cpu:/somewhere/else");
  machine.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000");
  machine.write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  CHECK(processor_quota(machine.root) == 2);
  machine.write("/proc/self/cgroup", "4:cpuset:/"); // not the controller of time
  CHECK(processor_quota(machine.root) == 0);
}

TEST_CASE("variables of the environment say how many threads", "[processors]") {
  const Variable own("PERIGEE_NUM_THREADS", "3"), omp("OMP_NUM_THREADS", "5,2");
  CHECK(threads_of_environment().count == 3);
  CHECK(thread_default().source == std::string("PERIGEE_NUM_THREADS"));
  {
    const Variable unset("PERIGEE_NUM_THREADS", "");
    CHECK(thread_default().count == 5);
    CHECK(thread_default().source == std::string("OMP_NUM_THREADS"));
  }
  for (const char *wrong : {"0", "-2", "1.5", "x", "2,3", "1025", " "}) {
    const Variable bad("PERIGEE_NUM_THREADS", wrong);
    CHECK_THROWS_AS(threads_of_environment(), ArgumentError);
    CHECK(thread_default().count >= 1);
  }
  {
    const Variable bad("OMP_NUM_THREADS", "many");
    CHECK_THROWS_WITH(threads_of_environment(), Catch::Contains("OMP_NUM_THREADS") && Catch::Contains("\"many\""));
  }
}

TEST_CASE("without variables, the processors and the quota decide", "[processors]") {
  const Variable own("PERIGEE_NUM_THREADS", ""), omp("OMP_NUM_THREADS", "");
  const ThreadDefault found = thread_default();
  CHECK(found.count >= 1);
  CHECK(found.count <= available_processors());
}
