#include "report.hpp"

#include "catalogue.hpp"
#include "grade.hpp"
#include "wording.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <map>
#include <tuple>

#include <nlohmann/json.hpp>

namespace perigee::grader {

using nlohmann::ordered_json;

namespace {

constexpr Verdict verdicts[] = {Verdict::passed,
                                Verdict::too_slow,
                                Verdict::wrong,
                                Verdict::error,
                                Verdict::over_limit,
                                Verdict::inconclusive,
                                Verdict::infrastructure_error};
constexpr TierState tier_states[] = {TierState::granted, TierState::at_threshold, TierState::missed,
                                     TierState::inconclusive, TierState::not_measured};

// "infrastructure error" -> "infrastructure_error": names in JSON have no blanks.
std::string identifier(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), ' ', '_');
  return text;
}

template <class Enum, size_t Count> Enum from_identifier(const Enum (&all)[Count], const std::string &text) {
  for (Enum one : all)
    if (identifier(name_of(one)) == text)
      return one;
  throw std::runtime_error("results: unknown state \"" + text + "\"");
}

const char *name_of_against(Against against) {
  return against == Against::reference ? "reference" : "naive";
}

ordered_json optional_number(double value) {
  return value > 0 ? ordered_json(value) : ordered_json(nullptr);
}
double number_or_zero(const ordered_json &json) {
  return json.is_number() ? json.get<double>() : 0.0;
}

bool reached(TierState state) {
  return state == TierState::granted || state == TierState::at_threshold;
}

// Tiers of one kind share a bar: they compare with the same script on the same case.
struct Comparison {
  Against against;
  std::string case_name, metric;
  Interval speedup;
  bool measured = false;
  std::vector<const TierResult *> tiers; // by ratio
};

std::vector<Comparison> comparisons(const Result &result) {
  std::vector<Comparison> list;
  for (const TierResult &tier : result.tiers) {
    auto it = std::find_if(list.begin(), list.end(), [&](const Comparison &c) {
      return c.against == tier.tier.against && c.case_name == tier.tier.case_name && c.metric == tier.tier.metric;
    });
    if (it == list.end())
      it = list.insert(list.end(), Comparison{tier.tier.against, tier.tier.case_name, tier.tier.metric, {}, false, {}});
    if (tier.state != TierState::not_measured) {
      it->speedup = tier.speedup;
      it->measured = true;
    }
    it->tiers.push_back(&tier);
  }
  for (Comparison &c : list)
    std::sort(c.tiers.begin(), c.tiers.end(),
              [](const TierResult *a, const TierResult *b) { return a->tier.ratio < b->tier.ratio; });
  return list;
}

std::string interval_text(const Interval &interval) {
  if (interval.low == interval.high) // counted
    return ratio_text(interval.mid) + "x";
  return ratio_text(interval.mid) + "x (" + ratio_text(interval.low) + " to " + ratio_text(interval.high) + ")";
}

// What a learner who missed a tier has to do.
std::string advice(const TierResult &tier) {
  if (tier.state != TierState::missed || !(tier.speedup.mid > 0))
    return "";
  if (tier.tier.counted())
    return "at most " + ratio_text(1 / tier.tier.ratio) + "x counts";
  return "make yours " + ratio_text(std::max(1.0, tier.tier.ratio / tier.speedup.mid)) + " times as fast";
}

// So much of what a script printed, already broken into lines, that it does not bury the verdict.
std::string first_lines(const std::string &text, size_t lines, const char *more) {
  size_t end = 0;
  for (; lines > 0 && end < text.size(); --lines)
    end = std::min(text.find('\n', end), text.size() - 1) + 1;
  return text.substr(0, end) + (end < text.size() ? more : "");
}

std::string score_text(const Result &result) {
  return (result.has_score() ? points_text(result.points) : "-") + "/" + points_text(result.max_points);
}

// Tier points that count: a wrong result earns none whatever was measured before.
double tier_points(const Result &result, const TierResult &tier) {
  return result.has_score() && reached(tier.state) &&
                 (result.verdict == Verdict::passed || result.verdict == Verdict::too_slow)
             ? tier.tier.points
             : 0.0;
}

} // namespace

const Exercise *Report::exercise(const std::string &id) const {
  for (const Exercise &e : exercises)
    if (e.id == id)
      return &e;
  return nullptr;
}

const Result *Report::result(const std::string &learner, const std::string &id) const {
  for (const Result &r : results)
    if (r.learner == learner && r.exercise == id)
      return &r;
  return nullptr;
}

