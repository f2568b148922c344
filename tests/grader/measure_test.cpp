#include "grader/measure.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

using namespace perigee::grader;

namespace {

// What the machine does to both candidates, and a clock that only slices advance.
struct World {
  std::mt19937_64 random;
  double round_sd = 0.02;      // of a slice
  double generation_sd = 0.01; // lasting, of a process
  double odd = 0.0;            // probability that a process takes 1.45 times as long, for life
  double drift = 0.0;          // the machine becomes slower by this part a second
  double order_bias = 0.0;     // the second of a pair is slower by this part
  double burst = 0.0;          // probability that a slice takes three times as long
  bool own_threads = false;    // ... for threads of its own, while nobody else runs
  double crowd = 0.0;          // probability that a slice waits for as long as it works
  double now = 0.0;
  int since_draw = 0;
};

struct Synthetic : Contestant {
  World &world;
  double seconds; // a call
  double bias = 1.0;
  int renewed = 0, prefetched = 0, slices = 0, warm = 0;
  int slow_slices = 0; // so many slices of a process go by, each 10% faster, until it is warm
  std::vector<uint64_t> seen;

  Synthetic(World &w, double s) : world(w), seconds(s) {}
  void prefetch() override { ++prefetched; }
  void renew() override {
    ++renewed;
    warm = 0;
    bias = std::exp(world.generation_sd * std::normal_distribution<double>()(world.random));
    if (std::uniform_real_distribution<double>()(world.random) < world.odd)
      bias *= 1.45;
  }
  SliceTime slice(const Batch &batch) override {
    ++slices;
    for (std::size_t i = 0; i < batch.inputs.size(); ++i)
      seen.push_back(batch.first + i);
    double time = seconds * static_cast<double>(batch.inputs.size()) * bias * (1 + world.drift * world.now);
    time *= std::exp(world.round_sd * std::normal_distribution<double>()(world.random));
    if (warm++ < slow_slices)
      time *= std::pow(1.1, slow_slices - warm + 1);
    if (world.since_draw++ == 1)
      time *= 1 + world.order_bias;
    if (std::uniform_real_distribution<double>()(world.random) < world.burst)
      time *= 3;
    world.now += time;
    // Waiting is part of the time: another process holds the core.
    const double waited = std::uniform_real_distribution<double>()(world.random) < world.crowd ? time : 0.0;
    world.now += waited;
    return {time + waited, time + waited, waited, 1.0, world.own_threads ? 0.0 : waited};
  }
};

struct Draws : Referee {
  World &world;
  uint64_t next = 0;
  int draws = 0, checks = 0;
  std::size_t capacity = SIZE_MAX, most = 0;
  explicit Draws(World &w) : world(w) {}
  Batch draw(std::size_t calls) override {
    world.since_draw = 0;
    ++draws;
    calls = std::min(calls, capacity);
    most = std::max(most, calls);
    Batch batch{next, std::vector<Bytes>(calls)};
    next += calls;
    return batch;
  }
  void check(const Batch &) override { ++checks; }
};

struct Trial {
  World world;
  Synthetic yours, other;
  Draws draws;
  MeasureOptions options;
  Trial(uint64_t seed, double your_seconds, double other_seconds)
      : yours(world, your_seconds), other(world, other_seconds), draws(world) {
    world.random.seed(seed);
    options.order_seed = seed * 31 + 1;
  }
  Measurement run(const std::vector<Goal> &goals) { return measure(yours, other, draws, goals, options); }
  TierState judge(double ratio) { return judge_tier(speedup(run({{ratio}}).series), ratio); }
};

} // namespace

TEST_CASE("both candidates get the same fresh inputs, every one is checked", "[measure]") {
  Trial trial(1, 1e-3, 1.1e-3);
  const Measurement measured = trial.run({{0.5}});
  CHECK(measured.series.rounds() == 12);
  CHECK(measured.series.generations.size() == 3);
  CHECK(trial.yours.seen == trial.other.seen);
  for (std::size_t i = 0; i < trial.yours.seen.size(); ++i)
    REQUIRE(trial.yours.seen[i] == i);
  CHECK(trial.draws.checks == trial.draws.draws);
  CHECK(trial.yours.renewed == 3);
  CHECK(trial.other.renewed == 3);
  CHECK(measured.yours == Approx(1e-3).epsilon(0.05));
  CHECK(measured.other == Approx(1.1e-3).epsilon(0.05));
}

TEST_CASE("a slice is at least 5 ms and 50 times what freezing costs, by the faster candidate", "[measure]") {
  Trial trial(2, 20e-6, 40e-6);
  CHECK(trial.run({{0.5}}).calls_per_slice >= 250);
  Trial costly(2, 20e-6, 40e-6);
  costly.options.freeze_seconds = 1e-3;
  CHECK(costly.run({{0.5}}).calls_per_slice >= 2500);
}

