#include "cli/mpirun.hpp"

#include "core/processors.hpp"
#include "mpi/board.hpp"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

namespace perigee::cli {

namespace {

std::string find_program(const char *name) {
  const char *path = std::getenv("PATH");
  std::string_view rest = path ? path : "/usr/local/bin:/usr/bin:/bin";
  for (;;) {
    const std::size_t at = std::min(rest.find(':'), rest.size());
    const std::string file = std::string(at > 0 ? rest.substr(0, at) : ".") + "/" + name;
    std::error_code error;
    if (access(file.c_str(), X_OK) == 0 && std::filesystem::is_regular_file(file, error))
      return file;
    if (at == rest.size())
      return "";
    rest.remove_prefix(at + 1);
  }
}

// Who else's mpirun takes other options. Open MPI's is a link to orterun, or says so.
bool is_open_mpi(const std::string &mpirun) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(mpirun, error);
  if (!error && target.filename() == "orterun")
    return true;
  std::string command = "'";
  for (const char c : mpirun)
    command += c == '\'' ? std::string("'\\''") : std::string(1, c);
  FILE *pipe = popen((command + "' --version 2>/dev/null").c_str(), "r");
  char line[256] = "";
  const bool answered = pipe && std::fgets(line, sizeof line, pipe);
  if (pipe)
    pclose(pipe);
  return answered && std::strstr(line, "Open MPI");
}

} // namespace

std::string find_mpirun(std::string &why) {
  std::string other;
  for (const char *name : {"mpirun.openmpi", "orterun", "mpirun", "mpiexec"}) {
    const std::string file = find_program(name);
    if (!file.empty() && is_open_mpi(file))
      return file;
    if (!file.empty())
      other = file;
  }
  why = other.empty() ? "Open MPI's mpirun is not on this machine (Debian: apt install openmpi-bin)"
                      : other + " is not Open MPI's, which Perigee is built with (Debian: apt install openmpi-bin)";
  return "";
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return 1;
  std::set<std::string> cores; // by the lists of their hardware threads
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set))
      continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings))
      siblings = "cpu " + std::to_string(cpu);
    cores.insert(siblings);
  }
  int32_t count = 0, processors = 0;
  const char *source = "";
  double quota = 0; // a container's
  (void)pg_threads_default(&count, &source, &processors, &quota);
  const int all = std::max(1, static_cast<int>(cores.size()));
  return quota > 0 ? std::clamp(static_cast<int>(std::ceil(quota)), 1, all) : all;
}

bool inside_rank() {
  return std::getenv("PMIX_RANK") != nullptr;
}

bool only_here(const MpirunOptions &options) {
  const bool scheduled = std::getenv("SLURM_JOB_ID") || std::getenv("PBS_JOBID") || std::getenv("LSB_JOBID");
  // (What mpi.spawn sends and gets lies in files.)
  return options.script.call || (options.hostfile.empty() && options.hosts.empty() && !scheduled);
}

bool can_copy_between_processes() {
  int ready[2];
  if (pipe(ready) != 0)
    return false;
  volatile int word = 1;
  const pid_t owner = fork();
  if (owner == 0) {
#ifdef PR_SET_PTRACER
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); // as Open MPI does
#endif
    if (write(ready[1], "r", 1) == 1)
      pause();
    _exit(0);
  }
  char byte;
  pid_t reader = -1;
  if (owner > 0 && read(ready[0], &byte, 1) == 1)
    reader = fork();
  if (reader == 0) {
    int copy = 0;
    iovec local{&copy, sizeof copy}, remote{const_cast<int *>(&word), sizeof word};
    _exit(process_vm_readv(owner, &local, 1, &remote, 1, 0) == sizeof copy ? 0 : 1);
  }
  int status = 1;
  if (reader > 0)
    waitpid(reader, &status, 0);
  if (owner > 0) {
    kill(owner, SIGKILL);
    waitpid(owner, nullptr, 0);
  }
  close(ready[0]);
  close(ready[1]);
  return reader > 0 && status == 0;
}

namespace {

// Options of Open MPI that a learner would have to find out. What one sets in the environment (OMPI_MCA_...) is
// stronger than these where both name the same: then it is left out.
class Options {
 public:
  explicit Options(std::vector<std::string> &command) : command_(command) {}
  void add(std::initializer_list<std::string> words) { command_.insert(command_.end(), words); }
  void mca(const char *name, const std::string &value) {
    if (inside_rank() || !std::getenv((std::string("OMPI_MCA_") + name).c_str()))
      add({"--mca", name, value});
  }

