#include "program_files.hpp"

#include "system.hpp"

#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <mutex>

namespace perigee::grader {
namespace fs = std::filesystem;

namespace {

bool others_can_read(const fs::path &file) {
  struct stat status;
  if (stat(file.c_str(), &status) != 0 || !(status.st_mode & S_IROTH)) {
    return false;
  }
  for (fs::path folder = file.parent_path(); folder != folder.root_path(); folder = folder.parent_path()) {
    if (stat(folder.c_str(), &status) != 0 || !(status.st_mode & S_IXOTH)) {
      return false;
    }
  }
  return true;
}

// Copies for a supervisor that is root and whose program lies where other users cannot look (/root): made once per
// process and program, removed at exit.
class Stage {
 public:
  static Stage &instance() {
    static Stage stage;
    return stage;
  }

  ProgramFiles files(const ProgramFiles &original) {
    const std::lock_guard lock(mutex_);
    if (owner_ != getpid()) { // forked
      folder_.clear();
      owner_ = getpid();
    }
    if (folder_.empty()) {
      sweep();
      std::string name = "/tmp/perigee-stage-" + std::to_string(getpid()) + "-XXXXXX";
      if (mkdtemp(name.data()) == nullptr || chmod(name.c_str(), 0755) != 0) {
        throw InfrastructureError("cannot create a folder in /tmp: " + error_text());
      }
      folder_ = name;
      for (const char *part : {"/libexec", "/libexec/perigee", "/lib", "/lib/perigee"}) {
        make_folder(folder_.string() + part);
      }
    }
    ProgramFiles copy;
    copy.library_folder = folder_ / "lib";
    copy.program = copy_once(original.program, folder_ / "libexec/perigee" / original.program.filename());
    for (const std::string &library : original.libraries) {
      copy_once(original.library_folder / library, copy.library_folder / library);
    }
    copy.libraries = original.libraries;
    return copy;
  }

  ~Stage() {
    if (!folder_.empty() && owner_ == getpid()) {
      std::error_code ignored;
      fs::remove_all(folder_, ignored);
    }
  }

 private:
  static void make_folder(const std::string &path) {
    if (mkdir(path.c_str(), 0755) != 0 || chmod(path.c_str(), 0755) != 0) { // whatever the umask
      throw InfrastructureError("cannot create " + path + ": " + error_text());
    }
  }

  static fs::path copy_once(const fs::path &from, const fs::path &to) {
    std::error_code error;
    if (!fs::exists(to)) {
      fs::copy_file(from, to, error);
      if (error || chmod(to.c_str(), 0755) != 0) {
        throw InfrastructureError("cannot copy " + from.string() + " to " + to.string());
      }
    }
    return to;
  }

  // Removes what a supervisor that was killed has left.
  static void sweep() {
    std::error_code ignored;
    for (const auto &entry : fs::directory_iterator("/tmp", ignored)) {
      const std::string name = entry.path().filename(), prefix = "perigee-stage-";
      struct stat status;
      if (name.rfind(prefix, 0) == 0 && lstat(entry.path().c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
          status.st_uid == geteuid() && ::kill(std::atoi(name.c_str() + prefix.size()), 0) != 0 && errno == ESRCH) {
        fs::remove_all(entry.path(), ignored);
      }
    }
  }

  std::mutex mutex_;
  fs::path folder_;
  pid_t owner_ = getpid();
};

} // namespace

ProgramFiles files_of(const fs::path &program) {
  std::error_code error;
  ProgramFiles files;
  files.program = fs::canonical(program, error);
  if (error || access(files.program.c_str(), X_OK) != 0) {
    throw InfrastructureError("cannot run " + program.string() + ": " + (error ? error.message() : error_text()));
  }
  // As its RPATH has it: <prefix>/lib beside <prefix>/libexec/perigee, or where a distribution puts libraries.
  const fs::path prefix = files.program.parent_path().parent_path().parent_path();
  for (const char *name : {"lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"}) {
    for (const auto &entry : fs::directory_iterator(prefix / name, error)) {
      const std::string file = entry.path().filename();
      if (file.rfind("libperigee", 0) == 0 && file.find(".so") != std::string::npos) {
        files.libraries.push_back(file);
      }
    }
    if (!files.libraries.empty()) {
      files.library_folder = prefix / name;
      break;
    }
  }
  for (const auto &entry : fs::directory_iterator(files.library_folder / "perigee", error)) {
    if (entry.path().extension() == ".so") {
      files.libraries.push_back("perigee/" + entry.path().filename().string());
    }
  }
  return files;
}

ProgramFiles readable_by_all(const ProgramFiles &files) {
  bool stage = !others_can_read(files.program);
  for (const std::string &library : files.libraries) {
    stage = stage || !others_can_read(files.library_folder / library);
  }
  return stage ? Stage::instance().files(files) : files;
}

} // namespace perigee::grader
