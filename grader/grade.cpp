#include "grade.hpp"

#include "candidate.hpp"
#include "catalogue.hpp"
#include "gpu_time.hpp"
#include "sandbox.hpp"
#include "text.hpp"
#include "wording.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace perigee::grader {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr double least_ranks_slice = 0.05;      // seconds: between two freezes of several processes each
constexpr double least_shared_core_slice = 0.5; // ... of ranks that take turns on too few cores
// Rounds with one pair of processes, on ranks: they take a second to start and to warm up, and a machine's cores are
// slower for some tenths of a second now and then, which should not be all that a process has seen.
constexpr int ranks_generation = 8;
constexpr double ranks_precision = 0.04; // of naive against reference, on ranks
constexpr std::size_t most_script_bytes = 1 << 20;

// Ends a grading with a verdict on the submission.
struct Ended {
  Verdict verdict;
  std::string summary, detail;
};

// ---------------------------------------------------------------------------------------------------- files ----------

[[noreturn]] void refuse(const std::string &what) {
  throw Ended{Verdict::error, first_line(what), what + "\n"};
}

// A script's text, or why it cannot be one. A class's files are opened without following symbolic links: a collector
// that followed them, running as the instructor, has given away files three times.
std::string read_script(const std::filesystem::path &file, bool follow) {
  const std::string name = file.filename().string();
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW));
  if (fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      refuse("there is no file " + name);
    if (errno == ELOOP)
      refuse(name + " is a symbolic link: hand in the file itself");
    throw InfrastructureError(name + " cannot be read: " + std::strerror(errno)); // no fault of the learner's
  }
  struct stat status;
  const bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  std::string text;
  ssize_t got = regular ? 1 : 0;
  while (got > 0 && text.size() <= most_script_bytes) {
    char buffer[65536];
    got = read(fd, buffer, sizeof buffer);
    if (got > 0)
      text.append(buffer, static_cast<std::size_t>(got));
  }
  const int error = errno;
  close(fd);
  if (!regular)
    refuse(name + " is not a file but " + (S_ISDIR(status.st_mode) ? "a folder" : "a device or pipe"));
  if (got < 0)
    throw InfrastructureError(name + " cannot be read: " + std::strerror(error));
  if (text.size() > most_script_bytes)
    refuse(name + " is larger than 1 MiB, the most a script may have");
  if (text.find_first_not_of(" \t\r\n") == std::string::npos)
    refuse(name + " is empty");
  if (text[0] == '\x1b')
    refuse(name + " is compiled Lua (bytecode); hand in the source text");
  if (const std::size_t at = text.find('\0'); at != std::string::npos)
    refuse(name + " is not a text file: byte " + std::to_string(at + 1) +
           " is zero (if an editor saved it as UTF-16, save it as UTF-8)");
  return text;
}

// --------------------------------------------------------------------------------------------------- grading ---------

// One grading. Its methods throw Ended (a verdict on the submission), InfrastructureError or Interrupted.
class Grading {
 public:
  Grading(const Exercise &exercise, const Submission &submission, Session::State &session, Result &result)
      : exercise_(exercise), submission_(submission), session_(session), result_(result), number_(session.gradings++) {}

  void run() {
    const std::string text = read_script(submission_.file, submission_.learner.empty());
    session_.progress("starting", 0.0);
    WorkerOptions options = session_.worker_options(exercise_);
    options.output_bytes = exercise_.limits.output_bytes.value_or(INT64_C(1) << 32);
    reference_.emplace(exercise_, "reference.lua", solution("reference.lua"), options, session_);
    reference_->announce(renewals());
    const auto start = Clock::now();
    judge_.emplace(exercise_, JudgeOptions{.require_full = session_.options.require_full_sandbox});
    result_.overhead_seconds += seconds_since(start);
    const std::vector<Trial> trials = prepare_trials();

    if (!exercise_.limits.output_bytes)
      options.output_bytes = 4 * static_cast<int64_t>(largest_result_) + (1 << 20);
    yours_.emplace(exercise_, submission_.file.filename().string(), text, options, session_);
    yours_->announce(renewals());
    try {
      correctness(trials);
      result_.points = exercise_.correctness_points;
      if (!exercise_.tiers.empty())
        time();
    } catch (...) {
      account();
      throw;
    }
    account();
    result_.verdict = verdict_from(result_.tiers);
    for (const TierResult &tier : result_.tiers)
      if (tier.state == TierState::granted || tier.state == TierState::at_threshold)
        result_.points += tier.tier.points;
    word_times(result_, session_.options.quick);
  }

