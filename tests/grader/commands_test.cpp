#include "folder.hpp"
#include "grader/commands.hpp"
#include "grader/fingerprint.hpp"
#include "grader/store.hpp"
#include "schema.hpp"
#include "synthetic.hpp"

#include <fstream>
#include <sstream>

using namespace perigee::grader;
using namespace perigee::grader::testing;
using Catch::Matchers::Contains;
using nlohmann::ordered_json;

namespace {

// A folder with one exercise, and a console that remembers.
struct Desk {
  Desk() { put_exercise(folder); }
  Folder folder;
  std::ostringstream out, err;
  Console console{out, err};
  Context context{"/prefix/bin/perigee", folder.path.string(), console};

  std::string skipped(const ClassFolder &found, const std::string &file) const {
    for (const Skipped &one : found.skipped)
      if (one.file == file)
        return one.reason;
    return "";
  }
};

} // namespace

TEST_CASE("list shows lessons, difficulty and points", "[commands]") {
  Desk desk;
  CHECK(list_exercises(desk.context, "", false) == 0);
  CHECK_THAT(desk.out.str(),
             Contains("basics/double") && Contains("**...") && Contains("15 min") && Contains("10 points"));
  CHECK_THROWS_WITH(list_exercises(desk.context, "basic", false), Contains("did you mean basics?"));
}

TEST_CASE("list goes on where an exercise is invalid, and says so", "[commands]") {
  Desk desk;
  put_exercise(desk.folder, "id = 3", "basics/broken");
  CHECK(list_exercises(desk.context, "", false) == 2);
  CHECK_THAT(desk.out.str(), Contains("basics/double"));
  CHECK_THAT(desk.err.str(), Contains("broken/exercise.toml:1: id: must be a string"));
}

TEST_CASE("list of a folder without a valid exercise", "[commands]") {
  Folder empty;
  std::ostringstream out, err;
  Console console{out, err};
  Context context{"/prefix/bin/perigee", empty.path.string(), console};
  CHECK_THROWS_WITH(list_exercises(context, "", false), Contains("there are no exercises"));
  put_exercise(empty, "id = 3", "basics/broken");
  CHECK(list_exercises(context, "", false) == 2);
  CHECK_THAT(out.str(), Contains("no valid exercises"));
  CHECK_THAT(err.str(), Contains("must be a string"));
}

TEST_CASE("show tells what is asked and what it earns", "[commands]") {
  Desk desk;
  CHECK(show_exercise(desk.context, "basics/double", 0) == 0);
  std::string text = desk.out.str();
  CHECK_THAT(text, Contains("Return twice the number.") && Contains("every result right") &&
                       Contains("0.5x the speed of the reference"));
  CHECK_THAT(text, Contains("The tests are hidden") && Contains("2 cases (small, large)"));
  CHECK_THAT(text, Contains("2 hints: perigee show basics/double --hints 1"));
  CHECK_THAT(text, !Contains("Add it to itself"));
  desk.out.str("");
  CHECK(show_exercise(desk.context, "basics/double", 1) == 0);
  CHECK_THAT(desk.out.str(), Contains("Add it to itself") && !Contains("Or multiply") && Contains("1 more hint"));
}

TEST_CASE("a statement's tables are columns on a terminal", "[commands]") {
  Desk desk;
  const fs::path statement = desk.context.catalogue().get("basics/double").folder / "README.md";
  std::ofstream(statement) << "# Double\n\nReturn **twice** the number.\n\n"
                              "| Result | Meaning |\n|---|---|\n| `a|b` | either |\n| `c` | other |\n";
  show_exercise(desk.context, "basics/double", 0);
  CHECK_THAT(desk.out.str(),
             Contains("Return twice the number.\n\n  Result  Meaning\n  `a|b`   either\n  `c`     other\n"));
  std::ofstream(statement) << "| A | What it is | C |\n|---|---|---|\n| a | one two three four five six | c |\n";
  desk.out.str("");
  desk.console.columns = 30;
  show_exercise(desk.context, "basics/double", 0);
  CHECK_THAT(desk.out.str(),
             Contains("  A  What it is              C\n  a  one two three four      c\n     five six\n"));
}

