#include "folder.hpp"
#include "grader/catalogue.hpp"

#include <fstream>

using namespace perigee::grader;
using namespace perigee::grader::testing;
using Catch::Matchers::Contains;

namespace {

std::string replaced(std::string text, const std::string &from, const std::string &to) {
  size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

// Loads the exercise with this exercise.toml; the message it is refused with, "" if it is not.
std::string refusal(const std::string &toml) {
  Folder folder;
  put_exercise(folder, toml);
  try {
    load_exercise(folder.path / "exercises/basics/double", folder.path / "solutions");
    return "";
  } catch (const ExerciseError &error) {
    std::string text = error.what(), prefix = folder.path.string() + "/exercises/basics/double/";
    REQUIRE(text.compare(0, prefix.size(), prefix) == 0);
    return text.substr(prefix.size());
  }
}

std::string refusal(const std::string &from, const std::string &to) {
  return refusal(replaced(good_toml, from, to));
}

} // namespace

TEST_CASE("an exercise is read as its file says", "[catalogue]") {
  Folder folder;
  put_exercise(folder);
  Exercise e = load_exercise(folder.path / "exercises/basics/double", folder.path / "solutions");
  CHECK(e.id == "basics/double");
  CHECK(e.title == "Double");
  CHECK(e.lesson == "basics");
  CHECK(e.name == "double");
  CHECK(e.difficulty == 2);
  CHECK(e.minutes == 15);
  CHECK(e.entry == "solve");
  CHECK(e.modules == std::vector<std::string>{"array", "timer"});
  CHECK(e.jit);
  CHECK_FALSE(e.fresh_state);
  CHECK_FALSE(e.in_place);
  CHECK(e.limits.call_seconds == 2.5);
  CHECK(e.limits.memory_bytes == 64 << 20);
  CHECK_FALSE(e.limits.output_bytes.has_value());
  CHECK(e.limits.budget_seconds == 60);
  CHECK(e.uses_cpu_clock());
  REQUIRE(e.cases.size() == 2);
  CHECK(e.cases[0].size_json == "3");
  CHECK(e.cases[0].trials == 5);
  CHECK(e.cases[1].size_json == R"({"n":100,"odd":true})");
  CHECK(e.cases[1].trials == 1);
  REQUIRE(e.tiers.size() == 1);
  CHECK(e.tiers[0].case_name == "large"); // the last
  CHECK(e.tiers[0].name == "0.5x the speed of the reference");
  CHECK(e.tiers[0].against == Against::reference);
  CHECK(e.hints.size() == 2);
  CHECK(e.solutions == folder.path / "solutions/basics/double");
}

TEST_CASE("optional parts of an exercise", "[catalogue]") {
  std::string toml = replaced(good_toml, "correctness", "entry = \"run\"\nin_place = true\ncorrectness");
  toml += "name = \"half\"\ncase = \"small\"\n[needs]\ncores = 2\n[tolerance]\nrelative = 1e-12\nnan_equal = true\n"
          "[verify]\nconstant_output = \"always\"\nmutants = { wrong_sign = \"zero\" }\n";
  toml = replaced(toml, "memory = 64", "memory = 64\noutput = 2\nbudget = 5");
  Folder folder;
  put_exercise(folder, toml);
  Exercise e = load_exercise(folder.path / "exercises/basics/double", folder.path / "solutions");
  CHECK(e.entry == "run");
  CHECK(e.in_place);
  CHECK(e.needs.cores == 2);
  CHECK_FALSE(e.uses_cpu_clock());
  CHECK(e.tolerance.relative == 1e-12);
  CHECK(e.tolerance.nan_equal);
  CHECK(e.tiers[0].name == "half");
  CHECK(e.tiers[0].case_name == "small");
  CHECK(e.limits.output_bytes == 2 << 20);
  CHECK(e.limits.budget_seconds == 5);
  CHECK(e.constant_output == "always");
  CHECK(e.valid_mutants == std::map<std::string, std::string>{{"wrong_sign", "zero"}});
}

TEST_CASE("tiers for several cores ask for as much less on fewer", "[catalogue]") {
  std::string toml = replaced(good_toml, "ratio = 0.5", "ratio = 3\ncores = 4\nname = \"3x\"");
  CHECK_THAT(refusal(toml), Contains("tiers[1].cores: must be at most needs.cores, which is 1"));
  CHECK_THAT(refusal("ratio = 0.5", "ratio = 0.5\ncores = 1"), Contains("tiers[1].cores: must be from 2 to 1024"));
  Folder folder;
  put_exercise(folder, toml + "[[tiers]]\nmetric = \"time\"\nagainst = \"reference\"\nratio = 0.6\npoints = 1\n"
                              "[needs]\ncores = 4\n");
  const Exercise e = load_exercise(folder.path / "exercises/basics/double", folder.path / "solutions");
  REQUIRE(e.tiers.size() == 2);
  CHECK(e.tiers[0].cores == 4);
  CHECK(e.tiers[1].cores == 1);
  for (const int cores : {4, 16}) {
    CHECK(scaled_to(e, cores).tiers[0].ratio == 3);
    CHECK(scaled_to(e, cores).tiers[0].name == "3x");
  }
  const Exercise here = scaled_to(e, 2);
  CHECK(here.tiers[0].ratio == 1.5);
  CHECK(here.tiers[0].name == "3x (3x on 4 cores is 1.5x on the 2 here)");
  CHECK(here.tiers[1].ratio == 0.6);
  CHECK(here.tiers[1].name == e.tiers[1].name);
}

TEST_CASE("an invalid exercise is refused with file, line and key", "[catalogue]") {
  CHECK(refusal(good_toml) == "");
  // Wrong types.
  CHECK(refusal("minutes = 15", "minutes = \"15\"") ==
        "exercise.toml:5: minutes: must be a whole number, not a string");
  CHECK(refusal("minutes = 15", "minutes = 1.5") == "exercise.toml:5: minutes: must be a whole number, not a number");
  CHECK(refusal("hints = [\"Add it to itself.\", \"Or multiply.\"]", "hints = [1]") ==
        "exercise.toml:11: hints: must be a list of strings, but holds a whole number");
  CHECK(refusal("size = 3", "size = \"3\"") ==
        "exercise.toml:17: cases[1].size: must be a number or an inline table, not a string");
  CHECK(refusal("size = 3", "size = nan") ==
        "exercise.toml:17: cases[1].size: may hold finite numbers, strings, booleans, lists and tables of these only");
  CHECK(refusal("ratio = 0.5", "ratio = true") ==
        "exercise.toml:25: tiers[1].ratio: must be a number, not true or false");
  CHECK_THAT(refusal("[[cases]]\nname = \"small\"\nsize = 3\ntrials = 5\n[[cases]]\nname = \"large\"",
                     "[cases]\nname = \"x\""),
             Contains("cases: must be a list of tables [[cases]], not a table"));
  // Values that make no sense.
  CHECK(refusal("difficulty = 2", "difficulty = 6") == "exercise.toml:4: difficulty: must be from 1 to 5, not 6");
  CHECK(refusal("time = 2.5", "time = 0") ==
        "exercise.toml:13: limits.time: must be above 0.0 and at most 3600.0, not 0.0");
  CHECK_THAT(refusal("time = 2.5", "time = nan"), Contains("limits.time: must be above 0.0"));
  CHECK_THAT(refusal("time = 2.5", "time = inf"), Contains("limits.time: must be above 0.0"));
  CHECK_THAT(refusal("jit = \"on\"", "jit = \"yes\""), Contains("jit: must be \"on\" or \"off\", not \"yes\""));
  CHECK_THAT(refusal("modules = [\"array\"", "modules = [\"perigee.array\""), Contains("write \"array\""));
  CHECK_THAT(refusal("title = \"Double\"", "title = \" \""), Contains("exercise.toml:2: title: must not be empty"));
  CHECK_THAT(refusal("name = \"large\"", "name = \"small\""), Contains("is the name of another case already"));
  CHECK_THAT(refusal("points = 6", "points = 6\ncase = \"huge\""),
             Contains("tiers[1].case: there is no case \"huge\""));
  CHECK_THAT(refusal("metric = \"time\"", "metric = \"speed\""), Contains("tiers[1].metric: must be \"time\""));
  // Folder and file must agree.
  CHECK(refusal("basics/double", "basics/triple") ==
        "exercise.toml:1: id: must be \"basics/double\" as the folder says, not \"basics/triple\"");
  CHECK_THAT(refusal("lesson = \"basics\"", "lesson = \"arrays\""),
             Contains("exercise.toml:3: lesson: must be \"basics\""));
  // Unknown and missing keys.
  CHECK(refusal("minutes = 15", "minutes = 15\nminuets = 3") ==
        "exercise.toml:6: minuets: unknown key; did you mean minutes?");
  CHECK_THAT(refusal("trials = 5", "trails = 5"),
             Contains("exercise.toml:18: cases[1].trails: unknown key; did you mean trials?"));
  CHECK_THAT(refusal(std::string(good_toml) + "[verify.mutants]\nadd_one = \"x\"\n"),
             Contains("verify.mutants.add_one: unknown key"));
  CHECK_THAT(refusal("state = \"keep\"\n", ""), Contains("state: is missing"));
  CHECK(refusal("ratio = 0.5\n", "") == "exercise.toml:22: tiers[1].ratio: is missing");
  CHECK_THAT(refusal(std::string(good_toml).substr(0, std::string(good_toml).find("[[tiers]]"))),
             Contains("tiers: is missing; add [[tiers]], or write `tiers = []`"));
  CHECK_THAT(refusal(std::string(good_toml).substr(0, std::string(good_toml).find("[[cases]]"))),
             Contains("cases: is missing"));
  // Not TOML at all.
  CHECK_THAT(refusal("minutes = 15", "minutes = = 15"), Contains("exercise.toml:5: not valid TOML"));
  CHECK_THAT(refusal(std::string("\0\1\2", 3)), Contains("not valid TOML"));
  CHECK_THAT(refusal("difficulty", "dificulty"), Contains("dificulty: unknown key; did you mean difficulty?"));
  CHECK_THAT(refusal("[limits]", "[limit]"), Contains("limit: unknown key; did you mean limits?"));
  CHECK_THAT(refusal("[[tiers]]", "[[tier]]"), Contains("tier: unknown key; did you mean tiers?"));
  CHECK_THAT(refusal(""), Contains("id: is missing"));
}

TEST_CASE("an exercise without tiers says so", "[catalogue]") {
  std::string toml = replaced(good_toml, "correctness", "tiers = []\ncorrectness");
  toml = toml.substr(0, toml.find("[[tiers]]"));
  CHECK(refusal(toml) == "");
  CHECK_THAT(refusal(replaced(toml, "correctness = 4", "correctness = 0")), Contains("must give points for something"));
}

TEST_CASE("files that an exercise needs", "[catalogue]") {
  for (const char *file : {"exercises/basics/double/README.md", "exercises/basics/double/starter.lua",
                           "exercises/basics/double/cases.lua", "solutions/basics/double/reference.lua"}) {
    Folder folder;
    put_exercise(folder);
    fs::remove(folder.path / file);
    CHECK_THROWS_WITH(load_exercise(folder.path / "exercises/basics/double", folder.path / "solutions"),
                      Contains((folder.path / file).string() + ": is missing"));
  }
}

TEST_CASE("scripts of an exercise that do not parse", "[catalogue]") {
  for (const char *file : {"exercises/basics/double/cases.lua", "solutions/basics/double/reference.lua"}) {
    Folder folder;
    put_exercise(folder);
    std::ofstream(folder.path / file) << "local x = 1\nreturn {\n  f = function( end\n}\n";
    CHECK_THROWS_WITH(load_exercise(folder.path / "exercises/basics/double", folder.path / "solutions"),
                      Contains((folder.path / file).string() + ":3: ") && Contains("near 'end'"));
  }
}

TEST_CASE("a catalogue keeps the good exercises and names the bad ones", "[catalogue]") {
  Folder folder;
  put_exercise(folder);
  put_exercise(folder, "id = 3", "basics/broken");
  Catalogue catalogue = load_catalogue(find_roots(folder.path.string(), "/nowhere/bin/perigee"));
  REQUIRE(catalogue.exercises.size() == 1);
  REQUIRE(catalogue.invalid.size() == 1);
  CHECK(&catalogue.get("basics/double") == &catalogue.exercises[0]);
  CHECK_THROWS_AS(catalogue.get("basics/broken"), ExerciseError);
  CHECK_THROWS_WITH(catalogue.get("basics/duoble"), Contains("did you mean basics/double?"));
  CHECK_THROWS_WITH(catalogue.get("double"), Contains("did you mean basics/double?"));
  CHECK_THROWS_WITH(catalogue.get("dobule"), Contains("did you mean basics/double?"));
  CHECK_THROWS_WITH(catalogue.get("lesson/double.lua"), Contains("did you mean basics/double?"));
  CHECK_THROWS_WITH(catalogue.get("quite-something-else"), !Contains("did you mean"));
  CHECK_THROWS_WITH(catalogue.get(""), Contains("there is no exercise"));
}

TEST_CASE("exercises are found where they are", "[catalogue]") {
  Folder folder;
  put_exercise(folder);
  fs::path program = folder.path / "build/release/bin/perigee";
  unsetenv("PERIGEE_EXERCISES");
  CHECK(find_roots("", program).exercises == folder.path / "exercises"); // a build tree
  CHECK(find_roots((folder.path / "exercises").string() + "/", "/x/bin/perigee").solutions ==
        folder.path / "solutions");
  Folder installed;
  fs::create_directories(installed.path / "share/perigee/exercises");
  CHECK(find_roots("", installed.path / "bin/perigee").solutions == installed.path / "share/perigee/solutions");
  setenv("PERIGEE_EXERCISES", folder.path.c_str(), 1);
  CHECK(find_roots("", installed.path / "bin/perigee").exercises == folder.path / "exercises");
  CHECK(find_roots(installed.path.string(), program).exercises == installed.path); // the option wins
  unsetenv("PERIGEE_EXERCISES");
  CHECK_THROWS_AS(find_roots("/nowhere-at-all", program), UsageError);
  CHECK_THROWS_WITH(find_roots("", "/nowhere/bin/perigee"), Contains("--exercises"));
  Folder empty;
  CHECK_THROWS_WITH(load_catalogue(find_roots(empty.path.string(), program)), Contains("there are no exercises"));
}

TEST_CASE("edit distance", "[catalogue]") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("pairwise", "pairwise") == 0);
  CHECK(edit_distance("pairwise", "pariwise") == 1); // neighbours swapped
  CHECK(edit_distance("kitten", "sitting") == 3);
}