 private:
  // One call of a correctness trial, with what is expected of it.
  struct Trial {
    const Case *of;
    int number; // 1 to of->trials
    Batch batch;
    std::vector<Bytes> expected, results, records; // records and results: the reference's, of exercises for a GPU
  };

  std::string solution(const char *name) {
    try {
      return read_script(exercise_.solutions / name, true);
    } catch (const Ended &ended) {
      throw InfrastructureError("the exercise is broken: " + ended.summary + " in " + exercise_.solutions.string());
    }
  }

  // A failure of a script that belongs to the exercise.
  [[noreturn]] void broken(const char *script, const std::string &message) {
    throw InfrastructureError("the exercise is broken: its " + std::string(script) + " script fails: " + message);
  }

  // The workers that the trials need, each by its number of ranks.
  std::deque<int> renewals() const {
    std::deque<int> list;
    for (const Case &c : exercise_.cases)
      for (int i = 0; i < std::max(1, c.trials); ++i)
        if (list.empty() || exercise_.fresh_state || c.ranks != list.back())
          list.push_back(c.ranks);
    return list;
  }

  // The reference solves every trial first: its results are what is expected, and they bound the size of a result.
  std::vector<Trial> prepare_trials() {
    std::vector<Trial> trials;
    bool first = true;
    for (const Case &c : exercise_.cases)
      for (int i = 0; i < std::max(1, c.trials); ++i) {
        const Key key = session_.key(number_, exercise_.id, "trial of " + c.name, static_cast<uint64_t>(i));
        trials.push_back({&c, i + 1, {0, judge_->inputs(std::span(&key, 1), c)}, {}, {}, {}});
        Trial &trial = trials.back();
        try {
          const bool other_ranks = reference_->run_on(c.ranks);
          if (std::exchange(first, false) || exercise_.fresh_state || other_ranks)
            reference_->renew();
          Slice slice = reference_->run(trial.batch.inputs);
          trial.expected = std::move(slice.results);
          trial.records = std::move(slice.records);
        } catch (const CallFailed &failure) {
          broken("reference", failure.message);
        }
        largest_result_ = std::max(largest_result_, trial.expected[0].size());
        if (!trial.records.empty())
          trial.results = trial.expected;
        if (judge_->has_expected())
          trial.expected = judge_->expected(trial.batch.inputs);
      }
    reference_->keep_for_measuring();
    return trials;
  }

  void correctness(const std::vector<Trial> &trials) {
    std::optional<Ended> first;
    std::set<const Case *> wrong;
    bool all_ran = true;
    for (std::size_t i = 0; i < trials.size(); ++i) {
      if (session_.interrupted)
        throw Interrupted{};
      session_.progress("checking", static_cast<double>(i) / static_cast<double>(trials.size()));
      const Trial &trial = trials[i];
      const std::string where =
          "case '" + trial.of->name + "'" + (trial.of->trials > 1 ? ", trial " + std::to_string(trial.number) : "");
      try {
        const bool other_ranks = yours_->run_on(trial.of->ranks);
        if (i == 0 || exercise_.fresh_state || other_ranks)
          yours_->renew();
        const Slice slice = yours_->run(trial.batch.inputs);
        const Check check = judge_->check(trial.batch.inputs, slice.results, trial.expected,
                                          CallInfo{slice.wall, slice.cpu}, slice.records);
        if (check.ok && counts(*trial.of))
          count(trial, check.counts, slice.records);
        if (!check.ok && wrong.insert(trial.of).second && !first)
          first = Ended{Verdict::wrong, where + ": " + first_line(check.message), where + ":\n" + check.message + "\n"};
      } catch (const CallFailed &failure) {
        if (!first)
          fail(failure, failure.kind == FailureKind::load_error ? "" : where);
        // A wrong result before it says more: on one rank alone, say, where others then wait for each other for ever.
        first->detail += where + ":\n" + failure.message + "\n";
        all_ran = false;
        break;
      }
    }
    if (first) {
      if (exercise_.cases.size() > 1 && all_ran)
        first->detail += std::to_string(exercise_.cases.size() - wrong.size()) + " of " +
                         std::to_string(exercise_.cases.size()) + " cases are right\n";
      throw *first;
    }
    result_.output = yours_->output();
    yours_->keep_for_measuring();
  }

