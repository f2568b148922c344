// The grader's commands, each a function from options to an exit code, so that tests call them without a process.
// engine/cli/main.cpp parses the command line into the options.
//
// Exit codes: 0 passed, 1 did not pass, 2 wrong usage or an invalid exercise, 3 no score (inconclusive, or this machine
// is at fault), 130 stopped by Ctrl-C after what was finished has been kept and reported. Functions throw UsageError
// and ExerciseError (2) and InfrastructureError (3).
#pragma once

#include "catalogue.hpp"
#include "report.hpp"
#include "text.hpp"

#include <string>

namespace perigee::grader {

// What every command knows.
struct Context {
  std::filesystem::path program; // the running binary: exercises, worker and annotations are found from it
  std::string exercises;         // --exercises, "" if not given
  Console &console;

  Catalogue catalogue() const { return load_catalogue(find_roots(exercises, program)); }
};

int list_exercises(const Context &context, const std::string &lesson, bool json);
// The statement, what is asked for and what it earns; `hints`: how many of the hints to give, in their order.
int show_exercise(const Context &context, const std::string &id, int hints);
// Puts <lesson>/<name>.lua, its statement and an editor configuration into `folder`. Never overwrites a file.
int start_exercise(const Context &context, const std::string &id, const std::filesystem::path &folder);

struct CheckOptions {
  std::string id;
  std::filesystem::path file; // empty: ./<name>.lua, else ./<lesson>/<name>.lua
  bool json = false;
  bool quick = false; // indicative: fewer rounds
};
int check_submission(const Context &context, const CheckOptions &options);

struct GradeOptions {
  std::filesystem::path folder; // learner/lesson/name.lua or learner/name.lua
  std::filesystem::path out;    // receives report.html, results.csv, results.json and results.sqlite
  std::string exercise;         // only this one; "": all
  bool json = false;            // results.json on standard output instead of the table
  bool require_full_sandbox = false;
  bool resume = false; // keeps what earlier runs into `out` have found, where nothing has changed since
};
// Grades a class, one submission at a time: timing is exclusive. What comes out without a score is graded once more at
// the end.
int grade_class(const Context &context, const GradeOptions &options);

// One file of a class to be graded.
struct ClassFile {
  std::string learner;
  const Exercise *exercise;
  std::string file; // relative to the class folder
};
struct ClassFolder {
  std::vector<std::string> learners;
  std::vector<ClassFile> files; // by exercise in teaching order, then learner
  std::vector<Skipped> skipped;
};
// Finds the submissions of a class. Symbolic links are not followed: their targets are not the learner's to hand in.
// Throws UsageError if the folder cannot be read or holds no learner.
// `out`: the output folder, no learner's where it lies in the class folder.
ClassFolder scan_class(const std::filesystem::path &folder, const Catalogue &catalogue, const std::string &only,
                       const std::filesystem::path &out = {});

struct VerifyOptions {
  std::string id; // empty: all exercises
  bool json = false;
  bool untimed = false; // only what needs no clock
};
// All claims that need no clock come first, of all exercises; then the speeds.
int verify_exercises(const Context &context, const VerifyOptions &options);

} // namespace perigee::grader