 private:
  std::vector<std::string> &command_;
};

std::vector<std::string> command_of(const std::string &mpirun, const MpirunOptions &options, const std::string &program,
                                    const std::string &folder) {
  std::vector<std::string> command{mpirun};
  Options open_mpi(command);
  if (geteuid() == 0)
    open_mpi.add({"--allow-run-as-root"});
  const int cores = usable_cores();
  const int ranks = options.ranks > 0 ? options.ranks : cores;
  const bool here = only_here(options);
  if (here || options.ranks > 0)
    open_mpi.add({"-n", std::to_string(ranks)});
  if (!options.hostfile.empty())
    open_mpi.add({"--hostfile", options.hostfile});
  for (const std::string &host : options.hosts)
    open_mpi.add({"--host", host});
  if (options.oversubscribe || (here && ranks > cores)) {
    // A rank that waits would keep the core from the one that it waits for.
    open_mpi.add({"--oversubscribe", "--bind-to", "none"});
    open_mpi.mca("mpi_yield_when_idle", "1");
    setenv(mpi::shares_cores_variable, "1", 1);
  } else if (here) {
    // Each rank keeps its core and caches; but mpirun binds from the first core on, as the next job's would: few ranks
    // are left to the system. (Where only some of the cores are ours, it counts and binds within them.)
    open_mpi.add({"--oversubscribe", "--bind-to", 2 * ranks > cores ? "core" : "none"});
  }
  if (here) {
    // Only what this machine needs, which is also found soonest.
    open_mpi.mca("pml", "ob1");
    open_mpi.mca("btl", "self,vader,tcp");
    open_mpi.mca("plm", "isolated");
    open_mpi.mca("orte_tmpdir_base", folder); // goes with the job, whatever ends it
  }
  if (!can_copy_between_processes()) // containers: Open MPI warns, and copies twice
    open_mpi.mca("btl_vader_single_copy_mechanism", "none");
  open_mpi.mca("btl_base_warn_component_unused", "0");
  open_mpi.mca("mca_base_component_show_load_errors", "0"); // of networks that are not here
  open_mpi.mca("orte_base_help_aggregate", "1");
  if (!here)
    open_mpi.add({"-x", mpi::board_variable});
  open_mpi.add({program, "run", "--mpi-rank"});
  if (options.script.trusted)
    open_mpi.add({"--trusted"});
  if (options.script.jit_off)
    open_mpi.add({"--jit-off"});
  if (options.script.memory_mib > 0)
    open_mpi.add({"--memory", std::to_string(options.script.memory_mib)});
  if (options.script.call)
    open_mpi.add({"--call"});
  if (!options.script.root.empty())
    open_mpi.add({"--script-root", options.script.root});
  open_mpi.add({options.script.file});
  command.insert(command.end(), options.script.arguments.begin(), options.script.arguments.end());
  return command;
}

// A folder for the job, which goes with this object.
class Folder {
 public:
  Folder() {
    std::error_code error;
    const std::filesystem::path base = std::filesystem::temp_directory_path(error);
    path = ((error ? "/tmp" : base) / "perigee-mpi-XXXXXX").string();
    if (!mkdtemp(path.data()))
      path.clear();
  }
  Folder(const Folder &) = delete;
  ~Folder() {
    std::error_code error;
    if (!path.empty())
      std::filesystem::remove_all(path, error);
  }
  std::string path;
};

} // namespace

void tell(const MpirunOptions &options, const std::string &text) {
  std::FILE *file =
      options.script.call
          ? std::fopen((options.script.file.substr(0, options.script.file.rfind('/')) + "/messages").c_str(), "a")
          : nullptr;
  std::fputs(text.c_str(), file ? file : stderr);
  std::fflush(file ? file : stderr);
  if (file)
    std::fclose(file);
}

int mpirun(const MpirunOptions &options, const std::string &program) {
  auto refuse = [&](const std::string &message, int code) {
    tell(options, "perigee mpirun: " + message + '\n');
    return code;
  };
  for (const std::string *file : {&options.script.file, &options.hostfile})
    if (!file->empty() && access(file->c_str(), R_OK) != 0)
      return refuse("cannot read " + *file + ": " + std::strerror(errno), 2);
  if (options.script.call)
    prctl(PR_SET_PDEATHSIG, SIGTERM); // the script that called mpi.spawn is gone
  std::string why;
  const std::string mpirun = find_mpirun(why);
  if (mpirun.empty())
    return refuse(why, 3);
  const Folder folder;
  if (folder.path.empty())
    return refuse(std::string("cannot make a folder for temporary files: ") + std::strerror(errno), 3);
  return run_job(command_of(mpirun, options, program, folder.path), options, folder.path);
}

} // namespace perigee::cli