TEST_CASE("start gives what a learner needs and overwrites nothing", "[commands]") {
  Desk desk;
  Folder home;
  CHECK(start_exercise(desk.context, "basics/double", home.path) == 0);
  CHECK(home.get("basics/double.lua") == "return { solve = function(x) return x end }\n");
  CHECK_THAT(home.get("basics/double.md"), Contains("Return twice"));
  CHECK_THAT(home.get(".luarc.json"), Contains("/prefix/share/perigee/annotations") && Contains("LuaJIT"));
  home.put("basics/double.lua", "-- mine");
  home.put(".luarc.json", "{}");
  CHECK(start_exercise(desk.context, "basics/double", home.path) == 0);
  CHECK(home.get("basics/double.lua") == "-- mine");
  CHECK(home.get(".luarc.json") == "{}");
  CHECK_THAT(desk.out.str(), Contains("not touched"));
  // A dangling link is a learner's file too.
  fs::create_symlink(home.path / "elsewhere", home.path / "linked.lua");
  home.put("file", "");
  CHECK_THROWS_AS(start_exercise(desk.context, "basics/double", home.path / "file"), UsageError);
}

TEST_CASE("submissions of a class are found in both layouts", "[commands]") {
  Desk desk;
  put_exercise(
      desk.folder,
      [] {
        std::string toml = good_toml;
        toml.replace(toml.find("basics/double"), 13, "basics/triple");
        return toml;
      }(),
      "basics/triple");
  Folder room;
  room.put("ada/basics/double.lua", "x");
  room.put("ada/basics/double.md", "statement");
  room.put("ada/triple.lua", "x");
  room.put("ada/double.lua", "x");        // a second one
  room.put("ada/basics/duoble.lua", "x"); // mistyped
  room.put("ada/.git/hooks/double.lua", "x");
  room.put("bob/double.lua", "x");
  room.put("bob/.luarc.json", "{}");
  room.put("stray.lua", "x");
  room.put("README.md", "x");
  fs::create_directories(room.path / "carol");
  fs::create_symlink("/etc/passwd", room.path / "carol/double.lua");
  fs::create_directory_symlink(room.path / "ada", room.path / "dave");
  ClassFolder found = scan_class(room.path, desk.context.catalogue(), "");
  CHECK(found.learners == std::vector<std::string>{"ada", "bob", "carol"});
  REQUIRE(found.files.size() == 3); // by exercise, then learner
  CHECK(found.files[0].file == "ada/basics/double.lua");
  CHECK(found.files[1].file == "bob/double.lua");
  CHECK(found.files[2].file == "ada/triple.lua");
  CHECK_THAT(desk.skipped(found, "ada/double.lua"), Contains("a second script"));
  CHECK_THAT(desk.skipped(found, "ada/basics/duoble.lua"), Contains("did you mean basics/double?"));
  CHECK_THAT(desk.skipped(found, "carol/double.lua"), Contains("symbolic link"));
  CHECK_THAT(desk.skipped(found, "dave"), Contains("symbolic link"));
  CHECK_THAT(desk.skipped(found, "stray.lua"), Contains("no learner's folder"));
  CHECK(found.skipped.size() == 5);
  CHECK(scan_class(room.path, desk.context.catalogue(), "basics/triple").files.size() == 1);
}

TEST_CASE("what a class has handed in elsewhere is named", "[commands]") {
  Desk desk;
  Folder room;
  room.put("ada/basics/double.lua", "x");
  room.put("ada/notes.txt", "x"); // of one who has handed in, what is no script is nobody's business
  room.put("bob/basics/Double.LUA", "x");
  room.put("carol/submission/basics/double.lua", "x");
  room.put("dan/basics/double.zip", "x");
  room.put("eve/basics/double.md", "the statement");
  room.put("report/results.json", "{}");
  for (int i = 0; i < 15; ++i)
    room.put("fay/a/b/lib" + std::to_string(10 + i) + ".lua", "x");
  ClassFolder found = scan_class(room.path, desk.context.catalogue(), "", room.path / "report");
  CHECK(found.learners == std::vector<std::string>{"ada", "bob", "carol", "dan", "eve", "fay"});
  CHECK(found.files.size() == 1);
  CHECK_THAT(desk.skipped(found, "bob/basics/Double.LUA"), Contains("capital letters"));
  CHECK_THAT(desk.skipped(found, "carol/submission/basics/double.lua"), Contains("too deep"));
  CHECK_THAT(desk.skipped(found, "dan/basics/double.zip"), Contains("no Lua script"));
  CHECK_THAT(desk.skipped(found, "fay/a/b/lib19.lua"), Contains("and 5 more"));
  CHECK(found.skipped.size() == 13);
  CHECK(scan_class(room.path, desk.context.catalogue(), "basics/double").skipped.empty());
}

