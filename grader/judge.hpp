// The judge: runs an exercise's cases.lua (inputs, expected results, checks) in a sandboxed process of its own, which
// may be killed at any time. It keeps nothing between requests, so that a restarted judge goes on where the old one
// stopped: inputs follow from their key, and a check gets the inputs it is about.
#pragma once

#include "types.hpp"
#include "worker.hpp"

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace perigee::grader {

// Generator key of one call, a keyed hash of the secret seed: never the seed itself.
using Key = std::array<uint32_t, 4>;

struct JudgeOptions {
  bool require_full = false;
  double call_seconds = 20.0; // one request; longer is the exercise's fault, or a hostile result's
  int64_t memory_bytes = 2LL << 30;
};

// What cases.lua is told about a call that ran alone: seconds. Absent for timed batches.
struct CallInfo {
  double wall = 0.0;
  double cpu = 0.0;
};

struct Check {
  bool ok = true;
  std::size_t call = 0; // 0-based: the first call of the batch that is wrong
  std::string message;  // for the learner, several lines
  std::map<std::string, double> counts =
      {}; // of exercises for a GPU: what the simulator counted in the last call's replay
};

class Judge {
 public:
  // Starts the process and loads cases.lua. Throws InfrastructureError if either fails (with the Lua error: a broken
  // exercise is not the learner's fault).
  explicit Judge(const Exercise &exercise, const JudgeOptions &options = {});
  ~Judge();
  Judge(Judge &&) noexcept;
  Judge &operator=(Judge &&) noexcept;

  // The encoded argument lists of calls of this case, one a key. Throws InfrastructureError when cases.lua fails.
  std::vector<Bytes> inputs(std::span<const Key> keys, const Case &c);

  // Whether cases.lua has a function `expected`; if not, pass the reference's results as expected.
  bool has_expected() const;
  std::vector<Bytes> expected(std::span<const Bytes> inputs);

  // Compares results with expected ones, by cases.lua's `check` where it has one. A check that fails, hangs or dies on
  // `got` but accepts the expected result there means wrong; if the expected result is refused too:
  // InfrastructureError.
  // records: of exercises for a GPU, what the calls had devices do; replayed here, on the simulator.
  Check check(std::span<const Bytes> inputs, std::span<const Bytes> got, std::span<const Bytes> expected,
              const std::optional<CallInfo> &info = {}, std::span<const Bytes> records = {});

  // A wrong variant of a right result, for `perigee verify`: "off_by_one", "wrong_sign" or "drop_last". Nothing where
  // the mutant does not apply (a number has no last element; zeros and booleans have no sign).
  std::optional<Bytes> mutate(const Bytes &result, const std::string &mutant);

  std::vector<std::string> unprotected() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace perigee::grader
