// What the grader's parts hand each other: the exercise as its files describe it, and the result of grading one
// submission. Plain data; parsing is in catalogue, numbers come from measure, judgement from verdict, words from
// report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace perigee::grader {

// A value in the wire format (engine/core/wire.hpp), self-contained.
using Bytes = std::vector<std::byte>;

// One size of input. `size` is what cases.lua receives as its second argument: a JSON document (a number or an object).
struct Case {
  std::string name;
  std::string size_json;
  int trials = 1; // correctness trials before any timing
  int ranks = 0;  // of MPI that run it; 0 in exercises without MPI
};

enum class Against { reference, naive };

// A performance threshold: speedup = the other's time over the submission's, on `case_name`, must reach `ratio`. Of
// what the GPU's simulator counts: the other's count over the submission's.
struct Tier {
  std::string name;            // for people: "as fast as half the reference"
  std::string metric = "time"; // or what is counted (counted_words in wording.hpp), or gpu_time
  Against against = Against::reference;
  double ratio = 1.0;
  double points = 0.0;
  std::string case_name; // default: the last case
  int cores = 1;         // that `ratio` is meant for; on fewer, as much less is asked for (scaled_to in catalogue.hpp)

  bool counted() const { return metric != "time"; }
  bool on_gpu() const { return metric == "gpu_time"; } // measured, and only where there is one
};

struct Needs {
  int cores = 1;
  int ranks = 1; // of MPI, at most; above 1 it is an exercise for MPI
  bool gpu = false;
  bool sleep = false;
};

struct Limits {
  double call_seconds = 10.0;          // one call, of its own time
  int64_t memory_bytes = 512LL << 20;  // the whole sandbox
  std::optional<int64_t> output_bytes; // default: four times the reference's output plus 1 MiB
  double budget_seconds = 60.0;        // measuring one submission
  static constexpr double load_seconds = 1.0;
};

struct Tolerance {
  double relative = 0.0;
  double absolute = 0.0;
  bool nan_equal = false;
};

struct Exercise {
  std::string id; // "arrays/pairwise"
  std::string title;
  std::string lesson;
  std::string name;
  int difficulty = 1; // 1 to 5
  int minutes = 30;
  std::string entry = "solve";
  std::vector<std::string> objectives;
  std::vector<std::string> modules; // Perigee modules that a submission may require
  Needs needs;
  Limits limits;
  Tolerance tolerance;
  bool fresh_state = false; // each timed call gets a new worker
  bool in_place = false;    // may change its inputs and return arrays that share memory with them
  bool jit = true;
  double correctness_points = 0.0;
  std::vector<Case> cases;
  std::vector<Tier> tiers;
  std::vector<std::string> hints;
  std::string constant_output;                      // reason why the output does not vary; empty: it must
  std::vector<std::string> notes;                   // what every result says of how it was graded here
  std::map<std::string, std::string> valid_mutants; // mutant name -> reason why it is a right answer here
  std::filesystem::path folder;                     // exercises/<lesson>/<name>
  std::filesystem::path solutions;                  // solutions/<lesson>/<name>

  // The clock follows from the exercise, never from the data (DESIGN section 5).
  bool uses_mpi() const { return needs.ranks > 1; }
  bool uses_cpu_clock() const { return needs.cores == 1 && needs.ranks == 1 && !needs.gpu && !needs.sleep; }
};

enum class Verdict { passed, too_slow, wrong, error, over_limit, inconclusive, infrastructure_error };

// A ratio with its 99.9% interval.
struct Interval {
  double low = 0.0;
  double mid = 0.0;
  double high = 0.0;
};

enum class TierState { granted, at_threshold, missed, inconclusive, not_measured };

struct TierResult {
  Tier tier;
  TierState state = TierState::not_measured;
  Interval speedup; // of the submission over tier.against
};

struct Result {
  std::string learner;  // "" at the desk
  std::string exercise; // id
  std::string file;
  Verdict verdict = Verdict::infrastructure_error;
  std::string summary; // one line for the table: "2.1x the reference's time; the next tier needs 2.0x"
  std::string detail;  // the explanation, several lines: which case, index, expected, got, pattern; or traceback
  std::string output;  // what the script printed, cut
  double points = 0.0; // meaningless when inconclusive or infrastructure_error: no score is recorded
  double max_points = 0.0;
  std::vector<TierResult> tiers;
  // Seconds per call on the last timed case, medians of the rounds; 0 where not measured.
  double seconds = 0.0, reference_seconds = 0.0, naive_seconds = 0.0;
  int rounds = 0, generations = 0;
  std::string clock; // "CPU time" or "wall time"
  int64_t peak_memory = 0;
  double wall_seconds = 0.0;      // the whole grading of this submission
  double overhead_seconds = 0.0;  // of that, sandboxes and protocol
  std::vector<std::string> notes; // "not protected: ...", "measured on a busy machine", ...

  bool has_score() const { return verdict != Verdict::inconclusive && verdict != Verdict::infrastructure_error; }
};

// Thrown where work stops because the user pressed Ctrl-C.
struct Interrupted {};

} // namespace perigee::grader