TEST_CASE("a class folder that is none", "[commands]") {
  Desk desk;
  Folder room;
  CHECK_THROWS_WITH(scan_class(room.path, desk.context.catalogue(), ""), Contains("there are no learners"));
  CHECK_THROWS_WITH(scan_class(room.path / "nothing", desk.context.catalogue(), ""), Contains("cannot read"));
}

TEST_CASE("usage errors of check and grade come before any work", "[commands]") {
  Desk desk;
  Folder room;
  room.put("ada/double.lua", "return { solve = function(x) return 2 * x end }");
  CHECK_THROWS_WITH(check_submission(desk.context, {"basics/double", "", false, false}),
                    Contains("perigee start basics/double"));
  CHECK_THROWS_WITH(check_submission(desk.context, {"basics/double", room.path / "none.lua", false, false}),
                    Contains("there is no file"));
  CHECK_THROWS_WITH(check_submission(desk.context, {"basics/double", room.path, false, false}),
                    Contains("is a folder"));
  room.put("file", "");
  GradeOptions grade{room.path, room.path / "file" / "out", "", false, false};
  CHECK_THROWS_WITH(grade_class(desk.context, grade), Contains("cannot make the output folder"));
  grade.out = room.path / "file";
  CHECK_THROWS_WITH(grade_class(desk.context, grade), Contains("cannot make the output folder"));
  grade.exercise = "basics/dobule";
  CHECK_THROWS_WITH(grade_class(desk.context, grade), Contains("did you mean basics/double?"));
}

TEST_CASE("a class is graded from folder to report", "[commands][slow]") {
  Desk desk;
  Folder room;
  std::string right = "local function solve(x) return 2 * x end\nreturn { solve = solve }\n";
  room.put("ada/basics/double.lua", right);
  room.put("bob/double.lua", "return { solve = function(x) return x + 2 end }");
  room.put("carol/double.lua", "return { solve = function(x) return 2 * x end");
  room.put("dan/duoble.lua", right);
  fs::path out = room.path / "out" / "deep";
  // A process may be hindered by others: whatever happens, no learner gets another's verdict, and files are in order.
  int code = grade_class(desk.context, {room.path, out, "", true, false});
  CHECK((code == 1 || code == 3));
  ordered_json json = ordered_json::parse(desk.out.str());
  CHECK(violations(ordered_json::parse(std::ifstream(PERIGEE_SOURCE "/grader/results.schema.json")), json) == "");
  CHECK(dump(json) == room.get("out/deep/results.json"));
  CHECK(fs::exists(out / "results.sqlite"));
  CHECK_THAT(room.get("out/deep/results.csv"), Contains("\nbob,basics/double,") && !Contains("dan"));
  CHECK_THAT(room.get("out/deep/report.html"), Contains("</html>") && Contains("duoble"));
  REQUIRE(json["results"].size() == 3);
  for (const ordered_json &result : json["results"]) {
    std::string learner = result["learner"], verdict = result["verdict"];
    if (!result["score"].is_null())
      CHECK(verdict == (learner == "ada" ? "passed" : learner == "bob" ? "wrong" : "error"));
  }
  REQUIRE(json["skipped"].size() == 1);
  CHECK(json["skipped"][0]["file"] == "dan/duoble.lua");
  CHECK(json["learners"].size() == 4);

  // The same submission at the desk.
  desk.out.str("");
  code = check_submission(desk.context, {"basics/double", room.path / "bob/double.lua", false, true});
  CHECK((code == 1 || code == 3));
  CHECK_THAT(desk.out.str(), Contains(code == 1 ? "wrong, 0 of 10 points" : "no score recorded"));
}

TEST_CASE("a learner's name that is not UTF-8 keeps its result", "[commands][slow]") {
  Desk desk;
  Folder room;
  room.put("b\xff\xfe/double.lua", "return 1 +");
  int code = grade_class(desk.context, {room.path, room.path / "out", "", false, false});
  CHECK((code == 1 || code == 3));
  CHECK_THAT(desk.out.str(), Contains("/10") && !Contains("stopped before it was graded"));
}

