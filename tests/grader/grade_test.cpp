#include "grader/grade.hpp"
#include "grader/measure.hpp"
#include "grader/text.hpp"
#include "grader/wording.hpp"
#include "temporary_exercise.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

using namespace perigee::grader;

namespace {

Session &session() {
  static Session session{SessionOptions{}};
  return session;
}

Result grade(TemporaryExercise &folder, const std::string &text, const std::string &learner = "ada") {
  return grade_submission(folder.exercise, {learner, folder.write("solve.lua", text)}, session());
}

#define CHECK_VERDICT(result, expected)                                                                                \
  do {                                                                                                                 \
    INFO((result).summary << "\n" << (result).detail);                                                                 \
    CHECK(name_of((result).verdict) == name_of(expected));                                                             \
  } while (false)

} // namespace

TEST_CASE("durations have three digits", "[grade]") {
  CHECK(seconds_text(1.2345) == "1.23 s");
  CHECK(seconds_text(0.0123456) == "12.3 ms");
  CHECK(seconds_text(4.567e-6) == "4.57 us");
  CHECK(seconds_text(123e-9) == "123 ns");
  CHECK(seconds_text(0.99996) == "1.00 s");
  CHECK(seconds_text(0.00099999) == "1.00 ms");
  CHECK(seconds_text(12345) == "12345 s");
  CHECK(first_line("one\ntwo") == "one");
  CHECK(first_line("abcdefgh", 6) == "abc...");
  CHECK(first_line("ab\xc3\xa9"
                   "defgh",
                   6) == "ab...");
}

TEST_CASE("a slow one is told yours, naive, reference, interval and what the next tier needs", "[grade]") {
  Result result;
  result.clock = "CPU time";
  result.seconds = 0.020;
  result.reference_seconds = 0.005;
  result.naive_seconds = 0.040;
  result.rounds = 12;
  result.generations = 3;
  Tier reference, naive;
  reference.name = "half the reference's speed";
  reference.ratio = 0.5;
  reference.points = 4;
  reference.case_name = naive.case_name = "large";
  naive.against = Against::naive;
  naive.ratio = 1.5;
  naive.points = 3;
  result.tiers = {{naive, TierState::granted, {1.9, 2.0, 2.1}}, {reference, TierState::missed, {0.24, 0.25, 0.26}}};
  word_times(result, false);
  CHECK(result.summary == "0.25x the reference's speed (0.24 to 0.26); the next tier needs 0.5x");
  for (const char *part :
       {"20.0 ms (yours)", "5.00 ms (reference)", "40.0 ms (naive)", "CPU time", "12 rounds", "needs 0.5x",
        "2.00 times as fast", "at most 10.0 ms a call", "granted: 2.00x the naive script's"})
    CHECK_THAT(result.detail, Catch::Contains(part));

  result.tiers[1].state = TierState::inconclusive;
  word_times(result, true);
  CHECK_THAT(result.summary, Catch::Contains("without --quick"));
}

TEST_CASE("a right and fast submission passes every tier", "[grade]") {
  TemporaryExercise folder;
  folder.exercise.tiers = {folder.tier(0.5), folder.tier(1.5, 2, Against::naive)};
  const Result result = grade(folder, folder.work(1.0));
  CHECK_VERDICT(result, Verdict::passed);
  CHECK(result.points == 9);
  CHECK(result.max_points == 9);
  REQUIRE(result.tiers.size() == 2);
  CHECK(result.tiers[0].speedup.mid == Approx(1.0).epsilon(0.1));
  CHECK(result.tiers[1].speedup.mid == Approx(4.0).epsilon(0.15));
  CHECK(result.rounds >= 12);
  CHECK(result.generations >= 3);
  CHECK(result.clock == "CPU time");
  CHECK(result.seconds > 0);
  CHECK(result.naive_seconds > 2 * result.reference_seconds);
  CHECK(result.peak_memory > 0);
  CHECK(result.overhead_seconds > 0);
  CHECK(result.overhead_seconds < result.wall_seconds);
}

TEST_CASE("too slow keeps the points of correctness and of the tiers it reached", "[grade]") {
  TemporaryExercise folder;
  folder.exercise.tiers = {folder.tier(0.25), folder.tier(0.8, 5)};
  const Result result = grade(folder, folder.work(2.0));
  CHECK_VERDICT(result, Verdict::too_slow);
  CHECK(result.points == 7);
  CHECK_THAT(result.summary, Catch::Contains("the next tier needs 0.8x"));
}

