#include "folder.hpp"
#include "grader/catalogue.hpp"
#include "grader/commands.hpp"
#include "grader/report.hpp"
#include "schema.hpp"
#include "synthetic.hpp"

#include <sstream>

using namespace perigee::grader;
using namespace perigee::grader::testing;
using Catch::Matchers::Contains;
using nlohmann::ordered_json;

namespace {

struct Screen {
  std::ostringstream out, err;
  Console console{out, err};
};

size_t count(const std::string &text, const std::string &what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
    ++n;
  return n;
}

} // namespace

TEST_CASE("results.json is as its schema says", "[report]") {
  ordered_json schema = ordered_json::parse(std::ifstream(PERIGEE_SOURCE "/grader/results.schema.json"));
  Report report = synthetic_class();
  ordered_json json = ordered_json::parse(dump(to_json(report)));
  CHECK(violations(schema, json) == "");
  for (const ordered_json &result : json["results"])
    CHECK(violations(schema, schema["definitions"]["result"], result) == "");
  CHECK(violations(schema, ordered_json::parse(dump(to_json(Report{})))) == "");
  // The validator itself sees what is wrong.
  for (const char *path :
       {"/results/0/verdict", "/results/0/score", "/learners/0/submissions", "/results/0/tiers/0/speedup/low"}) {
    ordered_json wrong = json;
    wrong[ordered_json::json_pointer(path)] = "nonsense";
    CHECK(violations(schema, wrong) != "");
  }
  json["results"][0].erase("rounds");
  CHECK_THAT(violations(schema, json), Contains("rounds"));
  json = ordered_json::parse(dump(to_json(report)));
  json["surplus"] = 1;
  CHECK_THAT(violations(schema, json), Contains("surplus"));
}

TEST_CASE("scores in results.json", "[report]") {
  ordered_json json = to_json(synthetic_class());
  auto result = [&](const std::string &learner) {
    for (const ordered_json &r : json["results"])
      if (r["learner"] == learner)
        return r;
    FAIL(learner);
    return ordered_json();
  };
  CHECK(result("ada")["score"] == 10.0);
  CHECK(result("grace")["score"].is_null()); // inconclusive is no zero
  CHECK(result("linus")["score"].is_null()); // neither is a broken machine
  CHECK(result("edsger")["score"] == 0.0);
  CHECK(result("edsger")["tiers"][0]["speedup"].is_null()); // never measured
  for (const ordered_json &learner : json["learners"])
    if (learner["learner"] == "grace")
      CHECK(learner["without_score"] == 1);
}

TEST_CASE("a result survives JSON", "[report]") {
  for (const Result &result : synthetic_class().results) {
    std::string once = dump(to_json(result));
    CHECK(dump(to_json(result_from_json(ordered_json::parse(once)))) == once);
  }
}

TEST_CASE("exit codes of a report", "[report]") {
  Report report;
  CHECK(exit_code(report) == 0);
  report.results.push_back(synthetic_result("a", Verdict::passed));
  CHECK(exit_code(report) == 0);
  report.results.push_back(synthetic_result("b", Verdict::wrong));
  CHECK(exit_code(report) == 1);
  report.results.push_back(synthetic_result("c", Verdict::inconclusive));
  CHECK(exit_code(report) == 3);
  report.interrupted = true;
  CHECK(exit_code(report) == 130);
}

TEST_CASE("report.html stands alone and is harmless", "[report]") {
  Report report = synthetic_class();
  std::string evil = "<script>alert('x')</script>\"'><img src=x onerror=y>&\x1b[2J\xff\xe2\x80\xae";
  report.learners.push_back(evil);
  Result result = synthetic_result(evil, Verdict::wrong);
  result.summary = result.detail = result.output = result.file = evil;
  result.notes = {evil};
  report.results.push_back(result);
  report.skipped.push_back({evil, evil, evil});
  std::string text = to_html(report);
  CHECK(count(text, "<script") == 0);
  CHECK(count(text, "<img") == 0);
  CHECK(count(text, "&lt;script&gt;alert(&#39;x&#39;)") >= 7);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\xff') == std::string::npos);
  CHECK(text.find("\xe2\x80\xae") == std::string::npos); // right-to-left override
  // Nothing is fetched.
  CHECK(count(text, "http:") + count(text, "https:") + count(text, "url(") + count(text, "@import") == 0);
  CHECK(count(text, "<details") == report.results.size());
  CHECK(count(text, "<details") == count(text, "</details>"));
  CHECK(count(text, "<svg") == count(text, "</svg>"));
  CHECK(count(text, "<table") == count(text, "</table>"));
  CHECK(count(text, "nan") == 0);
}