  bool counts(const Case &c) const {
    return std::any_of(exercise_.tiers.begin(), exercise_.tiers.end(),
                       [&](const Tier &t) { return t.counted() && t.case_name == c.name; });
  }

  // Judges the tiers that compare counts of this trial; of several trials the last counts.
  void count(const Trial &trial, const std::map<std::string, double> &yours, const std::vector<Bytes> &records) {
    const auto replayed = [&](const char *script, const std::vector<Bytes> &results,
                              const std::vector<Bytes> &records) {
      const Check check = judge_->check(trial.batch.inputs, results, trial.expected, {}, records);
      if (!check.ok)
        broken(script, check.message);
      return check.counts;
    };
    std::map<std::string, double> others[2];
    std::vector<Bytes> naive_records;
    for (TierResult &result : result_.tiers) {
      const Tier &tier = result.tier;
      if (!tier.counted() || tier.case_name != trial.of->name)
        continue;
      std::map<std::string, double> &other = others[tier.against == Against::naive];
      if (other.empty() && tier.against == Against::reference) {
        other = replayed("reference", trial.results, trial.records);
      } else if (other.empty()) {
        Candidate naive = trusted("naive.lua", *trial.of);
        try {
          naive.renew();
          const Slice slice = naive.run(trial.batch.inputs);
          other = replayed("naive", slice.results, slice.records);
          naive_records = slice.records;
        } catch (const CallFailed &failure) {
          broken("naive", failure.message);
        }
      }
      if (tier.on_gpu()) {
        session_.progress("measuring on the GPU", 0.0);
        const Goal goal{tier.ratio};
        const GpuTimes times =
            time_on_gpu(records[0], tier.against == Against::naive ? naive_records[0] : trial.records[0], goal,
                        exercise_.limits.budget_seconds, session_.interrupted);
        const auto speed = speedup(times.series);
        result.speedup = speed.value_or(Interval{});
        result.state = judge_tier(speed, tier.ratio);
        result_.rounds = times.series.rounds();
        result_.generations = static_cast<int>(times.series.generations.size());
        continue;
      }
      const auto of = [&](const std::map<std::string, double> &counts) {
        const auto found = counts.find(tier.metric);
        if (found == counts.end())
          throw InfrastructureError("the simulator does not count " + tier.metric);
        return found->second;
      };
      const double mine = of(yours), theirs = of(other), ratio = mine > 0 ? theirs / mine : theirs > 0 ? 1e6 : 1;
      result.speedup = {ratio, ratio, ratio};
      result.state = judge_tier(result.speedup, tier.ratio);
    }
  }

  [[noreturn]] static void fail(const CallFailed &failure, const std::string &where) {
    const std::string prefix = where.empty() ? "" : where + ": ";
    throw Ended{verdict_of(failure.kind), prefix + first_line(failure.message),
                (where.empty() ? "" : where + ":\n") + failure.message + "\n"};
  }

  MeasureOptions measure_options(const Case &c) {
    const Session::FreezeCost freeze = session_.freeze_cost();
    MeasureOptions options;
    options.fresh_state = exercise_.fresh_state;
    // Stopping is confirmed thread by thread.
    options.freeze_seconds =
        exercise_.uses_cpu_clock() ? freeze.cpu : freeze.wall * std::max(exercise_.needs.cores, exercise_.needs.ranks);
    options.calls_step = exercise_.uses_mpi() && c.ranks == session_.cores() ? 2 : 1; // Candidate::run_on_swapped_cores
    if (exercise_.uses_mpi())
      options.least_generation = ranks_generation;
    if (exercise_.uses_mpi())
      options.least_slice_seconds = c.ranks <= session_.cores() ? least_ranks_slice : least_shared_core_slice;
    options.budget_seconds = exercise_.limits.budget_seconds;
    const Key order = session_.key(number_, exercise_.id, "order", session_.naive.size());
    options.order_seed = static_cast<uint64_t>(order[0]) << 32 | order[1];
    options.interrupted = &session_.interrupted;
    return options;
  }