int exit_code(const Report &report) {
  if (report.interrupted)
    return 130;
  int code = 0;
  for (const Result &r : report.results) {
    if (!r.has_score())
      return 3;
    if (r.verdict != Verdict::passed)
      code = 1;
  }
  return code;
}

// ------------------------------------------------------------------------------------------------------- JSON --------

ordered_json to_json(const Result &r) {
  ordered_json tiers = ordered_json::array();
  for (const TierResult &t : r.tiers) {
    ordered_json speedup;
    if (t.state != TierState::not_measured)
      speedup = {{"low", t.speedup.low}, {"mid", t.speedup.mid}, {"high", t.speedup.high}};
    tiers.push_back({{"name", t.tier.name},
                     {"metric", t.tier.metric},
                     {"against", name_of_against(t.tier.against)},
                     {"case", t.tier.case_name},
                     {"ratio", t.tier.ratio},
                     {"points", t.tier.points},
                     {"state", identifier(name_of(t.state))},
                     {"speedup", speedup}});
  }
  return {{"learner", r.learner},
          {"exercise", r.exercise},
          {"file", r.file},
          {"verdict", identifier(name_of(r.verdict))},
          {"score", r.has_score() ? ordered_json(r.points) : ordered_json(nullptr)},
          {"max_score", r.max_points},
          {"summary", r.summary},
          {"detail", r.detail},
          {"output", r.output},
          {"tiers", tiers},
          {"seconds",
           {{"yours", optional_number(r.seconds)},
            {"reference", optional_number(r.reference_seconds)},
            {"naive", optional_number(r.naive_seconds)}}},
          {"clock", r.clock},
          {"rounds", r.rounds},
          {"generations", r.generations},
          {"peak_memory_bytes", r.peak_memory},
          {"wall_seconds", r.wall_seconds},
          {"overhead_seconds", r.overhead_seconds},
          {"notes", r.notes}};
}

Result result_from_json(const ordered_json &j) {
  Result r;
  r.learner = j.at("learner");
  r.exercise = j.at("exercise");
  r.file = j.at("file");
  r.verdict = from_identifier(verdicts, j.at("verdict"));
  r.points = number_or_zero(j.at("score"));
  r.max_points = j.at("max_score");
  r.summary = j.at("summary");
  r.detail = j.at("detail");
  r.output = j.at("output");
  for (const ordered_json &t : j.at("tiers")) {
    TierResult tier;
    tier.tier.name = t.at("name");
    tier.tier.metric = t.at("metric");
    tier.tier.against = t.at("against") == "naive" ? Against::naive : Against::reference;
    tier.tier.case_name = t.at("case");
    tier.tier.ratio = t.at("ratio");
    tier.tier.points = t.at("points");
    tier.state = from_identifier(tier_states, t.at("state"));
    if (const ordered_json &speedup = t.at("speedup"); speedup.is_object())
      tier.speedup = {speedup.at("low"), speedup.at("mid"), speedup.at("high")};
    r.tiers.push_back(std::move(tier));
  }
  r.seconds = number_or_zero(j.at("seconds").at("yours"));
  r.reference_seconds = number_or_zero(j.at("seconds").at("reference"));
  r.naive_seconds = number_or_zero(j.at("seconds").at("naive"));
  r.clock = j.at("clock");
  r.rounds = j.at("rounds");
  r.generations = j.at("generations");
  r.peak_memory = j.at("peak_memory_bytes");
  r.wall_seconds = j.at("wall_seconds");
  r.overhead_seconds = j.at("overhead_seconds");
  r.notes = j.at("notes").get<std::vector<std::string>>();
  return r;
}

