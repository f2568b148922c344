#include "measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace perigee::grader {
namespace {

constexpr double freezes_per_slice = 50;  // a slice is at least this many times the cost of freezing
constexpr double slow_slice = 0.3;        // seconds: what the slower candidate's slice may grow to, or twice the least
constexpr double shortest_slice = 0.5e-3; // seconds: what the faster candidate's slice may shrink to for that
constexpr std::size_t most_calls = 10000; // a slice; all their inputs are drawn and all their outputs checked

// Of the cores' time: less than this used by others, and waiting was for the candidate's own threads. (Sixteen that
// sleep and wake together wait 4 of 26 ms for each other.)
constexpr double quiet_share = 0.03;

constexpr double still_improving = 0.95;    // a warm-up block below this part of the best one before it
constexpr int most_warmup_blocks = 16;      // of which up to 5 find the slice's size
constexpr double most_warmup_seconds = 2.0; // a generation

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> &values) {
  if (values.empty())
    return 0.0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Small generations first, so that three of them stand behind the first look; larger ones once there are many, since
// each costs two process starts and two warm-ups; but small again where processes differ (one in twelve that threw the
// same darts took 1.45 times as long for life: the traces LuaJIT chose). Their ends fall on looks.
int rounds_of_generation(const Series &before, int least) {
  const int rounds = before.rounds();
  return rounds < 4 * least || generations_dominate(before) ? least : rounds < 16 * least ? 2 * least : 4 * least;
}

class Meter {
 public:
  Meter(Contestant &yours, Contestant &other, Referee &referee, const MeasureOptions &options)
      : yours_(yours), other_(other), referee_(referee), options_(options), order_(options.order_seed),
        calls_(options.calls_step) {}

  Measurement run(const std::vector<Goal> &goals) {
    const auto start = std::chrono::steady_clock::now();
    renew();
    for (int rounds = 0;;) {
      // Too few rounds for any look are not for a judgement, and stay with one pair of processes.
      const int length = options_.fresh_state ? 1
                         : options_.most_rounds < looks.front()
                             ? options_.most_rounds
                             : rounds_of_generation(result_.series, options_.least_generation);
      if (!options_.fresh_state) {
        if (rounds > 0)
          renew();
        warm_up();
      }
      result_.series.generations.emplace_back();
      for (int i = 0; i < length; ++i) {
        if (options_.fresh_state && rounds > 0)
          renew();
        result_.series.generations.back().push_back(round());
        ++rounds;
        if (options_.progress)
          options_.progress(rounds);
        result_.budget_ended = rounds >= looks.front() && seconds_since(start) > options_.budget_seconds;
        if (rounds >= options_.most_rounds || result_.budget_ended || done(goals)) {
          result_.yours = median(yours_per_call_);
          result_.other = median(other_per_call_);
          result_.calls_per_slice = calls_;
          result_.series = judged();
          return std::move(result_);
        }
      }
    }
  }

 private:
  struct Pair {
    SliceTime yours, other;
    double wall() const { return yours.wall + other.wall; }
    double fastest() const { return std::min(yours.clock, other.clock); }
    double slowest() const { return std::max(yours.wall, other.wall); }
  };

  double target() const { return std::max(options_.least_slice_seconds, freezes_per_slice * options_.freeze_seconds); }
  double slow_target() const { return std::max(slow_slice, 2 * options_.least_slice_seconds); }

  // Both start at once, in the background where they can.
  void renew() {
    yours_.prefetch();
    other_.prefetch();
    yours_.renew();
    other_.renew();
  }

  // Both candidates run the same fresh inputs, the one right after the other; then their outputs are checked.
  Pair pair(std::size_t calls, bool yours_first) {
    if (options_.interrupted && options_.interrupted->load())
      throw Interrupted{};
    const Batch batch = referee_.draw(calls);
    fits_ = batch.inputs.size();
    Pair pair;
    if (yours_first)
      pair.yours = yours_.slice(batch);
    pair.other = other_.slice(batch);
    if (!yours_first)
      pair.yours = yours_.slice(batch);
    result_.slice_wall += pair.wall();
    for (const SliceTime &slice : {pair.yours, pair.other}) {
      core_seconds_ += slice.cores * slice.wall;
      others_seconds_ += slice.others;
    }
    if (options_.fresh_state) { // the next ones start while these are checked
      yours_.prefetch();
      other_.prefetch();
    }
    referee_.check(batch);
    // A clock that did not advance would make a ratio of 0 or infinity.
    pair.yours.clock = std::max(pair.yours.clock, 1e-9);
    pair.other.clock = std::max(pair.other.clock, 1e-9);
    return pair;
  }

  // The order is drawn anew for every two rounds, and the second has the reverse of the first's (ABBA or BAAB): a
  // drift, and whatever comes of being the first, cancels.
  Round round() {
    yours_first_ = result_.series.rounds() % 2 == 0 ? (order_() & 1) != 0 : !yours_first_;
    const Pair measured = pair(calls_, yours_first_);
    const auto calls = static_cast<double>(fits_);
    if (options_.fresh_state)
      result_.short_slices = result_.short_slices || measured.fastest() < 0.8 * target();
    yours_per_call_.push_back(measured.yours.clock / calls);
    other_per_call_.push_back(measured.other.clock / calls);
    // Without the others on its core, a slice would have taken at most its time and at least its time without waiting.
    // Nobody knows which: a slice that fits a scheduler's turn is spared where one of two turns waits (this doubled a
    // measured speedup once). So the round gives bounds, which are wide on a crowded machine.
    const auto least = [](const SliceTime &slice) { return std::max(slice.clock - slice.waited, 0.01 * slice.clock); };
    return {std::log(least(measured.other) / measured.yours.clock),
            std::log(measured.other.clock / measured.yours.clock),
            std::log(measured.other.clock / least(measured.yours))};
  }

  // Runs slices, on the path that is measured, until a block stops improving by 5%: LuaJIT compiles traces late, and
  // a fixed number of three warm-ups left a benchmark bimodal (10.8 against 15 ms). Also finds the size of slices.
  void warm_up() {
    double best_yours = HUGE_VAL, best_other = HUGE_VAL, wall = 0.0;
    int steady = 0;
    for (int block = 0; block < most_warmup_blocks && wall < most_warmup_seconds; ++block) {
      const Pair measured = pair(calls_, (order_() & 1) != 0);
      wall += measured.wall();
      if (grow(measured)) {
        best_yours = best_other = HUGE_VAL;
        continue;
      }
      const bool improving =
          measured.yours.clock < still_improving * best_yours || measured.other.clock < still_improving * best_other;
      best_yours = std::min(best_yours, measured.yours.clock);
      best_other = std::min(best_other, measured.other.clock);
      // One block of 5 ms may stand still by chance; a long one has warmed itself up.
      if (measured.slowest() > 1.0)
        return;
      steady = improving ? 0 : steady + 1;
      if (steady == (measured.slowest() > 0.1 ? 1 : 2))
        return;
    }
  }

  // Sets the calls of a slice from the faster candidate; true if they became more.
  bool grow(const Pair &measured) {
    if (fits_ < calls_) // the workers hold no more
      calls_ = most_ = fits_;
    const double target = this->target();
    result_.short_slices = measured.fastest() < 0.8 * target && measured.slowest() < 0.5 * slow_target();
    if (measured.fastest() >= target)
      return false;
    const auto calls = static_cast<double>(calls_);
    const double fast = measured.fastest() / calls, slow = measured.slowest() / calls;
    // The slower one's slice is kept short as long as the faster one's stays measurable: at such a ratio (60 and more)
    // an error of a few percent does not matter, but 12 rounds of seconds do.
    const double shortest = std::max(shortest_slice, 0.2 * freezes_per_slice * options_.freeze_seconds);
    const double wanted = std::min(1.2 * target / fast, std::max(shortest / fast, slow_target() / slow));
    // The first calls are slow ones (compiling), so the estimate is trusted for eightfold growth only.
    const auto step = static_cast<double>(options_.calls_step);
    const double next = std::min({std::ceil(wanted / step) * step, 8.0 * calls, static_cast<double>(most_)});
    if (next <= 1.1 * calls)
      return false;
    calls_ = static_cast<std::size_t>(next);
    return true;
  }

  // The rounds as far as they are known: exactly where nobody else used the cores.
  Series judged() const {
    Series series = result_.series;
    if (others_seconds_ < quiet_share * core_seconds_)
      for (auto &generation : series.generations)
        for (Round &round : generation)
          round = round.mid;
    return series;
  }

  bool done(const std::vector<Goal> &goals) const {
    if (!goals.empty())
      return settled(judged(), goals);
    if (std::find(looks.begin(), looks.end(), result_.series.rounds()) == looks.end())
      return false;
    const auto measured = speedup(judged());
    return measured && half_width(*measured) <= options_.precision;
  }

  Contestant &yours_;
  Contestant &other_;
  Referee &referee_;
  const MeasureOptions &options_;
  std::mt19937_64 order_;
  bool yours_first_ = false;
  std::size_t calls_; // of a slice
  std::size_t most_ = most_calls;
  std::size_t fits_ = 1; // calls in the last batch
  std::vector<double> yours_per_call_, other_per_call_;
  double core_seconds_ = 0.0, others_seconds_ = 0.0; // of all slices
  Measurement result_;
};

} // namespace

