// How a sandbox starts: what its program may see, as arguments of bubblewrap; who the program is; when it may run.
#include "launch.hpp"
#include "lockdown.hpp"
#include "program_files.hpp"
#include "sandbox_state.hpp"
#include "sandbox_support.hpp"

#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <initializer_list>

namespace perigee::grader {
namespace fs = std::filesystem;

namespace {

constexpr int64_t start_deadline_ns = 30'000'000'000;
constexpr int64_t address_space_slack = 2LL << 30; // RLIMIT_AS is a backstop: a tight one hangs OpenBLAS

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true; // shadow memory needs terabytes of address space
#else
constexpr bool sanitized = false;
#endif

bool same_file(const struct stat &a, const struct stat &b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// What a sandbox without namespaces lacks; refuses where that is too much.
std::vector<std::string> missing_without_namespaces(const SandboxOptions &options, const std::string &refused) {
  if (options.require_full) {
    throw InfrastructureError("the full sandbox is required, but this machine gives only a degraded one: " + refused);
  }
  if (options.processes) {
    throw InfrastructureError("several processes in one sandbox (MPI) need namespaces of their own, which this machine "
                              "does not give: " +
                              refused);
  }
  std::vector<std::string> missing{"own process, file and network namespaces (" + refused + ")"};
  if (landlock_version() == 0) {
    missing.push_back("hidden files (this kernel has no Landlock)");
  }
  return missing;
}

std::vector<std::string> environment(const SandboxOptions &options, const std::string &libraries, bool direct,
                                     bool own_user) {
  std::vector<std::string> list{"LC_ALL=C", "PATH=/nonexistent", "LD_LIBRARY_PATH=" + libraries,
                                "PERIGEE_SANDBOX_LIBRARIES=" + libraries};
  if (!direct || own_user) { // else the limit would count the user's other processes
    list.push_back("PERIGEE_SANDBOX_TASKS=" + std::to_string(options.max_tasks + 2)); // and bwrap
  }
  if (!direct) { // without a mount namespace, /tmp is everybody's
    list.push_back("PERIGEE_SANDBOX_SCRATCH=/tmp");
  }
  list.insert(list.end(), options.environment.begin(), options.environment.end());
  if (sanitized) {
    list.push_back("ASAN_OPTIONS=detect_leaks=0"); // leak checking needs ptrace
  }
  return list;
}

// What the program sees. Ends with the program itself, whose place inside this is.
std::vector<std::string> mounts(const SandboxOptions &options, const ProgramFiles &files, const std::string &inside) {
  std::vector<std::string> list;
  const auto add = [&](std::initializer_list<std::string> more) { list.insert(list.end(), more); };
  add({"--ro-bind", "/usr/lib", "/usr/lib", "--ro-bind-try", "/usr/lib64", "/usr/lib64"});
  add({"--ro-bind-try", "/usr/lib32", "/usr/lib32", "--ro-bind-try", "/usr/local/lib", "/usr/local/lib"});
  for (const char *name : {"lib", "lib64"}) {
    std::error_code error;
    if (fs::is_symlink(std::string("/") + name, error)) { // merged /usr
      add({"--symlink", std::string("usr/") + name, std::string("/") + name});
    } else {
      add({"--ro-bind-try", std::string("/") + name, std::string("/") + name});
    }
  }
  add({"--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"});
  // Debian's libopenblas.so.0 is a link by way of here.
  add({"--ro-bind-try", "/etc/alternatives", "/etc/alternatives"});
  for (const char *device : {"/dev/null", "/dev/zero", "/dev/urandom"}) {
    add({"--dev-bind", device, device});
  }
  add({"--size", std::to_string(options.scratch_bytes), "--tmpfs", "/tmp"});
  if (options.shared_memory_bytes > 0) {
    add({"--size", std::to_string(options.shared_memory_bytes), "--tmpfs", "/dev/shm"});
  }
  for (const fs::path &path : options.also_visible) {
    add({"--ro-bind", path.string(), path.string()});
  }
  for (const std::string &library : files.libraries) {
    add({"--ro-bind", fs::canonical(files.library_folder / library).string(), "/perigee/lib/" + library});
  }
  add({"--ro-bind", files.program.string(), inside, "--remount-ro", "/", "--chdir", "/", "--", inside});
  return list;
}

} // namespace

Sandbox Sandbox::start(const SandboxOptions &options) {
  if (options.inherit_fds.size() > 32) {
    throw InfrastructureError("a sandbox takes at most 32 descriptors");
  }
  auto state = std::make_unique<State>();
  state->options = options;
  const std::string refused = full_refused();
  state->direct = !refused.empty();
  if (state->direct) {
    state->missing = missing_without_namespaces(options, refused);
    // Same user id or not, nothing may look into the process that holds the seed.
    prctl(PR_SET_DUMPABLE, 0);
  }

  Launch launch;
  if (am_root()) {
    launch.change_user = has_ptrace_capability();
    launch.drop_root = !launch.change_user && state->direct;
    if (launch.change_user) {
      launch.uid = unused_uid();
    } else {
      state->missing.push_back("own user id (root without CAP_SYS_PTRACE could not reach its memory)");
    }
  } else if (state->direct) {
    state->missing.push_back("own user id (not started as root)");
  }
  ProgramFiles files = files_of(options.program);
  if (launch.change_user) {
    files = readable_by_all(files);
  }
  launch.environment = environment(options, state->direct ? files.library_folder.string() : "/perigee/lib",
                                   state->direct, launch.change_user);

  auto [output_read, output_write] = make_pipe();
  auto [info_read, info_write] = make_pipe();
  auto [go_read, go_write] = make_pipe();
  fcntl(output_read.get(), F_SETFL, O_NONBLOCK);
  fcntl(output_read.get(), F_SETPIPE_SZ, 1 << 20); // fewer stalls of a program that prints much; may be refused
  launch.output = output_write.get();
  launch.fds = options.inherit_fds;
  launch.file_size = std::max(options.scratch_bytes, options.shared_memory_bytes);
  launch.address_space = sanitized ? 0 : options.memory_bytes + address_space_slack;
  if (!options.cpus.empty()) {
    CPU_ZERO(&launch.cpus);
    for (const int cpu : options.cpus) {
      CPU_SET(cpu, &launch.cpus);
    }
    launch.pin = true;
  }

  const std::string inside_program = "/perigee/libexec/perigee/" + files.program.filename().string();
  if (state->direct) {
    launch.arguments = {files.program};
    launch.fds.push_back(go_read.get());
    launch.wait = true;
  } else {
    launch.arguments = namespace_arguments(find_bwrap());
    for (const auto &[name, end] : {std::pair("--info-fd", info_write.get()), std::pair("--block-fd", go_read.get())}) {
      launch.fds.push_back(end);
      launch.arguments.insert(launch.arguments.end(), {name, std::to_string(2 + launch.fds.size())});
    }
    const std::vector<std::string> seen = mounts(options, files, inside_program);
    launch.arguments.insert(launch.arguments.end(), seen.begin(), seen.end());
  }
  launch.arguments.insert(launch.arguments.end(), options.arguments.begin(), options.arguments.end());

  if (options.use_cgroups && am_root()) {
    state->cgroup = Cgroup::create(options.memory_bytes, options.max_tasks);
  }

  const pid_t child = launch.start();
  state->launcher = child;
  state->output = std::move(output_read);
  output_write.reset();
  info_write.reset();

  const int64_t deadline = now_ns() + start_deadline_ns;
  const auto refuse = [&](const std::string &what) {
    state->reap(false);
    state->drain();
    std::string words = state->text;
    words.erase(words.find_last_not_of('\n') + 1);
    throw InfrastructureError("the sandbox did not start: " + (words.empty() ? what : words));
  };

  // Who is the program? Our own child when degraded; else bubblewrap's child, named by bubblewrap before it runs
  // anything of ours: nothing that is confined has a say.
  pid_t pid = child;
  if (!state->direct) {
    std::string info;
    while (info.find('}') == std::string::npos) {
      char buffer[256];
      const int64_t left = deadline - now_ns();
      if (left <= 0 || !readable(info_read.get(), static_cast<int>(left / 1'000'000) + 1)) {
        refuse("bubblewrap gave no answer");
      }
      const ssize_t size = read(info_read.get(), buffer, sizeof buffer);
      if (size < 0 && errno == EINTR) {
        continue;
      }
      if (size <= 0) {
        state->reap(true);
        refuse("bubblewrap ended without a word");
      }
      info.append(buffer, static_cast<size_t>(size));
    }
    const size_t at = info.find("\"child-pid\":");
    pid = at == std::string::npos ? 0 : std::atoi(info.c_str() + at + 12);
    if (pid <= 0) {
      refuse("bubblewrap did not name its child");
    }
  }
  const std::string proc = "/proc/" + std::to_string(pid);
  if (const std::string reason = state->program().open_all(pid); !reason.empty()) {
    refuse(reason);
  }
  state->program().denied_word = options.denied_word;
  // Entering the groups waits for the kernel; meanwhile bubblewrap mounts. The program runs only once it is inside.
  if (state->cgroup) {
    state->cgroup->add(pid);
  }
  state->cgroup_freezes = state->cgroup && state->cgroup->has_freezer();

  // Bubblewrap's child has made all mounts when it sees the program; it then waits for our word. By now its parent has
  // nothing left to do but to wait for it, so it can be stopped for good (see collect()).
  const std::string seen = proc + "/root" + inside_program;
  struct stat launcher_exe {
  }, exe{};
  const fs::path launcher_path = state->direct ? fs::path("/proc/self/exe") : fs::path(launch.arguments[0]);
  if (stat(launcher_path.c_str(), &launcher_exe) != 0) {
    refuse("no " + launcher_path.string());
  }
  bool released = false;
  for (;;) {
    const bool dead = state->dead();
    if (!released && (state->direct || dead || access(seen.c_str(), F_OK) == 0)) {
      state->held = !state->direct && !dead && ::kill(child, SIGSTOP) == 0;
      go_write.reset();
      released = true;
    }
    if (dead) {
      // Failed before the exec, or has run and ended already: then exit_info() tells.
      if (!state->direct && !state->held) {
        state->reap(true);
      }
      state->drain();
      if (state->text.rfind("bwrap: ", 0) == 0 || state->text.rfind("perigee-sandbox: ", 0) == 0) {
        refuse("");
      }
      break;
    }
    if (stat((proc + "/exe").c_str(), &exe) == 0 ? !same_file(exe, launcher_exe)
                                                 : read_stat(state->program().stat.get()).state == 'Z') {
      break; // exec'ed; its first thread may even have ended already
    }
    if (now_ns() > deadline) {
      refuse("the program did not start within 30 s");
    }
    sleep_ns(100'000);
  }
  if (!state->direct) {
    for (const char *folder : {"/root/tmp", "/root/dev/shm"}) {
      if (Descriptor opened(open((proc + folder).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)); opened) {
        state->scratch.push_back(std::move(opened));
      }
    }
  }
  return Sandbox(std::move(state));
}

} // namespace perigee::grader
