// What a result depends on beside the machine, in one string: a grading that goes on where another stopped takes a
// result for its own only where nothing of this has changed.
#pragma once

#include "types.hpp"

#include <string>

namespace perigee::grader {

// Of the script's bytes, all files of the exercise and its solutions, and the version of the program: 64 hexadecimal
// digits. "" where the script cannot be read (or is no file, or a symbolic link): then there is nothing to go by.
std::string fingerprint(const Exercise &exercise, const std::filesystem::path &script);

} // namespace perigee::grader