  // A script of the exercise's own, on the case's ranks.
  Candidate trusted(const char *name, const Case &c) {
    WorkerOptions options = session_.worker_options(exercise_);
    options.output_bytes = INT64_C(1) << 32;
    options.ranks = c.ranks;
    return {exercise_, name, solution(name), options, session_};
  }

  // How many times faster than the naive script the reference is on this case: roughly once an exercise and run, which
  // decides for most submissions; finely, which takes ten times as long, as soon as one needs it.
  const Session::State::Naive &naive_against_reference(const Case &c, bool fine) {
    const std::string key = exercise_.solutions.string() + '\n' + exercise_.id + '\n' + c.name;
    if (const auto known = session_.naive.find(key); known != session_.naive.end() && (known->second.fine || !fine))
      return known->second;
    Candidate reference = trusted("reference.lua", c), naive = trusted("naive.lua", c);
    Court court(*judge_, session_, exercise_, number_, c, naive, reference);
    MeasureOptions measuring = measure_options(c);
    // Carried into every submission's tiers: finely is less than half of what "at the threshold" allows.
    measuring.precision = !fine ? 0.1 : exercise_.uses_mpi() ? ranks_precision : 0.02;
    measuring.most_rounds = session_.options.quick ? quick_rounds : fine ? 128 : 24;
    measuring.progress = [&](int rounds) { session_.progress("measuring the naive script", rounds / (rounds + 12.0)); };
    try {
      Measurement measured = measure(reference, naive, court, {}, measuring);
      const auto known = session_.options.quick ? std::nullopt : speedup(measured.series);
      fine = fine || measured.budget_ended || (known && half_width(*known) <= 0.02);
      return session_.naive.insert_or_assign(key, Session::State::Naive{std::move(measured), fine}).first->second;
    } catch (const CallFailed &failure) {
      broken("naive or reference", failure.message);
    } catch (const WrongResult &wrong) {
      broken("naive", wrong.message);
    }
  }

  void time() {
    std::vector<const Case *> timed; // in the order of the cases
    for (const Case &c : exercise_.cases)
      if (std::any_of(exercise_.tiers.begin(), exercise_.tiers.end(),
                      [&](const Tier &t) { return !t.counted() && t.case_name == c.name; }))
        timed.push_back(&c);
    for (const Case *c : timed)
      time(*c);
  }

  // Measures what the tiers of a case need, and judges them.
  void time(const Case &c) {
    std::vector<TierResult *> tiers;
    for (TierResult &tier : result_.tiers)
      if (!tier.tier.counted() && tier.tier.case_name == c.name)
        tiers.push_back(&tier);
    const Session::State::Naive *naive = nullptr;
    const bool against_naive =
        std::any_of(tiers.begin(), tiers.end(), [](const TierResult *t) { return t->tier.against == Against::naive; });
    if (against_naive)
      naive = &naive_against_reference(c, session_.options.quick);

    yours_->run_on(c.ranks);
    reference_->run_on(c.ranks);
    Court court(*judge_, session_, exercise_, number_, c, *yours_, *reference_);
    Measurement measured = measure_yours(c, *reference_, court, goals(tiers, naive));
    const auto own = interval_of(measured.series);
    const bool settled = !measured.budget_ended; // but for what is not known of the naive script
    const bool near = !session_.options.quick && own && (settled || half_width(*own) < 0.25);
    if (!judge(tiers, measured, naive) && naive && near) {
      // So near to a threshold that the naive script must be known better, and then perhaps this one: by the CPU clock
      // well enough once for all submissions. What several cores take is known so roughly that the uncertainties of two
      // comparisons are too much: there the two are compared directly.
      if (!exercise_.uses_cpu_clock()) {
        compare_directly(c, court.next(), tiers);
      } else if (!naive->fine) {
        naive = &naive_against_reference(c, true);
        if (!judge(tiers, measured, naive) && !measured.budget_ended) {
          measured = measure_yours(c, *reference_, court, goals(tiers, naive));
          judge(tiers, measured, naive);
        }
      }
    }

    result_.seconds = measured.yours;
    result_.reference_seconds = measured.other;
    result_.naive_seconds = naive ? measured.other * interval_of(naive->measured.series)->mid : 0.0;
    result_.rounds = measured.series.rounds();
    result_.generations = static_cast<int>(measured.series.generations.size());
    if (measured.short_slices)
      note("case '" + c.name + "' is too short to be timed well: a slice of " +
           std::to_string(measured.calls_per_slice) + " calls takes " +
           seconds_text(std::min(measured.yours, measured.other) * static_cast<double>(measured.calls_per_slice)));
    if (measured.budget_ended)
      note("measuring case '" + c.name + "' ended with its budget of " + seconds_text(exercise_.limits.budget_seconds));
  }

