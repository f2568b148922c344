#include "cgroup.hpp"

#include "system.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <utility>

namespace perigee::grader {
namespace fs = std::filesystem;

namespace {

bool write_file(const fs::path &path, const std::string &text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  ssize_t written;
  do { // (a limit on memory is set only after pages were given back, which a signal may interrupt)
    written = write(fd, text.data(), text.size());
  } while (written < 0 && errno == EINTR);
  close(fd);
  return written == static_cast<ssize_t>(text.size());
}

// The value after `key ` in a file of lines such as "oom_kill 1"; 0 when absent.
int64_t keyed_value(const fs::path &path, const std::string &key) {
  std::istringstream in(read_kernel_file(path));
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(key + " ", 0) == 0) {
      return std::strtoll(line.c_str() + key.size(), nullptr, 10);
    }
  }
  return 0;
}

int64_t number_in(const fs::path &path) {
  return std::strtoll(read_kernel_file(path).c_str(), nullptr, 10);
}

struct Hierarchy {
  fs::path mount, own; // where it is mounted; our own group in it
};

// Controller name (v1), or "" for the v2 hierarchy -> where it is. Mount points come from mountinfo, since hybrid
// set-ups put v2 elsewhere than /sys/fs/cgroup.
std::map<std::string, Hierarchy> hierarchies() {
  std::map<std::string, std::string> groups;
  {
    std::istringstream in(read_kernel_file("/proc/self/cgroup")); // 4:memory:/user/me
    std::string line;
    while (std::getline(in, line)) {
      const size_t a = line.find(':'), b = line.find(':', a + 1);
      if (a == std::string::npos || b == std::string::npos) {
        continue;
      }
      std::istringstream names(line.substr(a + 1, b - a - 1));
      const std::string path = line.substr(b + 1);
      if (b == a + 1) {
        groups[""] = path;
      }
      for (std::string name; std::getline(names, name, ',');) {
        groups[name] = path;
      }
    }
  }
  std::map<std::string, Hierarchy> found;
  std::istringstream in(read_kernel_file("/proc/self/mountinfo"));
  std::string line;
  while (std::getline(in, line)) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) {
      continue;
    }
    std::istringstream left(line.substr(0, dash)), right(line.substr(dash + 3));
    std::string skip, root, mount, type, source, options;
    left >> skip >> skip >> skip >> root >> mount;
    right >> type >> source >> options;
    const auto add = [&](const std::string &name) {
      const auto group = groups.find(name);
      if (group == groups.end() || found.count(name)) {
        return;
      }
      // A container sees only a part of the hierarchy, and its own group may lie beside that.
      const fs::path own = fs::path(group->second).lexically_relative(root);
      const bool below = !own.empty() && own != "." && *own.begin() != "..";
      found[name] = {mount, below ? fs::path(mount) / own : fs::path(mount)};
    };
    if (type == "cgroup2") {
      add("");
    } else if (type == "cgroup") {
      std::istringstream names(options);
      for (std::string name; std::getline(names, name, ',');) {
        if (name == "memory" || name == "pids") {
          add(name);
        }
      }
    }
  }
  return found;
}

// Removes the empty groups of supervisors that were killed. (One that had our number was killed, too.)
void sweep(const fs::path &parent) {
  std::error_code ignored;
  for (const auto &entry : fs::directory_iterator(parent, ignored)) {
    const std::string name = entry.path().filename(), prefix = "perigee-";
    const pid_t owner = name.rfind(prefix, 0) == 0 ? std::atoi(name.c_str() + prefix.size()) : 0;
    if (owner > 0 && (owner == getpid() || (kill(owner, 0) != 0 && errno == ESRCH))) {
      rmdir(entry.path().c_str());
    }
  }
}

fs::path make_group(const fs::path &parent, const std::string &name) {
  const fs::path folder = parent / name;
  return mkdir(folder.c_str(), 0755) == 0 ? folder : fs::path();
}

} // namespace