ordered_json to_json(const Report &report) {
  ordered_json exercises = ordered_json::array(), learners = ordered_json::array(), results = ordered_json::array(),
               skipped = ordered_json::array();
  double all_points = 0;
  for (const Exercise &e : report.exercises) {
    double points = e.correctness_points;
    for (const Tier &tier : e.tiers)
      points += tier.points;
    all_points += points;
    exercises.push_back({{"id", e.id},
                         {"title", e.title},
                         {"correctness_points", e.correctness_points},
                         {"max_score", points},
                         {"clock", e.uses_cpu_clock() ? "CPU time" : "wall time"}});
  }
  for (const std::string &name : report.learners) {
    double points = 0;
    int submissions = 0, passed = 0, without_score = 0;
    for (const Result &r : report.results)
      if (r.learner == name) {
        ++submissions;
        passed += r.verdict == Verdict::passed;
        without_score += !r.has_score();
        points += r.has_score() ? r.points : 0.0;
      }
    learners.push_back({{"learner", name},
                        {"score", points},
                        {"max_score", all_points},
                        {"submissions", submissions},
                        {"passed", passed},
                        {"without_score", without_score}});
  }
  for (const Result &r : report.results)
    results.push_back(to_json(r));
  for (const Skipped &s : report.skipped)
    skipped.push_back({{"learner", s.learner}, {"file", s.file}, {"reason", s.reason}});
  return {{"format", "perigee-results"},
          {"version", 1},
          {"perigee", PERIGEE_VERSION},
          {"started", report.started},
          {"finished", report.finished},
          {"machine", report.machine},
          {"interrupted", report.interrupted},
          {"exercises", exercises},
          {"learners", learners},
          {"results", results},
          {"skipped", skipped}};
}

