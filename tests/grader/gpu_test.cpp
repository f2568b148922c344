// Exercises for a GPU, on its simulator: what kernels do is counted where no learner's script runs.
#include "grader/catalogue.hpp"
#include "grader/gpu_time.hpp"
#include "grader/grade.hpp"
#include "temporary_exercise.hpp"

#include <catch2/catch.hpp>

using namespace perigee::grader;

namespace {

// x -> 2 x; `body` computes `out` on the device of `d`, a device array of x's elements.
std::string doubling(const std::string &before, const std::string &body) {
  return R"(
local array, gpu = require "perigee.array", require "perigee.gpu"
local factor = 2
local function times(v) return factor * v end
local double = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = times(x[i])
  end
end)
local copy = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = x[i]
  end
end)
local function solve(x)
  local size = { grid = gpu.grid_for(#x, 64), block = 64 }
  local out = gpu.empty(#x, { dtype = "float32" })
)" + before +
         "\n  local d = gpu.array(x)\n" + body + R"(
  return out:to_host()
end
return { solve = solve }
)";
}

struct GpuExercise : TemporaryExercise {
  GpuExercise() {
    exercise.needs.gpu = true;
    exercise.modules = {"array", "gpu"};
    exercise.limits.memory_bytes = 512 << 20;
    exercise.limits.call_seconds = 10;
    exercise.cases = {{"small", "3", 1}, {"large", "1000", 1}};
    write("exercise/cases.lua", R"(
return {
  inputs = function(rng, n) return { rng:uniform(-1, 1, { shape = { n } }):astype("float32") } end,
  expected = function(inputs) return inputs[1] * 2 end,
}
)");
    write("solutions/reference.lua", doubling("", "double(size)(d, out)"));
    write("solutions/naive.lua", doubling("", "for _ = 1, 3 do double(size)(d, out) end"));
    const auto add = [&](const char *metric, Against against, double ratio) {
      Tier one = tier(ratio, 1, against);
      one.metric = metric;
      exercise.tiers.push_back(one);
    };
    add("gpu_sectors", Against::reference, 0.83);
    add("gpu_sectors", Against::naive, 2.5);
    add("gpu_transfers", Against::reference, 0.83);
    add("gpu_launches", Against::reference, 1);
  }

  Result grade(const std::string &text) {
    static Session session{SessionOptions{}};
    return grade_submission(exercise, {"ada", write("solve.lua", text)}, session);
  }
};

std::string states(const Result &result) {
  std::string text;
  for (const TierResult &tier : result.tiers)
    text += tier.state == TierState::granted ? '+' : tier.state == TierState::missed ? '-' : '?';
  return text;
}

} // namespace

TEST_CASE("kernels are counted by a replay, against the reference's and the naive script's", "[grade][gpu]") {
  GpuExercise folder;
  Result result = folder.grade(doubling("", "double(size)(d, out)"));
  INFO(result.summary << "\n" << result.detail);
  CHECK(result.verdict == Verdict::passed);
  CHECK(states(result) == "++++");
  CHECK(result.points == 8);
  CHECK(result.tiers[0].speedup.mid == 1);
  CHECK(result.tiers[1].speedup.mid == 3);

  // Two kernels move twice as much; three copies there and back as well.
  result = folder.grade(doubling("", "copy(size)(d, out) double(size)(d, out)"));
  CHECK(result.verdict == Verdict::too_slow);
  CHECK(states(result) == "--+-");
  CHECK(result.tiers[0].speedup.mid == Approx(0.5));
  CHECK(result.summary.find("2.00x the sectors of the reference") != std::string::npos);
  result = folder.grade(doubling("for _ = 1, 2 do gpu.array(x) end", "double(size)(d, out)"));
  CHECK(states(result) == "++-+");
}

// On a machine without a GPU the stand-in for CUDA's driver has one: CTest's fake_cuda_grader runs this case beside it.
TEST_CASE("time on a GPU is measured where there is one, and else not asked for", "[grade][gpu][gpu_time]") {
  GpuExercise folder;
  folder.exercise.tiers.resize(1); // sectors, against the reference
  for (const Against against : {Against::reference, Against::naive}) {
    Tier timed = folder.tier(0.01, 2, against);
    timed.metric = "gpu_time";
    timed.name = "on a GPU";
    folder.exercise.tiers.push_back(timed);
  }
  const Result result = folder.grade(doubling("", "double(size)(d, out)"));
  INFO(result.summary << "\n" << result.detail);
  if (no_gpu_reason().empty()) {
    CHECK(result.notes.empty());
    REQUIRE(result.tiers.size() == 3);
    for (int i : {1, 2}) { // how fast a stand-in is says nothing
      CHECK(result.tiers[std::size_t(i)].state != TierState::not_measured);
      CHECK(result.tiers[std::size_t(i)].speedup.mid > 0);
    }
    CHECK(result.rounds >= 12);
    CHECK(result.generations >= 3);
    CHECK(result.max_points == 9);
  } else {
    WARN("no time on a GPU: " << no_gpu_reason());
    CHECK(result.verdict == Verdict::passed);
    CHECK(result.points == 5);
    CHECK(result.max_points == 5);
    REQUIRE(result.notes.size() == 2);
    CHECK(result.notes[0] == "not measurable here: 'on a GPU' is measured on an NVIDIA GPU (" + no_gpu_reason() +
                                 "); its points are not counted");
  }
}

TEST_CASE("what the device is given and gives is the exercise's, not the host's", "[grade][gpu]") {
  GpuExercise folder;
  Result result = folder.grade(doubling("x = x * 2", "copy(size)(d, out)"));
  CHECK(result.verdict == Verdict::wrong);
  CHECK(result.detail.find("the host has changed it") != std::string::npos);
  result = folder.grade(doubling("do return x * 2 end", ""));
  CHECK(result.verdict == Verdict::wrong);
  CHECK(result.summary.find("no kernel was launched") != std::string::npos);
  result = folder.grade(doubling("", "copy(size)(d, out) do return x * 2 end"));
  CHECK(result.verdict == Verdict::wrong);
  CHECK(result.detail.find("what the kernels left") != std::string::npos);
  // A mistake that the simulator finds is an error, even where the numbers are right.
  result = folder.grade(doubling("", R"(
  gpu.kernel(function(y) y[1] = gpu.grid(1) end){ grid = 1, block = 64 }(out)
  double(size)(d, out))"));
  CHECK(result.verdict == Verdict::error);
  CHECK(result.detail.find("race") != std::string::npos);
}