TEST_CASE("slices have a multiple of so many calls, generations no fewer rounds than asked for", "[measure]") {
  Trial trial(2, 0.7e-3, 1e-3);
  trial.options.calls_step = 2;
  trial.options.least_generation = 8;
  const Measurement measured = trial.run({{1.4}});
  CHECK(measured.calls_per_slice % 2 == 0);
  CHECK(measured.calls_per_slice >= 8);
  REQUIRE(measured.series.generations.size() >= 3);
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(measured.series.generations[i].size() == 8);
  Trial long_calls(2, 0.1, 0.2);
  long_calls.options.calls_step = 2;
  CHECK(long_calls.run({{0.5}}).calls_per_slice == 2);
}

TEST_CASE("short slices are admitted where inputs do not fit", "[measure]") {
  Trial trial(3, 20e-6, 20e-6);
  trial.draws.capacity = 10;
  const Measurement measured = trial.run({{0.5}});
  CHECK(measured.calls_per_slice == 10);
  CHECK(measured.short_slices);
  CHECK(trial.draws.draws < 3 * 16 + 12);
}

TEST_CASE("a hopelessly slow submission is decided at 12 rounds without slices of many seconds", "[measure]") {
  Trial trial(4, 0.1, 10e-6);
  const Measurement measured = trial.run({{0.5}});
  CHECK(measured.series.rounds() == 12);
  CHECK(measured.slice_wall < 150.0);
  CHECK(judge_tier(speedup(measured.series), 0.5) == TierState::missed);
  CHECK_FALSE(measured.short_slices); // short for a reason that does not matter
}

TEST_CASE("warm-up goes on while a block improves, with the same slices", "[measure]") {
  Trial trial(5, 6e-3, 6e-3);
  trial.yours.slow_slices = 8;
  trial.other.slow_slices = 0;
  const Measurement measured = trial.run({{0.5}});
  for (const auto &generation : measured.series.generations)
    for (const Round &round : generation)
      CHECK(std::abs(round.mid) < 0.2);
}

TEST_CASE("a fresh-state exercise renews both for each call", "[measure]") {
  Trial trial(6, 20e-3, 20e-3);
  trial.options.fresh_state = true;
  const Measurement measured = trial.run({{0.5}});
  CHECK(measured.series.rounds() == 12);
  CHECK(trial.yours.slices == 12);
  CHECK(trial.yours.renewed == 12);
  CHECK(trial.draws.most == 1);
}

TEST_CASE("the budget ends a measurement, but not before the first look", "[measure]") {
  Trial trial(7, 6e-3, 6e-3);
  trial.options.budget_seconds = 0.0;
  const Measurement measured = trial.run({{1.0}});
  CHECK(measured.series.rounds() == 12);
  CHECK(measured.budget_ended);
}

TEST_CASE("a quick measurement has six rounds with one pair of processes, and says what they span", "[measure]") {
  Trial trial(12, 6e-3, 9e-3);
  trial.options.most_rounds = quick_rounds;
  const Measurement measured = trial.run({{1.0}});
  CHECK(measured.series.rounds() == 6);
  CHECK(trial.yours.renewed == 1);
  CHECK_FALSE(speedup(measured.series)); // no judgement
  const auto span = indication(measured.series);
  REQUIRE(span);
  CHECK(span->low > 1.3);
  CHECK(span->low <= span->mid);
  CHECK(span->mid <= span->high);
  CHECK(span->high < 1.7);
  CHECK_FALSE(indication({}));
  const auto known_within_bounds = indication({{{{-0.1, 0.0, 0.1}, {-0.2, 0.3, 0.4}}}});
  REQUIRE(known_within_bounds);
  CHECK(known_within_bounds->low == Approx(std::exp(-0.2)));
  CHECK(known_within_bounds->high == Approx(std::exp(0.4)));
}

TEST_CASE("the interrupt flag ends it", "[measure]") {
  Trial trial(8, 6e-3, 6e-3);
  const std::atomic<bool> interrupted = true;
  trial.options.interrupted = &interrupted;
  CHECK_THROWS_AS(trial.run({{1.0}}), Interrupted);
}

TEST_CASE("without goals it measures to a precision", "[measure]") {
  Trial trial(9, 6e-3, 30e-3);
  trial.options.precision = 0.02;
  const Measurement measured = trial.run({});
  const auto ratio = speedup(measured.series);
  REQUIRE(ratio);
  CHECK(half_width(*ratio) <= 0.02);
  CHECK(ratio->low < 5.0);
  CHECK(ratio->high > 5.0);
}

TEST_CASE("where one process in ten is slow for life, more processes are started until it is known", "[measure]") {
  int decided = 0;
  const int trials = 100;
  for (int i = 0; i < trials; ++i) {
    Trial trial(static_cast<uint64_t>(i) + 50, 6e-3, 6e-3);
    trial.world.odd = 0.1;
    trial.options.most_rounds = 128;
    decided += trial.judge(0.8) == TierState::granted;
  }
  CHECK(decided >= trials * 9 / 10); // 60 of 100 with the generations of quiet machines
}

