// The judge: inputs from keys, expected results, checks of hostile results, and whose fault a failure is.
#include "grader/judge.hpp"
#include "grader/sandbox.hpp"
#include "values.hpp"

#include "core/wire.hpp"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <cstring>
#include <fstream>

using namespace perigee;
using namespace perigee::grader;
using tests::blob_of;

namespace {

// An exercise whose cases.lua has this text, in a folder of its own.
struct Fixture {
  std::filesystem::path folder;
  Exercise exercise;
  Case small{"small", "10", 1};

  explicit Fixture(const std::string &cases) {
    std::string pattern = std::filesystem::temp_directory_path() / "perigee-judge-XXXXXX";
    folder = mkdtemp(pattern.data());
    std::ofstream(folder / "cases.lua") << cases;
    exercise.id = "test/judge";
    exercise.folder = folder;
  }
  ~Fixture() { std::filesystem::remove_all(folder); }
};

std::string message(const std::function<void()> &body) {
  try {
    body();
  } catch (const InfrastructureError &e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

const char *const doubling = R"(
local array = require "perigee.array"
return {
  inputs = function(rng, size)
    return { rng:uniform{shape = type(size) == "table" and size.n or size}, rng:integers(1, 1000000) }
  end,
  expected = function(inputs) return { inputs[1] * 2, inputs[2] } end,
}
)";

} // namespace

TEST_CASE("judge: inputs follow from the key, and from nothing else") {
  Fixture f(doubling);
  Judge judge(f.exercise);
  std::vector<Key> keys = {{1, 2, 3, 4}, {1, 2, 3, 5}, {1, 2, 3, 4}};
  auto inputs = judge.inputs(keys, f.small);
  REQUIRE(inputs.size() == 3);
  CHECK(inputs[0] == inputs[2]);
  CHECK(inputs[0] != inputs[1]);
  Judge other(f.exercise);
  CHECK(other.inputs(std::span(keys).subspan(1, 1), f.small)[0] == inputs[1]);
  auto table = judge.inputs(std::span(keys).first(1), {"named", "{\"n\": 10}", 1});
  CHECK(table[0] == inputs[0]);
}

TEST_CASE("judge: results are checked against expected ones") {
  Fixture f(doubling);
  Judge judge(f.exercise);
  std::vector<Key> keys = {{1, 0, 0, 0}, {2, 0, 0, 0}, {3, 0, 0, 0}};
  auto inputs = judge.inputs(keys, f.small);
  REQUIRE(judge.has_expected());
  auto expected = judge.expected(inputs);
  CHECK(judge.check(inputs, expected, expected).ok);
  auto got = expected;
  got[1] = *judge.mutate(expected[1], "off_by_one");
  Check check = judge.check(inputs, got, expected);
  CHECK(!check.ok);
  CHECK(check.call == 1);
  INFO(check.message);
  CHECK(contains(check.message, "result[1][6]: expected "));
  got[1] = blob_of("'text'");
  CHECK(contains(judge.check(inputs, got, expected).message, "expected a table"));
  // The judge reads hostile bytes.
  got[1].resize(40);
  check = judge.check(inputs, got, expected);
  CHECK(!check.ok);
  CHECK(contains(check.message, "malformed"));
}

// What takes several threads elsewhere takes one here, where none can be had.
TEST_CASE("judge: large arrays, linear algebra and Fourier transforms") {
  Fixture f(R"(
local pg = require "perigee"
return {
  inputs = function(rng, size) return { rng:uniform{shape = {size, size}} } end,
  expected = function(inputs)
    local a = inputs[1]
    return { a:exp():sum(), pg.linalg.norm(pg.linalg.inv(a:matmul(a.T) + pg.array.eye(#a))), pg.fft.fft2(a):abs():max() }
  end,
}
)");
  Judge judge(f.exercise);
  const std::vector<Key> keys = {{1, 2, 3, 4}};
  auto inputs = judge.inputs(keys, {"large", "700", 1});
  CHECK(judge.expected(inputs).size() == 1);
}

TEST_CASE("judge: an exercise's own check") {
  Fixture f(R"(
return {
  inputs = function(rng) return { rng:integers(1, 100) } end,
  check = function(inputs, got, expected, info)
    if type(got) ~= "number" then return false, "a number is wanted" end
    if info and info.cpu > 5 then return false, "slow" end
    if got == 77 then error("the check itself fails") end
    if got == 78 then while true do end end
    if got == 79 then return "what" end
    return got == inputs[1] + 1, "one more than the input is wanted"
  end,
})");
  JudgeOptions options;
  options.call_seconds = 1.0;
  Judge judge(f.exercise, options);
  CHECK(!judge.has_expected());
  std::vector<Key> keys = {{1, 0, 0, 0}};
  auto inputs = judge.inputs(keys, f.small);
  wire::Value value;
  std::string error;
  REQUIRE(wire::parse(inputs[0], {}, false, value, error));
  std::vector<Bytes> right = {blob_of(std::to_string(value.run[0] + 1))};
  CHECK(judge.check(inputs, right, right).ok);
  CHECK(judge.check(inputs, right, right, CallInfo{1, 1}).ok);
  auto told = [&](const std::string &got, std::optional<CallInfo> info = {}) {
    std::vector<Bytes> blobs = {blob_of(got)};
    Check check = judge.check(inputs, blobs, right, info);
    CHECK(!check.ok);
    return check.message;
  };
  CHECK(contains(told("'x'"), "a number is wanted\nthe result: expected a number"));
  CHECK(contains(told("0"), "one more than the input is wanted"));
  CHECK(contains(told(std::to_string(value.run[0] + 1), CallInfo{10, 10}), "slow"));
  // A check that fails, hangs or answers nonsense on a result but accepts the expected one: the result is wrong.
  CHECK(contains(told("77"), "cannot be checked: cases.lua:7: the check itself fails"));
  CHECK(contains(told("78"), "longer than 1 s"));
  CHECK(contains(told("79"), "check must return true"));
  CHECK(judge.check(inputs, right, right).ok); // a new process goes on
  // In a batch the call that did it is found.
  std::vector<Bytes> batch_inputs = {inputs[0], inputs[0], inputs[0]}, all_right = {right[0], right[0], right[0]},
                     batch = {right[0], blob_of("78"), right[0]};
  Check check = judge.check(batch_inputs, batch, all_right);
  CHECK(!check.ok);
  CHECK(check.call == 1);
  // If the expected result fares no better, the exercise is broken.
  std::vector<Bytes> broken = {blob_of("77")};
  CHECK(contains(message([&] { judge.check(inputs, broken, broken); }), "check does not accept the expected"));
}

TEST_CASE("judge: a broken cases.lua is nobody's zero") {
  auto fails = [](const std::string &cases) {
    return message([&] {
      Fixture f(cases);
      JudgeOptions options;
      options.call_seconds = 1.0;
      Judge judge(f.exercise, options);
      std::vector<Key> keys = {{1, 0, 0, 0}};
      auto inputs = judge.inputs(keys, f.small);
      judge.expected(inputs);
    });
  };
  CHECK(contains(fails("return {"), "exercise test/judge: cases.lua:1:"));
  CHECK(contains(fails("return 5"), "must return a table"));
  CHECK(contains(fails("return {}"), "no function 'inputs'"));
  CHECK(contains(fails("return { inputs = 5 }"), "is a number, not a function"));
  CHECK(contains(fails("return { inputs = function() error('boo') end }"), "cases.lua:1: boo"));
  CHECK(contains(fails("return { inputs = function() return 5 end }"), "list of arguments"));
  CHECK(contains(fails("return { inputs = function() return {print} end }"), "contains a function"));
  CHECK(contains(fails("return { inputs = function() while true do end end }"), "longer than 1 s"));
  CHECK(contains(fails("return { inputs = function() return {} end, expected = function() error('bad') end }"), "bad"));
  Fixture f("");
  std::filesystem::remove(f.folder / "cases.lua");
  CHECK(contains(message([&] { Judge judge(f.exercise); }), "cannot read"));
}

TEST_CASE("judge: poisoned numbers reach cases.lua as plain NaN") {
  Fixture f(R"(
return {
  inputs = function() return {} end,
  check = function(inputs, got) return got[1] ~= got[1] and type(got[1]) == "number", "not a NaN" end,
})");
  Judge judge(f.exercise);
  std::vector<Key> keys = {{1, 0, 0, 0}};
  auto inputs = judge.inputs(keys, f.small);
  std::vector<Bytes> nan = {blob_of("array.from{0/0}")};
  CHECK(judge.check(inputs, nan, nan).ok);
  std::vector<Bytes> list = {blob_of("{1.5, 2}")};
  uint64_t forged = 0xfffd'8000'dead'beefULL; // a LuaJIT object at 0x...deadbeef
  std::memcpy(list[0].data() + 64 + 16, &forged, 8);
  CHECK(judge.check(inputs, list, nan).ok);
}