TEST_CASE("wrong results are found in trials and in timed calls", "[grade]") {
  TemporaryExercise folder;
  folder.exercise.tiers = {folder.tier(0.5)};
  const Result off = grade(folder, "return { solve = function(seed, n) return 1 end }");
  CHECK_VERDICT(off, Verdict::wrong);
  CHECK_THAT(off.summary, Catch::Contains("case 'small'"));
  CHECK_THAT(off.detail, Catch::Contains("0 of 2 cases are right"));
  CHECK(off.points == 0);

  // Right for the trials, then it repeats itself.
  std::string cached = folder.work(1.0);
  cached.replace(cached.find("return { solve = solve }"), 24,
                 "local calls, last = 0\n"
                 "return { solve = function(seed, n) calls = calls + 1; "
                 "if calls <= 3 then last = solve(seed, n) end; return last end }");
  const Result repeats = grade(folder, cached);
  CHECK_VERDICT(repeats, Verdict::wrong);
  CHECK_THAT(repeats.summary, Catch::Contains("timed call"));
}

TEST_CASE("errors carry the learner's line", "[grade]") {
  TemporaryExercise folder;
  const Result syntax = grade(folder, "return {\n  solve = function(");
  CHECK_VERDICT(syntax, Verdict::error);
  CHECK_THAT(syntax.summary, Catch::Contains("solve.lua:2"));
  const Result runtime = grade(folder, "return { solve = function(seed, n)\n  return seed.x.y\nend }");
  CHECK_VERDICT(runtime, Verdict::error);
  CHECK_THAT(runtime.detail, Catch::Contains("solve.lua:2"));
  const Result missing = grade(folder, "return { answer = 42 }");
  CHECK_VERDICT(missing, Verdict::error);
  CHECK_THAT(missing.summary, Catch::Contains("solve"));
}

TEST_CASE("an endless loop ends within its limit and half a second", "[grade]") {
  TemporaryExercise folder;
  folder.exercise.limits.call_seconds = 0.5;
  const Result result = grade(folder, "return { solve = function() while true do end end }");
  CHECK_VERDICT(result, Verdict::over_limit);
  CHECK(result.wall_seconds < 10.0); // ended, not waited for: scripts/bench grading measures how fast
}

TEST_CASE("files that are no scripts are refused with a reason", "[grade]") {
  TemporaryExercise folder;
  const auto refuse = [&](const std::filesystem::path &file, const std::string &why, const char *learner = "ada") {
    const Result result = grade_submission(folder.exercise, {learner, file}, session());
    CHECK_VERDICT(result, Verdict::error);
    CHECK_THAT(result.summary, Catch::Contains(why));
    CHECK(result.points == 0);
  };
  refuse(folder.root() / "none.lua", "there is no file none.lua");
  refuse(folder.write("empty.lua", ""), "empty");
  refuse(folder.write("blank.lua", " \n\t\n"), "empty");
  refuse(folder.write("code.lua", "\x1bLJ\x02"), "bytecode");
  refuse(folder.write("binary.lua", std::string("return 1\0", 9)), "byte 9 is zero");
  refuse(folder.write("huge.lua", std::string((1 << 20) + 1, ' ') + "return {}"), "1 MiB");
  refuse(folder.exercise.folder, "a folder");
  REQUIRE(mkfifo((folder.root() / "pipe.lua").c_str(), 0600) == 0);
  refuse(folder.root() / "pipe.lua", "pipe");
  std::filesystem::create_symlink(folder.exercise.solutions / "reference.lua", folder.root() / "link.lua");
  refuse(folder.root() / "link.lua", "symbolic link");
  if (geteuid() != 0) {
    const auto hidden = folder.write("hidden.lua", folder.work(1.0));
    chmod(hidden.c_str(), 0);
    const Result unread = grade_submission(folder.exercise, {"ada", hidden}, session()); // no fault of the learner's
    CHECK_VERDICT(unread, Verdict::infrastructure_error);
    CHECK_THAT(unread.summary, Catch::Contains("cannot be read"));
    CHECK(!unread.has_score());
  }
}