TEST_CASE("a fingerprint holds for the same script and exercise only", "[commands]") {
  Desk desk;
  Folder room;
  const std::string right = "return { solve = function(x) return 2 * x end }";
  room.put("a.lua", right);
  room.put("b.lua", right);
  room.put("c.lua", right + " ");
  const Catalogue catalogue = desk.context.catalogue();
  const Exercise &exercise = catalogue.get("basics/double");
  const std::string a = fingerprint(exercise, room.path / "a.lua");
  CHECK(a.size() == 64);
  CHECK(a == fingerprint(exercise, room.path / "b.lua")); // whose it is, the store knows
  CHECK(a != fingerprint(exercise, room.path / "c.lua"));
  CHECK(fingerprint(exercise, room.path / "none.lua").empty());
  CHECK(fingerprint(exercise, room.path).empty());
  fs::create_symlink(room.path / "a.lua", room.path / "link.lua");
  CHECK(fingerprint(exercise, room.path / "link.lua").empty());
  std::ofstream(exercise.solutions / "reference.lua", std::ios::app) << "-- faster\n";
  const std::string other_solution = fingerprint(exercise, room.path / "a.lua");
  CHECK(other_solution != a);
  std::ofstream(exercise.folder / "cases.lua", std::ios::app) << "-- stricter\n";
  CHECK(fingerprint(exercise, room.path / "a.lua") != other_solution);
}

TEST_CASE("a class is gone on with where it stopped", "[commands][slow]") {
  Desk desk;
  Folder room;
  const std::string right = "return { solve = function(x) return 2 * x end }";
  room.put("ada/double.lua", right);
  room.put("bob/double.lua", "return { solve = function(x) return x + 2 end }");
  const fs::path out = room.path / "out";
  GradeOptions options{room.path, out, "", true, false, true};
  // A first run that was killed after ada: her result says what no grading would.
  {
    fs::create_directories(out);
    Store store(out / "results.sqlite");
    Result result = synthetic_result("ada", Verdict::passed);
    result.summary = "as it was";
    const Catalogue catalogue = desk.context.catalogue();
    store.add(store.begin("2020-01-02T03:04:05Z", describe_machine()), result,
              fingerprint(catalogue.get("basics/double"), room.path / "ada/double.lua"));
  }
  grade_class(desk.context, options);
  CHECK_THAT(desk.err.str(), Contains("1 of 2 submissions were graded before and have not changed"));
  ordered_json json = ordered_json::parse(desk.out.str());
  REQUIRE(json["results"].size() == 2);
  CHECK(json["results"][0]["summary"] == "as it was");
  CHECK(json["results"][0]["notes"].back() == "kept from the run of 2020-01-02T03:04:05Z");
  CHECK(json["results"][1]["learner"] == "bob");

  // Her script has changed: graded anew. Without the option, everything is.
  room.put("ada/double.lua", right + "\n");
  desk.out.str("");
  grade_class(desk.context, options);
  json = ordered_json::parse(desk.out.str());
  CHECK(json["results"].size() == 2);
  for (const ordered_json &result : json["results"])
    CHECK(result["summary"] != "as it was");
}

TEST_CASE("verify proves a sound exercise and finds a loose check", "[commands][slow]") {
  Desk desk;
  auto state = [&](const ordered_json &list, const std::string &claim) {
    for (const ordered_json &finding : list[0]["findings"])
      if (finding["claim"] == claim)
        return finding["state"].get<std::string>();
    return std::string("absent");
  };
  verify_exercises(desk.context, {.id = "basics/double", .json = true});
  ordered_json sound = ordered_json::parse(desk.out.str());
  CHECK(state(sound, "the starter does not pass") == "proved");
  CHECK(state(sound, "inputs differ by seed") == "proved");
  CHECK(state(sound, "results are not constant") == "proved");
  CHECK(state(sound, "mutant off_by_one is refused") == "proved");
  CHECK(state(sound, "mutant wrong_sign is refused") == "proved");
  CHECK(state(sound, "there is a variant to learn from") == "failed");

  desk.folder.put("exercises/basics/double/cases.lua",
                  "return { inputs = function() return { 7 } end, expected = function(i) return 2 * i[1] end,\n"
                  "  check = function(inputs, got) return type(got) == 'number' end }\n");
  desk.out.str("");
  CHECK(verify_exercises(desk.context, {.id = "basics/double", .json = true}) == 1);
  ordered_json loose = ordered_json::parse(desk.out.str());
  CHECK(state(loose, "inputs differ by seed") == "failed");
  CHECK(state(loose, "results are not constant") == "failed");
  CHECK(state(loose, "mutant off_by_one is refused") == "failed");
  CHECK(state(loose, "the starter does not pass") == "absent"); // speeds are not looked at before this is mended
}