TEST_CASE("numbers for people", "[report]") {
  CHECK(seconds_text(0) == "-");
  CHECK(seconds_text(1.234e-9) == "1.23 ns");
  CHECK(seconds_text(12.34e-6) == "12.3 us");
  CHECK(seconds_text(0.9996) == "1.00 s");
  CHECK(seconds_text(0.0123) == "12.3 ms");
  CHECK(seconds_text(120) == "120 s");
  CHECK(ratio_text(0.516) == "0.52");
  CHECK(ratio_text(0.0123) == "0.0123");
  CHECK(ratio_text(9.999) == "10.0");
  CHECK(ratio_text(31.24) == "31.2");
  CHECK(ratio_text(1234) == "1234");
  CHECK(points_text(4) == "4");
  CHECK(points_text(2.5) == "2.5");
  CHECK(points_text(0) == "0");
  CHECK(points_text(10) == "10");
  CHECK(bytes_text(3 << 20) == "3.00 MiB");
}

TEST_CASE("text of strangers is made harmless", "[report]") {
  CHECK(clean("plain \xc3\xa9", false) == "plain \xc3\xa9");
  CHECK(clean("a\x1b[31mb\x07", false) == "a\\x1b[31mb\\x07");
  CHECK(clean("a\nb\tc\rd", true) == "a\nb\tc\\x0dd");
  CHECK(clean("a\r\nb", true) == "a\nb");
  CHECK(clean("a\nb", false) == "a\\x0ab");
  CHECK(clean("\xff\xc0\x80\xed\xa0\x80", false).find('\xc0') == std::string::npos);
  CHECK(clean("\xe2\x80\xae", false) == "\\u202e");
  CHECK(clean("\xc2\x9b", false) == "\\u009b"); // one-byte terminal escape in UTF-8
  CHECK(clean(std::string("\0x", 2), false) == "\\x00x");
  CHECK(html("<a b=\"c\">&'") == "&lt;a b=&quot;c&quot;&gt;&amp;&#39;");
}

TEST_CASE("columns", "[report]") {
  CHECK(width("h\xc3\xa9") == 2);
  CHECK(pad("h\xc3\xa9", 4) == "h\xc3\xa9  ");
  CHECK(pad("long", 2) == "long");
  CHECK(shorten("abcdefgh", 6) == "abc...");
  CHECK(shorten("h\xc3\xa9h\xc3\xa9h\xc3\xa9", 5) == "h\xc3\xa9...");
  CHECK(wrap("one two three", 9, "  ") == "  one two\n  three\n");
  CHECK(wrap("one\n  laid out by hand\n", 9, "  ") == "  one\n    laid out by hand\n");
}

TEST_CASE("a learner reads what to do next", "[report]") {
  Report report = synthetic_class();
  Screen screen;
  const Result *slow = report.result("alan", "basics/double");
  REQUIRE(slow);
  print_result(screen.console, report.exercises[0], *slow);
  std::string text = screen.out.str();
  CHECK_THAT(text, Contains("too slow, 7 of 10 points"));
  CHECK_THAT(text, Contains("make yours 1.67 times as fast"));
  CHECK_THAT(text, Contains("yours") && Contains("the reference") && Contains("the naive script"));
  CHECK_THAT(text, Contains("0.30x (0.29 to 0.31)"));
  CHECK(text.find('\x1b') == std::string::npos); // no colour where there is no terminal

  Screen open;
  print_result(open.console, report.exercises[0], *report.result("grace", "basics/double"));
  CHECK_THAT(open.out.str(), Contains("no score recorded") && Contains("Run it again"));
}

TEST_CASE("what a script printed does not bury the verdict", "[report]") {
  Report report = synthetic_class();
  Result wordy = *report.result("ada", "basics/double");
  for (int i = 0; i < 5000; ++i)
    wordy.output += "spam "; // one line
  Screen screen;
  print_result(screen.console, report.exercises[0], wordy);
  CHECK_THAT(screen.out.str(), Contains("  | spam") && Contains("  | ...\n"));
  CHECK(count(screen.out.str(), "  | ") == 13);
}

TEST_CASE("results as CSV", "[report]") {
  Report report = synthetic_class();
  report.results[0].summary = "=HYPERLINK(\"x\"), two\nlines";
  const std::string first = report.results[0].learner, text = to_csv(report);
  CHECK(text.rfind("learner,exercise,verdict,score,max_score,summary\n", 0) == 0);
  CHECK_THAT(text, Contains("\"'=HYPERLINK(\"\"x\"\"), two\\x0alines\"\n"));
  CHECK(count(text, "\n") == report.results.size() + 1);
  CHECK_THAT(text, Contains(",inconclusive,,10,")); // no score is no zero
}

TEST_CASE("the table of a class", "[report]") {
  Screen screen;
  print_table(screen.console, synthetic_class());
  std::string text = screen.out.str();
  CHECK_THAT(text, Contains("ada") && Contains("10/10") && Contains("passed"));
  CHECK_THAT(text, Contains("-/10") && Contains("inconclusive"));
  CHECK_THAT(text, Contains("nothing handed in"));
  CHECK_THAT(text, Contains("Not graded:") && Contains("did you mean"));
}
