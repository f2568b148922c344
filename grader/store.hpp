// What a class grading has found, kept in one SQLite file in the output folder. Each result is committed as soon as it
// is there: Ctrl-C, a crash or a power cut costs at most the submission under way. Earlier runs stay in the file.
//
//   runs(id, started, finished, machine, perigee)     finished is NULL while a run goes on, or if it was killed
//   results(run, learner, exercise, file, verdict, score, max_score, json, fingerprint)
//                                                     json: the result as in results.json; fingerprint: fingerprint.hpp
#pragma once

#include "types.hpp"

#include <optional>
#include <string>
#include <vector>

struct sqlite3;

namespace perigee::grader {

class Store {
 public:
  // Opens or makes the file. Throws UsageError where that is not possible or the file is something else.
  explicit Store(const std::filesystem::path &file);
  Store(const Store &) = delete;
  ~Store();

  // Begins a run and returns its number. The other functions throw std::runtime_error when the disk fails.
  int64_t begin(const std::string &started, const std::string &machine);
  // Keeps a result; one of the same run, learner and exercise is replaced (it was graded again).
  void add(int64_t run, const Result &result, const std::string &fingerprint = "");
  void finish(int64_t run, const std::string &finished);
  // In the order in which they were first added.
  std::vector<Result> results(int64_t run);

  // The latest result with a score that any run on this machine has kept of the same learner, exercise and fingerprint,
  // and when that run began.
  struct Kept {
    Result result;
    std::string started;
  };
  std::optional<Kept> kept(const std::string &machine, const std::string &learner, const std::string &exercise,
                           const std::string &fingerprint);

 private:
  sqlite3 *db_ = nullptr;
};

} // namespace perigee::grader