std::string dump(const ordered_json &json) {
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

// -------------------------------------------------------------------------------------------------------- CSV --------

namespace {

// A field as RFC 4180 wants it. Of text that a submission brings about, a spreadsheet must not make a formula.
std::string csv(const std::string &text, bool from_submission = false) {
  std::string field = clean(text, false);
  if (from_submission && !field.empty() && std::string_view("=+-@").find(field[0]) != std::string_view::npos)
    field.insert(0, "'");
  if (field.find_first_of(",\"\n") == std::string::npos)
    return field;
  std::string quoted = "\"";
  for (char c : field)
    quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

} // namespace

std::string to_csv(const Report &report) {
  std::string text = "learner,exercise,verdict,score,max_score,summary\n";
  for (const std::string &name : report.learners)
    for (const Exercise &e : report.exercises)
      if (const Result *r = report.result(name, e.id))
        text += csv(name) + ',' + csv(e.id) + ',' + identifier(name_of(r->verdict)) + ',' +
                (r->has_score() ? points_text(r->points) : "") + ',' + points_text(r->max_points) + ',' +
                csv(r->summary, true) + '\n';
  return text;
}

// --------------------------------------------------------------------------------------------------- terminal --------

std::string_view style_of(Verdict verdict) {
  switch (verdict) {
  case Verdict::passed:
    return "green";
  case Verdict::too_slow:
    return "yellow";
  case Verdict::inconclusive:
  case Verdict::infrastructure_error:
    return "magenta";
  default:
    return "red";
  }
}

std::string speedups_text(const Result &result) {
  std::string text;
  for (const Comparison &c : comparisons(result))
    if (c.measured)
      text += (text.empty() ? "" : ", ") + ratio_text(c.speedup.mid) + "x " + name_of_against(c.against);
  return text;
}

void print_result(const Console &console, const Exercise &exercise, const Result &r) {
  std::ostream &out = console.out;
  size_t columns = std::min<size_t>(console.columns, 110);
  out << console.paint("bold", exercise.title) << " (" << exercise.id
      << "): " << console.paint(style_of(r.verdict), std::string(name_of(r.verdict))) << ", "
      << (r.has_score() ? points_text(r.points) + " of " + points_text(r.max_points) + " points" : "no score recorded")
      << '\n';
  // Of a right result, the detail says in words what the table below shows.
  bool right = r.verdict == Verdict::passed || r.verdict == Verdict::too_slow || r.verdict == Verdict::inconclusive;
  out << wrap(clean(right || r.detail.empty() ? r.summary : r.detail, true), columns, "  ");

  auto line = [&](bool good, const std::string &what, const std::string &value, double points, double of,
                  const std::string &advice) {
    out << "  " << console.paint(good ? "green" : "yellow", good ? "+" : "-") << ' ';
    if (what.size() > 37) // a line of its own
      out << what << "\n    " << pad("", 38);
    else
      out << pad(what, 38);
    out << pad(value, 27) << pad_left(points_text(points), 3) << " of " << pad(points_text(of), 3) << ' ' << advice
        << '\n';
  };
  if (right) {
    out << '\n';
    line(true, "every result right", "", r.has_score() ? exercise.correctness_points : 0, exercise.correctness_points,
         "");
    for (const TierResult &t : r.tiers) {
      std::string state = t.state == TierState::granted ? "" : std::string(name_of(t.state));
      std::string todo = advice(t);
      line(reached(t.state), t.tier.name,
           t.state == TierState::not_measured ? ""
           : t.tier.counted()                 ? ratio_text(1 / t.speedup.mid) + "x"
                                              : interval_text(t.speedup),
           tier_points(r, t), t.tier.points, todo.empty() ? state : todo);
    }
  }
  if (r.seconds > 0) {
    out << "\n  A call takes " << seconds_text(r.seconds) << " with yours, " << seconds_text(r.reference_seconds)
        << " with the reference";
    if (r.naive_seconds > 0)
      out << ", " << seconds_text(r.naive_seconds) << " with the naive script";
    out << " (" << r.clock << ").\n  Measured in " << r.rounds << " rounds, ";
    if (r.generations > 1)
      out << r.generations << " sets of fresh processes; the 99.9% interval is in brackets.\n";
    else
      out << "with one set of processes; what they span is in brackets.\n";
  }
  if (!r.output.empty())
    out << "\n  Your script printed:\n" << first_lines(wrap(clean(r.output, true), columns, "  | "), 12, "  | ...\n");
  for (const std::string &note : r.notes)
    out << console.paint("dim", wrap("note: " + clean(note, true), columns, "  "));
  bool stuck = r.verdict == Verdict::too_slow || r.verdict == Verdict::wrong || r.verdict == Verdict::over_limit;
  if (stuck && !exercise.hints.empty())
    out << "\n  Stuck? perigee show " << exercise.id << " --hints 1\n";
  if (r.verdict == Verdict::inconclusive)
    out << "\n  The measurement was too unsteady to decide; no score is recorded. Run it again, best on a quiet "
           "machine "
           "(`perigee doctor`).\n";
}

void print_table(const Console &console, const Report &report) {
  std::ostream &out = console.out;
  size_t learner_width = 8, id_width = 9;
  for (const std::string &name : report.learners)
    learner_width = std::min<size_t>(std::max(learner_width, width(clean(name, false))), 28);
  for (const Exercise &e : report.exercises)
    id_width = std::max(id_width, width(e.id));
  double all_points = 0;
  for (const Exercise &e : report.exercises) {
    all_points += e.correctness_points;
    for (const Tier &tier : e.tiers)
      all_points += tier.points;
  }
  size_t left = learner_width + id_width + 2 + 22 + 9;
  out << console.paint("bold", pad("LEARNER", learner_width + 2) + pad("EXERCISE", id_width + 2) + pad("VERDICT", 22) +
                                   pad("POINTS", 9) + "SPEEDUP, OR WHAT WENT WRONG")
      << '\n';
  for (const std::string &name : report.learners) {
    std::string shown = pad(shorten(clean(name, false), 28), learner_width + 2);
    double points = 0;
    int open = 0, lines = 0;
    for (const Exercise &e : report.exercises) {
      const Result *r = report.result(name, e.id);
      if (!r)
        continue;
      std::string why = r->verdict == Verdict::passed || r->verdict == Verdict::too_slow || r->summary.empty()
                            ? speedups_text(*r)
                            : clean(r->summary, false);
      if (r->verdict == Verdict::inconclusive && !speedups_text(*r).empty())
        why = speedups_text(*r);
      out << (lines++ ? pad("", learner_width + 2) : shown) << pad(e.id, id_width + 2)
          << console.paint(style_of(r->verdict), pad(std::string(name_of(r->verdict)), 22)) << pad(score_text(*r), 9)
          << shorten(why, console.out_terminal ? std::max<size_t>(console.columns, left + 20) - left : 100) << '\n';
      points += r->has_score() ? r->points : 0;
      open += !r->has_score();
    }
    bool left_out = std::any_of(report.skipped.begin(), report.skipped.end(),
                                [&](const Skipped &skipped) { return skipped.learner == name; });
    if (lines == 0)
      out << shown << console.paint("dim", left_out ? "nothing graded, see below" : "nothing handed in") << '\n';
    else
      out << pad("", learner_width + 2)
          << console.paint("bold", pad("together", id_width + 24) + points_text(points) + "/" + points_text(all_points))
          << (open ? "  (" + std::to_string(open) + " without a score)" : "") << '\n';
  }
  if (!report.skipped.empty()) {
    out << "\nNot graded:\n";
    for (const Skipped &s : report.skipped)
      out << "  " << clean(s.file, false) << ": " << clean(s.reason, false) << '\n';
  }
}

// ------------------------------------------------------------------------------------------------------- HTML --------

namespace {

std::string css_of(Verdict verdict) {
  switch (verdict) {
  case Verdict::passed:
    return "good";
  case Verdict::too_slow:
    return "slow";
  case Verdict::inconclusive:
  case Verdict::infrastructure_error:
    return "open";
  default:
    return "bad";
  }
}

std::string chip(Verdict verdict) {
  return "<span class=\"chip " + css_of(verdict) + "\">" + std::string(name_of(verdict)) + "</span>";
}

std::string fixed(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.1f", value);
  return buffer;
}

// "0.1", "5", "100"
std::string tick_text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

// The part of an axis that comparisons with one script fill; the same for all learners, so that bars compare.
struct Range {
  double low = 1, high = 1;
  void add(double ratio) {
    low = std::min(low, std::max(ratio, 1e-6));
    high = std::max(high, ratio);
  }
  void add(const Comparison &c) {
    for (const TierResult *tier : c.tiers)
      add(tier->tier.ratio);
    if (c.measured) {
      add(c.speedup.low);
      add(c.speedup.high);
    }
  }
};

class Axes {
 public:
  explicit Axes(const Report &report) {
    for (const Result &r : report.results)
      for (const Comparison &c : comparisons(r))
        ranges_[key(r, c)].add(c);
  }
  const Range &of(const Result &r, const Comparison &c) const { return ranges_.at(key(r, c)); }

 private:
  using Key = std::tuple<std::string, Against, std::string>;
  static Key key(const Result &r, const Comparison &c) { return {r.exercise, c.against, c.case_name}; }
  std::map<Key, Range> ranges_;
};

// The speedup's interval on a logarithmic axis, with the thresholds it is judged by.
std::string bar(const Comparison &c, const Range &range) {
  constexpr double left = 8, right = 412;
  double from = std::log(range.low / 1.3), to = std::log(range.high * 1.3);
  auto x = [&](double ratio) { return left + (right - left) * (std::log(std::max(ratio, 1e-6)) - from) / (to - from); };
  std::string other = c.against == Against::reference ? "the reference" : "the naive script";
  std::string svg =
      "<svg class=\"bar\" viewBox=\"0 0 420 62\" width=\"420\" height=\"62\" role=\"img\" aria-label=\"speedup over " +
      other + (c.measured ? ": " + interval_text(c.speedup) : ": not measured") + "\">";
  svg += "<line class=\"axis\" x1=\"8\" y1=\"34\" x2=\"412\" y2=\"34\"/>";
  // Ticks at 1, 2, 5 times powers of ten, fewer where the axis is long.
  double decades = (to - from) / std::log(10.0), last = -100;
  for (int power = -6; power <= 6; ++power)
    for (double digit : {1.0, 2.0, 5.0}) {
      double ratio = digit * std::pow(10.0, power), at = x(ratio);
      if (at < left || at > right || (decades > 2.5 && digit != 1.0) || at - last < 30)
        continue;
      last = at;
      svg += "<line class=\"tick\" x1=\"" + fixed(at) + "\" y1=\"34\" x2=\"" + fixed(at) +
             "\" y2=\"39\"/><text class=\"label\" x=\"" + fixed(at) + "\" y=\"52\" text-anchor=\"middle\">" +
             tick_text(ratio) + "x</text>";
    }
  double label_end = -100;
  for (const TierResult *t : c.tiers) {
    double at = x(t->tier.ratio);
    svg += "<line class=\"threshold " + std::string(reached(t->state) ? "good" : "slow") + "\" x1=\"" + fixed(at) +
           "\" y1=\"16\" x2=\"" + fixed(at) + "\" y2=\"40\"/>";
    if (std::string text = points_text(t->tier.points) + " p"; at - 14 > label_end) {
      svg += "<text class=\"label\" x=\"" + fixed(std::clamp(at, 14.0, 406.0)) + "\" y=\"12\" text-anchor=\"middle\">" +
             text + "</text>";
      label_end = at + 14;
    }
  }
  if (c.measured) {
    double a = x(c.speedup.low), b = x(c.speedup.high);
    bool all = std::all_of(c.tiers.begin(), c.tiers.end(), [](const TierResult *t) { return reached(t->state); });
    bool open = std::any_of(c.tiers.begin(), c.tiers.end(),
                            [](const TierResult *t) { return t->state == TierState::inconclusive; });
    std::string kind = open ? "open" : all ? "good" : "slow";
    svg += "<rect class=\"span " + kind + "\" x=\"" + fixed(std::min(a, (a + b) / 2 - 2)) +
           "\" y=\"27\" rx=\"3\" width=\"" + fixed(std::max(b - a, 4.0)) +
           "\" height=\"14\"/><circle class=\"mid\" cx=\"" + fixed(x(c.speedup.mid)) + "\" cy=\"34\" r=\"3\"/>";
  }
  return svg + "</svg>";
}

constexpr const char *style = R"css(
:root { color-scheme: light dark; --bg: #fbfbfa; --fg: #1d2129; --soft: #5b6372; --line: #dcdfe4; --card: #ffffff;
  --good: #15734a; --good-bg: #dcf3e6; --slow: #8a5a00; --slow-bg: #fbeecb; --bad: #b02a30; --bad-bg: #fbe1e1;
  --open: #6a3fa0; --open-bg: #ece2f8; --code: #f3f4f6; }
@media (prefers-color-scheme: dark) { :root { --bg: #14161a; --fg: #e6e8ec; --soft: #9aa3b2; --line: #2e333c;
  --card: #1b1e24; --good: #62d29b; --good-bg: #143524; --slow: #e6b450; --slow-bg: #3a2d0d; --bad: #f08a8d;
  --bad-bg: #43191c; --open: #c6a3f5; --open-bg: #2e2145; --code: #22262e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 72rem; background: var(--bg); color: var(--fg);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .8rem; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .5rem; } a { color: inherit; } .soft { color: var(--soft); }
.banner { margin: 1rem 0; padding: .7rem 1rem; border-radius: 8px; background: var(--open-bg); color: var(--open); }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .7rem 1.1rem; min-width: 8rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
th, td { text-align: left; padding: .45rem .7rem; border-bottom: 1px solid var(--line); vertical-align: middle; }
tr:last-child td { border-bottom: 0; } th { font-weight: 600; font-size: .86rem; color: var(--soft); }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.chip { display: inline-block; padding: .05rem .55rem; border-radius: 999px; font-size: .84rem; font-weight: 600; white-space: nowrap; }
a.chip { text-decoration: none; }
.chip.good { background: var(--good-bg); color: var(--good); } .chip.slow { background: var(--slow-bg); color: var(--slow); }
.chip.bad { background: var(--bad-bg); color: var(--bad); } .chip.open { background: var(--open-bg); color: var(--open); }
details { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin: .6rem 0; }
summary { cursor: pointer; padding: .6rem .9rem; overflow-wrap: anywhere; } details[open] > summary { border-bottom: 1px solid var(--line); }
summary .who { font-weight: 600; margin-right: .6rem; } .body { padding: .4rem 1rem 1rem; }
pre { background: var(--code); padding: .7rem .9rem; border-radius: 8px; overflow: auto; max-height: 28rem; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; margin: .5rem 0; }
.name { min-width: 10rem; max-width: 18rem; overflow-wrap: anywhere; } .compared { display: inline-block; margin-right: 1.2rem; vertical-align: top; }
.bar { display: block; max-width: 100%; height: auto; } .bar .axis, .bar .tick { stroke: var(--line); }
.bar .axis { stroke-width: 2; } .bar .label { fill: var(--soft); font: 11px system-ui, sans-serif; }
.bar .threshold { stroke-width: 2; stroke-dasharray: 3 2; } .bar .threshold.good { stroke: var(--good); }
.bar .threshold.slow { stroke: var(--slow); } .bar .span { fill-opacity: .45; } .bar .span.good { fill: var(--good); }
.bar .span.slow { fill: var(--slow); } .bar .span.open { fill: var(--open); } .bar .mid { fill: var(--fg); }
.pairs { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: .5rem 0; } .pairs dt { color: var(--soft); }
.pairs dd { margin: 0; } ul { margin: .4rem 0; padding-left: 1.3rem; }
@media print { details > .body { display: block; } body { max-width: none; } }
)css";

std::string details_of(const Report &report, const Axes &axes, const Result &r, const std::string &anchor) {
  const Exercise *e = report.exercise(r.exercise);
  std::string text = "<details id=\"" + anchor + "\"" + (r.verdict == Verdict::passed ? "" : " open") + "><summary>" +
                     "<span class=\"who\">" + html(r.learner) + "</span>" + html(e ? e->title : r.exercise) + " " +
                     chip(r.verdict) + " <span class=\"soft\">" + score_text(r) + " points" +
                     (r.summary.empty() ? "" : " &middot; " + html(r.summary)) +
                     "</span></summary><div class=\"body\">";
  // Of a right result, the detail says in words what the bars show.
  bool right = r.verdict == Verdict::passed || r.verdict == Verdict::too_slow || r.verdict == Verdict::inconclusive;
  if (!right && !r.detail.empty())
    text += "<pre>" + html(r.detail) + "</pre>";
  for (const Comparison &c : comparisons(r)) {
    if (!c.measured)
      continue;
    text += "<h3>" +
            (c.metric == "time" ? "Speedup over " : html(counted_words(c.metric)) + ", so many times fewer than ") +
            std::string(c.against == Against::reference ? "the reference" : "the naive script") + ", case &ldquo;" +
            html(c.case_name) + "&rdquo;: " + interval_text(c.speedup) + "</h3>" + bar(c, axes.of(r, c)) + "<ul>";
    for (const TierResult *t : c.tiers) {
      std::string todo = advice(*t);
      text += "<li>" + html(t->tier.name) + ", " + points_text(tier_points(r, *t)) + " of " +
              points_text(t->tier.points) + " points: " + std::string(name_of(t->state)) +
              (todo.empty() ? "" : " (" + todo + ")") + "</li>";
    }
    text += "</ul>";
  }
  text += "<dl class=\"pairs\">";
  auto pair = [&](const char *name, const std::string &value) {
    text += "<dt>" + std::string(name) + "</dt><dd>" + value + "</dd>";
  };
  if (r.seconds > 0) {
    std::string times = "yours " + seconds_text(r.seconds) + ", reference " + seconds_text(r.reference_seconds);
    if (r.naive_seconds > 0)
      times += ", naive script " + seconds_text(r.naive_seconds);
    pair("A call takes", times + " (" + html(r.clock) + ")");
    pair("Measured in", std::to_string(r.rounds) + " rounds, " + std::to_string(r.generations) +
                            " sets of fresh processes; intervals are at 99.9%");
  }
  if (r.peak_memory > 0)
    pair("Most memory", bytes_text(static_cast<double>(r.peak_memory)));
  pair("File", html(r.file));
  pair("Graded in", seconds_text(r.wall_seconds));
  for (const std::string &note : r.notes)
    pair("Note", html(note));
  text += "</dl>";
  if (!r.output.empty())
    text += "<h3>Printed</h3><pre>" + html(r.output) + "</pre>";
  return text + "</div></details>\n";
}

} // namespace

std::string to_html(const Report &report) {
  auto anchor_of = [&](const Result &r) {
    return "r" + std::to_string(&r - report.results.data()); // names of strangers make no anchors
  };
  Axes axes(report);
  size_t passed = 0, open = 0;
  for (const Result &r : report.results) {
    passed += r.verdict == Verdict::passed;
    open += !r.has_score();
  }
  std::string text = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                     "<title>Perigee: results of a class</title><style>" +
                     std::string(style) + "</style></head><body>\n";
  text += "<h1>Results of a class</h1><div class=\"soft\">" + html(report.finished) + " &middot; Perigee " +
          PERIGEE_VERSION + " &middot; " + html(report.machine) + "</div>\n";
  if (report.interrupted)
    text += "<div class=\"banner\">Stopped before everything was graded. What was finished is below.</div>\n";
  auto tile = [&](size_t number, const char *what) {
    text += "<div class=\"tile\"><b>" + std::to_string(number) + "</b>" + what + "</div>";
  };
  text += "<div class=\"tiles\">";
  tile(report.learners.size(), report.learners.size() == 1 ? "learner" : "learners");
  tile(report.results.size(), report.results.size() == 1 ? "submission" : "submissions");
  tile(passed, "passed");
  tile(report.results.size() - passed - open, "did not pass");
  if (open)
    tile(open, "without a score");
  text += "</div>\n";

  text += "<h2>Class</h2><div class=\"scroll\"><table><tr><th>Learner</th>";
  double all_points = 0;
  for (const Exercise &e : report.exercises) {
    text += "<th title=\"" + html(e.id) + "\">" + html(e.title) + "</th>";
    all_points += e.correctness_points;
    for (const Tier &tier : e.tiers)
      all_points += tier.points;
  }
  text += "<th class=\"number\">Points of " + points_text(all_points) + "</th></tr>\n";
  for (const std::string &name : report.learners) {
    text += "<tr><td class=\"name\">" + html(name) + "</td>";
    double points = 0;
    for (const Exercise &e : report.exercises) {
      const Result *r = report.result(name, e.id);
      text += "<td>";
      if (r) {
        points += r->has_score() ? r->points : 0;
        text += "<a class=\"chip " + css_of(r->verdict) + "\" href=\"#" + anchor_of(*r) + "\" title=\"" +
                std::string(name_of(r->verdict)) + "\">" + std::string(name_of(r->verdict)) + " " + score_text(*r) +
                "</a>";
      } else {
        text += "<span class=\"soft\">&ndash;</span>";
      }
      text += "</td>";
    }
    text += "<td class=\"number\"><b>" + points_text(points) + "</b></td></tr>\n";
  }
  text += "</table></div>\n";

  text += "<h2>Exercises</h2>\n";
  for (const Exercise &e : report.exercises) {
    std::vector<const Result *> here;
    for (const Result &r : report.results)
      if (r.exercise == e.id)
        here.push_back(&r);
    if (here.empty())
      continue;
    std::sort(here.begin(), here.end(), [](const Result *a, const Result *b) {
      return std::make_tuple(-a->points * a->has_score(), a->learner) <
             std::make_tuple(-b->points * b->has_score(), b->learner);
    });
    text += "<h3>" + html(e.title) + " <span class=\"soft\">" + html(e.id) +
            "</span></h3>"
            "<div class=\"scroll\"><table><tr><th>Learner</th><th>Verdict</th><th class=\"number\">Points</th>"
            "<th class=\"number\">A call takes</th><th>Speedup (99.9% interval; dashed: thresholds and their "
            "points)</th></tr>\n";
    for (const Result *r : here) {
      text += "<tr><td class=\"name\"><a href=\"#" + anchor_of(*r) + "\">" + html(r->learner) + "</a></td><td>" +
              chip(r->verdict) + "</td><td class=\"number\">" + score_text(*r) + "</td><td class=\"number\">" +
              seconds_text(r->seconds) + "</td><td>";
      bool any = false;
      for (const Comparison &c : comparisons(*r))
        if (c.measured) {
          text += "<div class=\"compared\"><div class=\"soft\">over " +
                  std::string(c.against == Against::reference ? "the reference" : "the naive script") + ": " +
                  interval_text(c.speedup) + "</div>" + bar(c, axes.of(*r, c)) + "</div>";
          any = true;
        }
      if (!any)
        text += "<span class=\"soft\">" + html(r->summary) + "</span>";
      text += "</td></tr>\n";
    }
    text += "</table></div>\n";
  }

  text += "<h2>Submissions</h2>\n";
  for (const std::string &name : report.learners)
    for (const Exercise &e : report.exercises)
      if (const Result *r = report.result(name, e.id))
        text += details_of(report, axes, *r, anchor_of(*r));

  if (!report.skipped.empty()) {
    text += "<h2>Not graded</h2><table><tr><th>File</th><th>Why</th></tr>\n";
    for (const Skipped &s : report.skipped)
      text += "<tr><td>" + html(s.file) + "</td><td>" + html(s.reason) + "</td></tr>\n";
    text += "</table>\n";
  }
  return text + "</body></html>\n";
}

// ------------------------------------------------------------------------------------------------------- misc --------

std::string utc_now() {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char buffer[32];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return buffer;
}

std::string describe_machine() {
  std::string model = "unknown processor", system;
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.compare(0, 10, "model name") == 0) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  std::ifstream release("/etc/os-release");
  for (std::string line; std::getline(release, line);)
    if (line.compare(0, 13, "PRETTY_NAME=\"") == 0)
      system = ", " + line.substr(13, line.size() - 14);
  const int cores = usable_cores();
  return model + ", " + std::to_string(cores) + (cores == 1 ? " core" : " cores") + system;
}

void write_file(const std::filesystem::path &path, const std::string &text) {
  std::string name = path.string() + ".XXXXXX";
  auto fail = [&](int problem) { throw UsageError("cannot write " + path.string() + ": " + std::strerror(problem)); };
  int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0)
    fail(errno);
  int problem = 0;
  for (size_t done = 0; done < text.size() && !problem;) {
    ssize_t count = write(fd, text.data() + done, text.size() - done);
    if (count > 0)
      done += static_cast<size_t>(count);
    else if (errno != EINTR)
      problem = errno;
  }
  mode_t mask = umask(0);
  umask(mask);
  if (!problem && (fchmod(fd, 0666 & ~mask) != 0 || fsync(fd) != 0))
    problem = errno;
  close(fd);
  if (!problem && rename(name.c_str(), path.c_str()) != 0)
    problem = errno;
  if (problem) {
    unlink(name.c_str());
    fail(problem);
  }
}

} // namespace perigee::grader