  // Decides the tiers against the naive script that are open. `first`: of the calls that no process has seen.
  void compare_directly(const Case &c, uint64_t first, std::vector<TierResult *> tiers) {
    std::erase_if(tiers, [](const TierResult *tier) {
      return tier->tier.against != Against::naive || tier->state == TierState::granted ||
             tier->state == TierState::missed;
    });
    std::vector<Goal> goals;
    for (const TierResult *tier : tiers)
      goals.push_back({tier->tier.ratio});
    if (goals.empty())
      return;
    Candidate naive = trusted("naive.lua", c);
    Court court(*judge_, session_, exercise_, number_, c, *yours_, naive, first);
    const Measurement measured = measure_yours(c, naive, court, goals);
    if (const auto ratio = interval_of(measured.series))
      for (TierResult *tier : tiers) {
        tier->speedup = *ratio;
        tier->state = judge_tier(ratio, tier->tier.ratio);
      }
  }

  std::optional<Interval> interval_of(const Series &series) const {
    return session_.options.quick ? indication(series) : speedup(series);
  }

  // What the submission's measurement has to settle. While the naive script is known roughly only, as if it was known
  // exactly: in vain would a submission be measured on and on against what is not its own uncertainty.
  std::vector<Goal> goals(const std::vector<TierResult *> &tiers, const Session::State::Naive *naive) const {
    std::vector<Goal> goals;
    for (const TierResult *tier : tiers)
      if (tier->tier.against == Against::reference) {
        goals.push_back({tier->tier.ratio});
      } else {
        const Interval carried = *interval_of(naive->measured.series);
        goals.push_back({tier->tier.ratio, naive->fine ? carried : Interval{carried.mid, carried.mid, carried.mid}});
      }
    return goals;
  }

  Measurement measure_yours(const Case &c, Candidate &other, Court &court, const std::vector<Goal> &goals) {
    MeasureOptions options = measure_options(c);
    if (session_.options.quick)
      options.most_rounds = quick_rounds;
    options.progress = [&](int rounds) { session_.progress("measuring", rounds / (rounds + 12.0)); };
    // Which of many calls it was says little to a learner, but that the trials before were right says much.
    const std::string where = "case '" + c.name + "', one of many timed calls (the trials before were right)";
    try {
      Measurement measured = measure(*yours_, other, court, goals, options);
      record(c, goals, measured);
      return measured;
    } catch (const CallFailed &failure) {
      if (failure.whose != &*yours_)
        broken(&other == &*reference_ ? "reference" : "naive", failure.message);
      fail(failure, where);
    } catch (const WrongResult &wrong) {
      throw Ended{Verdict::wrong, "case '" + c.name + "', a timed call: " + first_line(wrong.message),
                  where + ", call " + std::to_string(wrong.call + 1) + ":\n" + wrong.message + "\n"};
    }
  }

  // Gives the tiers their states; true if all are granted or missed.
  bool judge(const std::vector<TierResult *> &tiers, const Measurement &measured, const Session::State::Naive *naive) {
    const auto ratio = interval_of(measured.series);
    bool decided = true;
    for (TierResult *tier : tiers) {
      const Interval carried =
          tier->tier.against == Against::naive ? *interval_of(naive->measured.series) : Interval{1.0, 1.0, 1.0};
      tier->speedup = carry(ratio.value_or(Interval{}), carried);
      tier->state = judge_tier(ratio ? std::optional(tier->speedup) : std::nullopt, tier->tier.ratio);
      decided = decided && (tier->state == TierState::granted || tier->state == TierState::missed);
    }
    return decided;
  }