TEST_CASE("no difference is claimed on equal work, in any regime", "[measure]") {
  struct Regime {
    double round_sd, generation_sd, drift, order_bias, burst;
  };
  const Regime regimes[] = {
      {0.005, 0.003, 0, 0, 0},  {0.03, 0.02, 0, 0, 0},   {0.03, 0.02, 0.5, 0, 0},
      {0.03, 0.02, 0, 0.24, 0}, {0.03, 0.02, 0, 0, 0.2}, {0.2, 0.02, 0, 0, 0.1},
  };
  for (const Regime &regime : regimes) {
    int claimed = 0;
    const int trials = 300;
    for (int i = 0; i < trials; ++i) {
      Trial trial(static_cast<uint64_t>(i), 6e-3, 6e-3);
      trial.world.round_sd = regime.round_sd;
      trial.world.generation_sd = regime.generation_sd;
      trial.world.drift = regime.drift;
      trial.world.order_bias = regime.order_bias;
      trial.world.burst = regime.burst;
      trial.options.most_rounds = 64;
      const auto ratio = speedup(trial.run({{1.0}}).series);
      REQUIRE(ratio);
      claimed += ratio->low > 1.05 || ratio->high < 0.95;
    }
    CAPTURE(regime.round_sd, regime.generation_sd, regime.drift, regime.order_bias, regime.burst);
    CHECK(claimed == 0);
  }
}

TEST_CASE("a real difference of 10 to 15% is seen, and never the wrong way round", "[measure]") {
  struct Regime {
    double round_sd, generation_sd, drift, order_bias, burst;
  };
  const Regime regimes[] = {
      {0.01, 0.005, 0, 0, 0},
      {0.03, 0.015, 0.2, 0, 0},
      {0.03, 0.015, 0, 0.05, 0},
      {0.05, 0.015, 0, 0, 0.2},
  };
  for (const Regime &regime : regimes)
    for (const double difference : {1.1, 1.15}) {
      int wrong = 0, seen = 0;
      const int trials = 400;
      for (int i = 0; i < trials; ++i) {
        const bool fast = i % 2 == 0;
        Trial trial(static_cast<uint64_t>(i) + 1000, fast ? 6e-3 : 6e-3 * difference, fast ? 6e-3 * difference : 6e-3);
        trial.world.round_sd = regime.round_sd;
        trial.world.generation_sd = regime.generation_sd;
        trial.world.drift = regime.drift;
        trial.world.order_bias = regime.order_bias;
        trial.world.burst = regime.burst;
        const TierState state = trial.judge(1.0);
        wrong +=
            state == (fast ? TierState::missed : TierState::granted) || (!fast && state == TierState::at_threshold);
        seen += state == (fast ? TierState::granted : TierState::missed);
      }
      CAPTURE(regime.round_sd, regime.order_bias, regime.burst, difference, wrong, seen);
      CHECK(wrong <= trials / 200);
      CHECK(seen >= trials * 95 / 100);
    }
}

TEST_CASE("waiting for a core that others hold widens the interval, whoever it hits", "[measure]") {
  Trial trial(11, 6e-3, 6e-3 / 1.15);
  trial.world.crowd = 0.6;
  trial.options.most_rounds = 64;
  const auto ratio = speedup(trial.run({{1.0}}).series);
  REQUIRE(ratio);
  CHECK(ratio->low < 0.6);
  CHECK(ratio->high > 1.6);
  CHECK(judge_tier(ratio, 1.0) == TierState::inconclusive);
}

TEST_CASE("where nobody else runs, threads waited for their own kind", "[measure]") {
  Trial trial(11, 6e-3, 6e-3 / 1.15);
  trial.world.crowd = 0.6;
  trial.world.own_threads = true;
  for (const auto &generation : trial.run({{1.0}}).series.generations)
    for (const Round &round : generation)
      CHECK((round.low == round.mid && round.mid == round.high));
}

TEST_CASE("recorded rounds come back as they were", "[measure]") {
  Trial trial(10, 6e-3, 7e-3);
  const Measurement measured = trial.run({{1.0}});
  const Series replayed = series_from_json(nlohmann::json::parse(to_json(measured).dump()));
  CHECK(replayed.generations == measured.series.generations);
  CHECK(stopping_point(replayed, {{1.0}}) == measured.series.rounds());
  const auto bounds = nlohmann::json::parse(R"({"generations": [[0.5, [0.1, 0.2, 0.3]]]})");
  CHECK(series_from_json(bounds).generations[0] == std::vector<Round>{0.5, {0.1, 0.2, 0.3}});
  CHECK_THROWS_AS(series_from_json({{"generations", {1, 2}}}), std::runtime_error);
  CHECK_THROWS_AS(series_from_json(nlohmann::json::object()), std::runtime_error);
}
