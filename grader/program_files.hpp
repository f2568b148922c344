// The program that a sandbox runs and its libraries, where the confined user can read them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace perigee::grader {

struct ProgramFiles {
  std::filesystem::path program;
  std::filesystem::path library_folder;
  std::vector<std::string> libraries; // in that folder: libperigee* and perigee/* (plugins), links included
};

// Finds a program's libraries. Throws InfrastructureError if it cannot be run.
ProgramFiles files_of(const std::filesystem::path &program);

// The same files, or copies of them where other users cannot read all of them.
ProgramFiles readable_by_all(const ProgramFiles &files);

} // namespace perigee::grader