TEST_CASE("a broken exercise is never the learner's zero", "[grade]") {
  TemporaryExercise folder;
  folder.exercise.tiers = {folder.tier(0.5)};
  folder.write("solutions/reference.lua", "return { solve = function() error('broken on purpose') end }");
  const Result reference = grade(folder, folder.work(1.0));
  CHECK_VERDICT(reference, Verdict::infrastructure_error);
  CHECK_FALSE(reference.has_score());
  CHECK_THAT(reference.detail, Catch::Contains("broken on purpose"));
  folder.write("exercise/cases.lua", "error('no cases')");
  CHECK_VERDICT(grade(folder, folder.work(1.0)), Verdict::infrastructure_error);
}

TEST_CASE("a fresh exercise gives each timed call a new worker", "[grade]") {
  TemporaryExercise folder;
  folder.exercise.fresh_state = true;
  folder.exercise.cases = {{"large", "400000", 1}};
  folder.exercise.tiers = {folder.tier(0.5)};
  // Knows what it did before: with a kept worker it would be right once and wrong then.
  std::string text = folder.work(1.0);
  text.replace(text.find("return { solve = solve }"), 24,
               "local calls = 0\nreturn { solve = function(seed, n) calls = calls + 1; "
               "return solve(seed, n) + calls - 1 end }");
  const Result result = grade(folder, text);
  CHECK_VERDICT(result, Verdict::passed);
  CHECK(result.generations == result.rounds);
}

TEST_CASE("rounds are recorded and replay to the same decision", "[grade]") {
  TemporaryExercise folder;
  folder.exercise.tiers = {folder.tier(0.5)};
  SessionOptions options;
  options.record = folder.root() / "rounds";
  Session recording(options);
  const Result result =
      grade_submission(folder.exercise, {"ada", folder.write("solve.lua", folder.work(1.0))}, recording);
  CHECK_VERDICT(result, Verdict::passed);
  std::ifstream file(folder.root() / "rounds" / "0-large.json");
  const auto recorded = nlohmann::json::parse(file);
  const Series series = series_from_json(recorded);
  CHECK(series.rounds() == result.rounds);
  CHECK(stopping_point(series, {{0.5}}) == result.rounds);
  CHECK(speedup(series)->mid == Approx(result.tiers[0].speedup.mid));
}

TEST_CASE("near a tier against the naive script: on the wall clock the two are compared directly", "[grade]") {
  for (const bool wall_clock : {true, false}) {
    TemporaryExercise folder;
    folder.exercise.needs.sleep = wall_clock;
    folder.exercise.limits.budget_seconds = 1.0;
    folder.exercise.tiers = {folder.tier(1.0, 3, Against::naive)};
    SessionOptions options;
    options.record = folder.root() / "rounds";
    Session recording(options);
    const Result result =
        grade_submission(folder.exercise, {"ada", folder.write("solve.lua", folder.work(4.0))}, recording);
    CAPTURE(wall_clock, result.summary);
    REQUIRE(result.tiers[0].state != TierState::not_measured);
    std::ifstream file(folder.root() / "rounds" / "0-large.json");
    const auto recorded = nlohmann::json::parse(file);
    REQUIRE(recorded["goals"].size() == 1);
    CHECK(recorded["goals"][0]["ratio"] == 1.0);
    const bool directly = recorded["goals"][0]["carried"] == nlohmann::json{1.0, 1.0, 1.0};
    const auto speed = speedup(series_from_json(recorded));
    REQUIRE(speed);
    if (wall_clock && !directly && half_width(*speed) > 0.2) {
      WARN("skipped: on so busy a machine nothing is near");
      continue;
    }
    CHECK(directly == wall_clock);
    if (wall_clock)
      CHECK(result.tiers[0].speedup.mid == Approx(speed->mid));
  }
}

TEST_CASE("an interrupt ends a grading within a second", "[grade]") {
  TemporaryExercise folder;
  folder.exercise.limits.call_seconds = 20;
  Session stopped{SessionOptions{}};
  std::thread key([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    stopped.interrupt();
  });
  const auto start = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(
      grade_submission(folder.exercise,
                       {"ada", folder.write("loop.lua", "return { solve = function() while true do end end }")},
                       stopped),
      Interrupted);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(1300));
  key.join();
}