  void record(const Case &c, const std::vector<Goal> &goals, const Measurement &measured) {
    if (session_.options.record.empty())
      return;
    nlohmann::json rounds = to_json(measured);
    rounds["exercise"] = exercise_.id;
    rounds["learner"] = submission_.learner;
    rounds["case"] = c.name;
    rounds["clock"] = result_.clock;
    for (const Goal &goal : goals)
      rounds["goals"].push_back(
          {{"ratio", goal.ratio}, {"carried", {goal.carried.low, goal.carried.mid, goal.carried.high}}});
    std::filesystem::create_directories(session_.options.record);
    std::ofstream(session_.options.record / (std::to_string(number_) + "-" + c.name + ".json")) << rounds << '\n';
  }

  void note(const std::string &text) {
    if (std::find(result_.notes.begin(), result_.notes.end(), text) == result_.notes.end())
      result_.notes.push_back(text);
  }

  // What is known of the workers, however the grading ended.
  void account() {
    if (result_.output.empty())
      result_.output = yours_->output();
    result_.peak_memory = yours_->peak_memory();
    result_.overhead_seconds += yours_->overhead() + reference_->overhead();
    for (const auto &missing : {yours_->unprotected(), judge_->unprotected()})
      for (const std::string &name : missing)
        note(name.starts_with("not protected") ? name : "not protected: " + name);
  }

  const Exercise &exercise_;
  const Submission &submission_;
  Session::State &session_;
  Result &result_;
  const uint64_t number_; // of this grading in the session
  std::optional<Judge> judge_;
  std::optional<Candidate> reference_, yours_;
  std::size_t largest_result_ = 0; // of the reference, bytes
};

} // namespace

// Without the tiers that only a GPU can measure, where there is none: their points are not asked for.
static Exercise without_gpu_time(Exercise e) {
  std::erase_if(e.tiers, [&](const Tier &tier) {
    if (!tier.on_gpu() || no_gpu_reason().empty())
      return false;
    e.notes.push_back("not measurable here: '" + tier.name + "' is measured on an NVIDIA GPU (" + no_gpu_reason() +
                      "); its points are not counted");
    return true;
  });
  return e;
}

Result grade_submission(const Exercise &as_written, const Submission &submission, Session &session) {
  const auto start = Clock::now();
  Session::State &state = session.state();
  const Exercise exercise = without_gpu_time(scaled_to(as_written, state.cores()));
  Result result;
  result.learner = submission.learner;
  result.exercise = exercise.id;
  result.file = submission.file.string();
  result.clock = exercise.uses_cpu_clock() ? "CPU time" : "wall time";
  result.max_points = exercise.correctness_points;
  for (const Tier &tier : exercise.tiers) {
    result.max_points += tier.points;
    result.tiers.push_back({tier, TierState::not_measured, {}});
  }
  if (state.options.quick)
    result.notes.push_back("quick: indicative only, not a grade");
  for (const std::string &note : exercise.notes)
    result.notes.push_back(note);
  if (state.shared_core)
    result.notes.push_back("one core only: grader and submission take turns on it");
  try {
    Grading(exercise, submission, state, result).run();
  } catch (const Ended &ended) {
    result.verdict = ended.verdict;
    result.summary = ended.summary;
    result.detail = ended.detail;
    result.points = 0.0;
  } catch (const Interrupted &) {
    throw;
  } catch (const std::exception &error) { // InfrastructureError, and what else the machine may do to us
    result.verdict = Verdict::infrastructure_error;
    result.summary = "not graded: " + first_line(error.what());
    result.detail = std::string(error.what()) + "\nThis is not the submission's fault, and no score is recorded.\n";
    result.points = 0.0;
  }
  result.wall_seconds = seconds_since(start);
  return result;
}

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
  case Verdict::passed:
    return "passed";
  case Verdict::too_slow:
    return "too slow";
  case Verdict::wrong:
    return "wrong";
  case Verdict::error:
    return "error";
  case Verdict::over_limit:
    return "over limit";
  case Verdict::inconclusive:
    return "inconclusive";
  case Verdict::infrastructure_error:
    return "infrastructure error";
  }
  return "";
}

std::string_view name_of(TierState state) {
  switch (state) {
  case TierState::granted:
    return "granted";
  case TierState::at_threshold:
    return "at the threshold";
  case TierState::missed:
    return "missed";
  case TierState::inconclusive:
    return "inconclusive";
  case TierState::not_measured:
    return "not measured";
  }
  return "";
}

} // namespace perigee::grader
