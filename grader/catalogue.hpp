// The catalogue: finds exercises on disk and reads their exercise.toml strictly. What is wrong with an exercise is said
// with file, line and key, and such an exercise is refused as a whole: a misspelt key that fell back to its default
// would grade a class by the wrong rule.
#pragma once

#include "types.hpp"

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace perigee::grader {

// What() reads "exercises/arrays/pairwise/exercise.toml:12: tiers[2].ratio: must be a number above 0, not -1".
class ExerciseError : public std::runtime_error {
 public:
  ExerciseError(std::filesystem::path file, int line, std::string key, const std::string &message);
  std::filesystem::path file;
  int line; // 0 where there is none
  std::string key;
};

// The command line, the environment or a path is not usable; the message says what to do. Exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Where the two trees lie that mirror each other.
struct Roots {
  std::filesystem::path exercises;
  std::filesystem::path solutions;
};

// Looks in `option` (--exercises), then $PERIGEE_EXERCISES, then, seen from the program: <prefix>/share/perigee of an
// installation, and the source tree above a build tree. A folder given by name may be the exercises folder itself or
// the folder above it. Throws UsageError.
Roots find_roots(const std::string &option, const std::filesystem::path &program);

// Reads one exercise; `folder` is <exercises>/<lesson>/<name>. Throws ExerciseError.
Exercise load_exercise(const std::filesystem::path &folder, const std::filesystem::path &solutions_root);

// Cores that this process may run on.
int usable_cores();

// The exercise as it is graded on so many cores: ratios of tiers that are for more ask for the same efficiency, so 3x
// on 4 cores is 1.5x on 2. Their names say so. Timed cases of MPI get a rank a core at most; on one core, tiers that
// are for more are left out (`notes` says so).
Exercise scaled_to(Exercise exercise, int cores);

struct Catalogue {
  Roots roots;
  std::vector<Exercise> exercises; // in teaching order: lesson, difficulty, name
  std::vector<ExerciseError> invalid;

  // Throws UsageError with the nearest ids for an unknown id, and the ExerciseError of an invalid one.
  const Exercise &get(std::string_view id) const;
  // nullptr where there is none.
  const Exercise *find(std::string_view id) const;
  // All exercises with this name, of whatever lesson ("pairwise").
  std::vector<const Exercise *> named(std::string_view name) const;
  // "; did you mean arrays/pairwise?", or "" if nothing is near.
  std::string suggestion(std::string_view id) const;
};

Catalogue load_catalogue(const Roots &roots);

// Edits (insert, delete, replace, swap of neighbours) that turn a into b.
int edit_distance(std::string_view a, std::string_view b);

// Best of `candidates` for a mistyped word, or "" if none is near.
std::string nearest(std::string_view word, const std::vector<std::string> &candidates);

} // namespace perigee::grader