Measurement measure(Contestant &yours, Contestant &other, Referee &referee, const std::vector<Goal> &goals,
                    const MeasureOptions &options) {
  return Meter(yours, other, referee, options).run(goals);
}

nlohmann::json to_json(const Measurement &measurement) {
  nlohmann::json generations = nlohmann::json::array();
  for (const auto &generation : measurement.series.generations) {
    auto &rounds = generations.emplace_back(nlohmann::json::array());
    for (const Round &round : generation)
      if (round.low == round.high)
        rounds.push_back(round.mid);
      else
        rounds.push_back({round.low, round.mid, round.high});
  }
  return {{"calls_per_slice", measurement.calls_per_slice},
          {"yours", measurement.yours},
          {"other", measurement.other},
          {"generations", std::move(generations)}};
}

Series series_from_json(const nlohmann::json &recorded) {
  const auto fail = [] {
    throw std::runtime_error("recorded rounds: 'generations' must be a list of lists of log ratios, each a number or "
                             "[low, middle, high]");
  };
  const auto is_number = [](const nlohmann::json &x) { return x.is_number(); };
  const auto found = recorded.find("generations");
  if (found == recorded.end() || !found->is_array())
    fail();
  Series series;
  for (const auto &generation : *found) {
    if (!generation.is_array())
      fail();
    auto &rounds = series.generations.emplace_back();
    for (const auto &round : generation) {
      if (round.is_number())
        rounds.push_back(round.get<double>());
      else if (round.is_array() && round.size() == 3 && std::all_of(round.begin(), round.end(), is_number))
        rounds.push_back({round[0].get<double>(), round[1].get<double>(), round[2].get<double>()});
      else
        fail();
    }
  }
  return series;
}

} // namespace perigee::grader
