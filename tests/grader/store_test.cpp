#include "folder.hpp"
#include "grader/catalogue.hpp"
#include "grader/store.hpp"
#include "synthetic.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <nlohmann/json.hpp>
#include <sqlite3.h>

using namespace perigee::grader;
using namespace perigee::grader::testing;

TEST_CASE("the store gives back what it was given, in order", "[store]") {
  Folder folder;
  Report report = synthetic_class();
  {
    Store store(folder.path / "results.sqlite");
    int64_t first = store.begin("t0", "machine");
    store.add(first, report.results[0]);
    int64_t run = store.begin("t1", "machine");
    CHECK(run != first);
    for (const Result &result : report.results)
      store.add(run, result);
    store.finish(run, "t2");
  }
  Store store(folder.path / "results.sqlite"); // opened anew
  auto kept = store.results(2);
  REQUIRE(kept.size() == report.results.size());
  for (size_t i = 0; i < kept.size(); ++i)
    CHECK(dump(to_json(kept[i])) == dump(to_json(report.results[i])));
  CHECK(store.results(1).size() == 1);
  CHECK(store.results(99).empty());
}

TEST_CASE("a result graded again replaces the first and keeps its place", "[store]") {
  Folder folder;
  Store store(folder.path / "results.sqlite");
  int64_t run = store.begin("t", "m");
  store.add(run, synthetic_result("a", Verdict::inconclusive));
  store.add(run, synthetic_result("b", Verdict::passed));
  store.add(run, synthetic_result("a", Verdict::passed));
  auto kept = store.results(run);
  REQUIRE(kept.size() == 2);
  CHECK(kept[0].learner == "a");
  CHECK(kept[0].verdict == Verdict::passed);
}

TEST_CASE("results survive a kill", "[store]") {
  Folder folder;
  pid_t child = fork();
  if (child == 0) {
    Store store(folder.path / "results.sqlite");
    int64_t run = store.begin("t", "m");
    store.add(run, synthetic_result("a", Verdict::passed));
    store.add(run, synthetic_result("b", Verdict::wrong));
    raise(SIGKILL);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(Store(folder.path / "results.sqlite").results(1).size() == 2);
}

TEST_CASE("strange strings go through the store", "[store]") {
  Folder folder;
  Store store(folder.path / "results.sqlite");
  int64_t run = store.begin("t", "m");
  Result result = synthetic_result("x'); DROP TABLE results; --", Verdict::wrong);
  result.output = std::string("zero\0byte \xff", 11);
  store.add(run, result);
  auto kept = store.results(run);
  REQUIRE(kept.size() == 1);
  CHECK(kept[0].learner == result.learner);
  CHECK(kept[0].output == std::string("zero\0byte \xef\xbf\xbd", 13));
}

TEST_CASE("the store finds what was kept of the same submission", "[store]") {
  Folder folder;
  Store store(folder.path / "results.sqlite");
  int64_t first = store.begin("t1", "m");
  store.add(first, synthetic_result("a", Verdict::passed), "11");
  store.add(first, synthetic_result("b", Verdict::inconclusive), "22");
  store.add(first, synthetic_result("c", Verdict::passed)); // nothing to go by
  auto found = store.kept("m", "a", "basics/double", "11");
  REQUIRE(found);
  CHECK(found->started == "t1");
  CHECK(found->result.verdict == Verdict::passed);
  CHECK(!store.kept("m", "a", "basics/double", "12"));
  CHECK(!store.kept("another", "a", "basics/double", "11"));
  CHECK(!store.kept("m", "b", "basics/double", "11"));
  CHECK(!store.kept("m", "a", "basics/triple", "11"));
  CHECK(!store.kept("m", "b", "basics/double", "22")); // no score
  CHECK(!store.kept("m", "c", "basics/double", ""));
  store.add(store.begin("t2", "m"), synthetic_result("a", Verdict::wrong), "11"); // the latest counts
  CHECK(store.kept("m", "a", "basics/double", "11")->result.verdict == Verdict::wrong);
}

TEST_CASE("a store of an earlier version is taken over", "[store]") {
  Folder folder;
  const std::filesystem::path file = folder.path / "results.sqlite";
  sqlite3 *db = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  REQUIRE(
      sqlite3_exec(db,
                   "CREATE TABLE runs(id INTEGER PRIMARY KEY, started TEXT NOT NULL, finished TEXT, machine TEXT "
                   "NOT NULL, perigee TEXT NOT NULL);"
                   "CREATE TABLE results(position INTEGER PRIMARY KEY, run INTEGER NOT NULL, learner TEXT NOT NULL, "
                   "exercise TEXT NOT NULL, file TEXT NOT NULL, verdict TEXT NOT NULL, score REAL, max_score REAL "
                   "NOT NULL, json TEXT NOT NULL, UNIQUE(run, learner, exercise));"
                   "INSERT INTO runs VALUES (1, 't', 't', 'm', '0');"
                   "INSERT INTO results VALUES (1, 1, 'a', 'basics/double', 'f', 'passed', 1, 1, '{}')",
                   nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
  Store store(file);
  CHECK(!store.kept("m", "a", "basics/double", ""));
  store.add(store.begin("t", "m"), synthetic_result("a", Verdict::passed), "11");
  CHECK(store.kept("m", "a", "basics/double", "11"));
}

TEST_CASE("a store that cannot be", "[store]") {
  Folder folder;
  CHECK_THROWS_AS(Store(folder.path / "missing" / "results.sqlite"), UsageError);
  folder.put("text", std::string(5000, 'x'));
  CHECK_THROWS_AS(Store(folder.path / "text"), UsageError);
}
