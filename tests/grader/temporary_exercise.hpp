// An exercise in a temporary folder, for tests and benchmarks of grading: one number in, one number out, and work that
// can be set to any multiple of the reference's.
#pragma once

#include "grader/types.hpp"

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>

namespace perigee::grader {

class TemporaryExercise {
 public:
  Exercise exercise;

  TemporaryExercise() {
    std::string pattern = (std::filesystem::temp_directory_path() / "perigee-test-XXXXXX").string();
    if (!mkdtemp(pattern.data()))
      throw std::runtime_error("no temporary folder");
    root_ = pattern;
    exercise.id = "test/work";
    exercise.title = "Work";
    exercise.lesson = "test";
    exercise.name = "work";
    exercise.limits.call_seconds = 2.0;
    exercise.limits.memory_bytes = 256 << 20;
    exercise.limits.budget_seconds = 10.0;
    exercise.correctness_points = 4;
    exercise.cases = {{"small", "10", 2}, {"large", "20000", 1}};
    exercise.folder = root_ / "exercise";
    exercise.solutions = root_ / "solutions";
    std::filesystem::create_directories(exercise.folder);
    std::filesystem::create_directories(exercise.solutions);
    write("exercise/cases.lua", R"(
return {
  inputs = function(rng, size) return { rng:integers(1, 1000000), size } end,
}
)");
    write("solutions/reference.lua", work(1.0));
    write("solutions/naive.lua", work(4.0));
  }
  ~TemporaryExercise() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  TemporaryExercise(const TemporaryExercise &) = delete;
  TemporaryExercise &operator=(const TemporaryExercise &) = delete;

  // A right solution that does `times` (>= 1) the reference's work.
  static std::string work(double times) {
    return R"(
local function turn(seed, n)
  local x = seed
  for i = 1, n do x = (x * 16807 + i) % 2147483647 end
  return x
end
local function solve(seed, n)
  local x = turn(seed, n)
  if turn(seed, math.floor(n * )" +
           std::to_string(times - 1.0) + R"()) < 0 then x = x + 1 end
  return x
end
return { solve = solve }
)";
  }

  Tier tier(double ratio, double points = 3, Against against = Against::reference) {
    Tier tier;
    tier.ratio = ratio;
    tier.points = points;
    tier.against = against;
    tier.case_name = "large";
    return tier;
  }

  std::filesystem::path write(const std::string &name, const std::string &text) {
    std::ofstream(root_ / name, std::ios::binary) << text;
    return root_ / name;
  }
  const std::filesystem::path &root() const { return root_; }

 private:
  std::filesystem::path root_;
};

} // namespace perigee::grader