std::optional<Cgroup> Cgroup::create(int64_t memory_bytes, int max_tasks) {
  static const std::map<std::string, Hierarchy> found = [] {
    auto all = hierarchies();
    for (const auto &[name, hierarchy] : all) {
      sweep(hierarchy.own);
      sweep(hierarchy.mount);
    }
    return all;
  }();
  static std::atomic<unsigned> count{0};
  const std::string name = "perigee-" + std::to_string(getpid()) + "-" + std::to_string(count++);
  Cgroup group;
  const auto v1 = [&](const char *controller) -> fs::path {
    const auto at = found.find(controller);
    if (at == found.end()) {
      return {};
    }
    fs::path folder = make_group(at->second.own, name);
    return folder.empty() ? make_group(at->second.mount, name) : folder;
  };

  if (const fs::path folder = v1("memory"); !folder.empty()) {
    group.folders_.push_back(folder);
    if (write_file(folder / "memory.limit_in_bytes", std::to_string(memory_bytes))) {
      write_file(folder / "memory.memsw.limit_in_bytes",
                 std::to_string(memory_bytes)); // absent without swap accounting
      group.memory_ = folder;
    }
  }
  if (const fs::path folder = v1("pids"); !folder.empty()) {
    group.folders_.push_back(folder);
    if (write_file(folder / "pids.max", std::to_string(max_tasks))) {
      group.pids_ = folder;
    }
  }
  if (const auto at = found.find(""); at != found.end()) {
    const bool want = group.memory_.empty() || group.pids_.empty();
    // A group with processes cannot hand controllers to its children, so the top of the hierarchy is tried as well.
    for (const fs::path &parent : {at->second.own, at->second.mount}) {
      if (want) {
        write_file(parent / "cgroup.subtree_control", "+memory +pids");
      }
      const fs::path folder = make_group(parent, name);
      if (folder.empty()) {
        continue;
      }
      const bool memory = group.memory_.empty() && write_file(folder / "memory.max", std::to_string(memory_bytes));
      const bool pids = group.pids_.empty() && write_file(folder / "pids.max", std::to_string(max_tasks));
      if (want && !memory && !pids && parent != at->second.mount) {
        rmdir(folder.c_str());
        continue;
      }
      if (memory) {
        write_file(folder / "memory.swap.max", "0");
        group.memory_ = folder;
        group.memory_is_v2_ = true;
      }
      if (pids) {
        group.pids_ = folder;
      }
      group.unified_ = folder;
      group.folders_.push_back(folder);
      group.freeze_fd_ = open((folder / "cgroup.freeze").c_str(), O_RDWR | O_CLOEXEC);
      group.events_fd_ = open((folder / "cgroup.events").c_str(), O_RDONLY | O_CLOEXEC);
      break;
    }
  }
  if (group.folders_.empty()) {
    return std::nullopt;
  }
  return group;
}

Cgroup::Cgroup(Cgroup &&other) noexcept {
  *this = std::move(other);
}

Cgroup &Cgroup::operator=(Cgroup &&other) noexcept {
  if (this != &other) {
    remove();
    memory_ = std::exchange(other.memory_, {});
    pids_ = std::exchange(other.pids_, {});
    unified_ = std::exchange(other.unified_, {});
    memory_is_v2_ = other.memory_is_v2_;
    folders_ = std::exchange(other.folders_, {});
    freeze_fd_ = std::exchange(other.freeze_fd_, -1);
    events_fd_ = std::exchange(other.events_fd_, -1);
  }
  return *this;
}

Cgroup::~Cgroup() {
  remove();
}

void Cgroup::forget_freezer() {
  for (int *fd : {&freeze_fd_, &events_fd_}) {
    if (*fd >= 0) {
      close(*fd);
      *fd = -1;
    }
  }
}

void Cgroup::remove() {
  forget_freezer();
  for (const fs::path &folder : folders_) {
    // A process that has just died may still be counted for a moment.
    for (int attempt = 0; rmdir(folder.c_str()) != 0 && errno == EBUSY && attempt < 100; ++attempt) {
      sleep_ns(500'000);
    }
  }
  folders_.clear();
}

void Cgroup::add(pid_t pid) {
  for (const fs::path &folder : folders_) {
    if (write_file(folder / "cgroup.procs", std::to_string(pid))) {
      continue;
    }
    for (fs::path *use : {&memory_, &pids_}) {
      if (*use == folder) {
        use->clear();
      }
    }
    if (unified_ == folder) {
      forget_freezer();
    }
  }
}

bool Cgroup::freeze() {
  return pwrite(freeze_fd_, "1", 1, 0) == 1;
}
bool Cgroup::thaw() {
  return pwrite(freeze_fd_, "0", 1, 0) == 1;
}

bool Cgroup::frozen() const {
  char text[256];
  const ssize_t size = pread(events_fd_, text, sizeof text - 1, 0);
  if (size <= 0) {
    return false;
  }
  text[size] = 0;
  return std::strstr(text, "frozen 1") != nullptr;
}

int64_t Cgroup::memory_now() const {
  return has_memory() ? number_in(memory_ / (memory_is_v2_ ? "memory.current" : "memory.usage_in_bytes")) : 0;
}

int64_t Cgroup::memory_peak() const {
  return has_memory() ? number_in(memory_ / (memory_is_v2_ ? "memory.peak" : "memory.max_usage_in_bytes")) : 0;
}

bool Cgroup::out_of_memory() const {
  return has_memory() &&
         keyed_value(memory_ / (memory_is_v2_ ? "memory.events" : "memory.oom_control"), "oom_kill") > 0;
}

} // namespace perigee::grader
