// The outcome of a grading in three forms: text for a terminal, results.json (schema: results.schema.json, explained in
// README.md) and report.html, one file that needs nothing else.
#pragma once

#include "text.hpp"
#include "types.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace perigee::grader {

// A file or folder of a class that was not graded.
struct Skipped {
  std::string learner; // "" if it belongs to nobody
  std::string file;    // relative to the class folder
  std::string reason;
};

struct Report {
  std::string started, finished; // UTC, "2026-11-21T03:35:06Z"
  std::string machine;           // "AMD EPYC, 2 cores, Debian GNU/Linux 12 (bookworm)"
  bool interrupted = false;      // stopped before everything was graded
  std::vector<Exercise> exercises;
  std::vector<std::string> learners; // in order, those without a submission too
  std::vector<Result> results;
  std::vector<Skipped> skipped;

  const Exercise *exercise(const std::string &id) const;
  // The learner's result for this exercise; nullptr if there is none.
  const Result *result(const std::string &learner, const std::string &id) const;
};

// How many results of each kind, and the exit code that they add up to (see commands.hpp).
int exit_code(const Report &report);

nlohmann::ordered_json to_json(const Result &result);
Result result_from_json(const nlohmann::ordered_json &json);
nlohmann::ordered_json to_json(const Report &report);
// Indented, valid UTF-8 whatever the strings hold.
std::string dump(const nlohmann::ordered_json &json);

// A line a result, for spreadsheets and grade books: learner, exercise, verdict, score (empty: none), max_score,
// summary.
std::string to_csv(const Report &report);
std::string to_html(const Report &report);

// One result as its learner reads it at the desk.
void print_result(const Console &console, const Exercise &exercise, const Result &result);
// The table of a class, a line a submission, with totals a learner; then what was skipped.
void print_table(const Console &console, const Report &report);

// "correct 4 of 4, tiers 3 of 6": the speedups for one line of a table: "0.98x reference, 31.2x naive".
std::string speedups_text(const Result &result);
// The colour for paint() that stands for a verdict.
std::string_view style_of(Verdict verdict);

std::string utc_now();
std::string describe_machine();
// Writes a file as a whole or not at all (a temporary file beside it, renamed). Throws UsageError.
void write_file(const std::filesystem::path &path, const std::string &text);

} // namespace perigee::grader
