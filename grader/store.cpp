#include "store.hpp"

#include "catalogue.hpp"
#include "grade.hpp"
#include "report.hpp"

#include <nlohmann/json.hpp>
#include <sqlite3.h>

namespace perigee::grader {

namespace {

// One prepared statement, finalised at the end of its scope.
class Statement {
 public:
  Statement(sqlite3 *db, const char *sql) : db_(db) {
    if (sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr) != SQLITE_OK)
      throw std::runtime_error(std::string("store: ") + sqlite3_errmsg(db));
  }
  Statement(const Statement &) = delete;
  ~Statement() { sqlite3_finalize(statement_); }

  void bind(int index, const std::string &value) {
    sqlite3_bind_text(statement_, index, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT);
  }
  void bind(int index, int64_t value) { sqlite3_bind_int64(statement_, index, value); }
  void bind(int index, double value) { sqlite3_bind_double(statement_, index, value); }

  bool step() {
    int status = sqlite3_step(statement_);
    if (status != SQLITE_ROW && status != SQLITE_DONE)
      throw std::runtime_error(std::string("store: ") + sqlite3_errmsg(db_));
    return status == SQLITE_ROW;
  }
  std::string text(int column) const {
    auto data = reinterpret_cast<const char *>(sqlite3_column_text(statement_, column));
    return data ? std::string(data, static_cast<size_t>(sqlite3_column_bytes(statement_, column))) : "";
  }

 private:
  sqlite3 *db_;
  sqlite3_stmt *statement_ = nullptr;
};

constexpr const char *schema = R"sql(
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS runs(
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, finished TEXT, machine TEXT NOT NULL, perigee TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS results(
    position INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs(id), learner TEXT NOT NULL, exercise TEXT NOT NULL,
    file TEXT NOT NULL, verdict TEXT NOT NULL, score REAL, max_score REAL NOT NULL, json TEXT NOT NULL,
    fingerprint TEXT NOT NULL DEFAULT '', UNIQUE(run, learner, exercise));
)sql";

} // namespace

Store::Store(const std::filesystem::path &file) {
  int status = sqlite3_open_v2(file.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  if (status == SQLITE_OK) {
    sqlite3_busy_timeout(db_, 5000);
    status = sqlite3_exec(db_, schema, nullptr, nullptr, nullptr);
  }
  // A file of a version that kept no fingerprints gets them; that there are some already is no error.
  if (status == SQLITE_OK)
    sqlite3_exec(db_, "ALTER TABLE results ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''", nullptr, nullptr, nullptr);
  if (status != SQLITE_OK) {
    std::string reason = db_ ? sqlite3_errmsg(db_) : "no memory";
    sqlite3_close(db_);
    throw UsageError("cannot keep results in " + file.string() + ": " + reason);
  }
}

Store::~Store() {
  sqlite3_close(db_);
}

int64_t Store::begin(const std::string &started, const std::string &machine) {
  Statement statement(db_, "INSERT INTO runs(started, machine, perigee) VALUES (?, ?, ?)");
  statement.bind(1, started);
  statement.bind(2, machine);
  statement.bind(3, std::string(PERIGEE_VERSION));
  statement.step();
  return sqlite3_last_insert_rowid(db_);
}

void Store::add(int64_t run, const Result &result, const std::string &fingerprint) {
  Statement statement(
      db_, "INSERT INTO results(run, learner, exercise, file, verdict, score, max_score, json, "
           "fingerprint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(run, learner, exercise) DO UPDATE SET "
           "file = excluded.file, verdict = excluded.verdict, score = excluded.score, "
           "max_score = excluded.max_score, json = excluded.json, "
           "fingerprint = excluded.fingerprint");
  statement.bind(1, run);
  statement.bind(2, clean(result.learner, false));
  statement.bind(3, result.exercise);
  statement.bind(4, clean(result.file, false));
  statement.bind(5, std::string(name_of(result.verdict)));
  if (result.has_score())
    statement.bind(6, result.points); // else NULL: no score is recorded
  statement.bind(7, result.max_points);
  statement.bind(8, dump(to_json(result)));
  statement.bind(9, fingerprint);
  statement.step();
}

void Store::finish(int64_t run, const std::string &finished) {
  Statement statement(db_, "UPDATE runs SET finished = ? WHERE id = ?");
  statement.bind(1, finished);
  statement.bind(2, run);
  statement.step();
}

std::vector<Result> Store::results(int64_t run) {
  Statement statement(db_, "SELECT json FROM results WHERE run = ? ORDER BY position");
  statement.bind(1, run);
  std::vector<Result> results;
  while (statement.step())
    results.push_back(result_from_json(nlohmann::ordered_json::parse(statement.text(0))));
  return results;
}

std::optional<Store::Kept> Store::kept(const std::string &machine, const std::string &learner,
                                       const std::string &exercise, const std::string &fingerprint) {
  Statement statement(db_, "SELECT json, started FROM results JOIN runs ON runs.id = results.run "
                           "WHERE fingerprint = ? AND fingerprint != '' AND score IS NOT NULL AND learner = ? "
                           "AND exercise = ? AND machine = ? ORDER BY position DESC LIMIT 1");
  statement.bind(1, fingerprint);
  statement.bind(2, clean(learner, false));
  statement.bind(3, exercise);
  statement.bind(4, machine);
  if (!statement.step())
    return std::nullopt;
  return Kept{result_from_json(nlohmann::ordered_json::parse(statement.text(0))), statement.text(1)};
}

} // namespace perigee::grader
