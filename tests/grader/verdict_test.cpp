#include "grader/verdict.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

using namespace perigee::grader;

namespace {

// Log ratios around log(ratio): sd of a round and of a generation's lasting bias.
Series simulate(std::mt19937_64 &random, double ratio, double round_sd, double generation_sd, int rounds) {
  std::normal_distribution<double> normal;
  Series series;
  for (int done = 0; done < rounds;) {
    const double centre = std::log(ratio) + generation_sd * normal(random);
    auto &generation = series.generations.emplace_back();
    for (int i = 0; i < 4 && done < rounds; ++i, ++done)
      generation.push_back(centre + round_sd * normal(random));
  }
  return series;
}

TierState judge(const Series &series, double ratio) {
  return judge_tier(speedup(series), ratio);
}

} // namespace

TEST_CASE("the interval of twelve rounds is their range, and the ratio their median", "[verdict]") {
  Series series;
  series.generations = {{0.1, 0.2, 0.3, 0.4}, {0.5, 0.6, 0.7, 0.8}, {0.9, 1.0, 1.1, 1.2}};
  const auto interval = speedup(series);
  REQUIRE(interval);
  CHECK(interval->low == Approx(std::exp(0.1)));
  CHECK(interval->mid == Approx(std::exp(0.65)));
  CHECK(interval->high == Approx(std::exp(1.2)));
}

TEST_CASE("no interval without twelve rounds and three generations", "[verdict]") {
  Series series;
  CHECK_FALSE(speedup(series));
  series.generations = {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0}};
  CHECK_FALSE(speedup(series));
  series.generations = {std::vector<Round>(20, 0.0), std::vector<Round>(20, 0.0)};
  CHECK_FALSE(speedup(series));
  CHECK(judge(series, 1.0) == TierState::not_measured);
}

TEST_CASE("one lasting bias in a generation widens the interval to cover it", "[verdict]") {
  Series series; // 64 rounds without noise at 1.0, but one generation of processes at 1.2
  for (int i = 0; i < 8; ++i)
    series.generations.emplace_back(8, i == 5 ? std::log(1.2) : 0.0);
  const auto interval = speedup(series);
  REQUIRE(interval);
  CHECK(interval->mid == Approx(1.0));
  CHECK(interval->high == Approx(1.2));
}

TEST_CASE("the sign-test interval covers the median as often as it says", "[verdict]") {
  std::mt19937_64 random(7);
  for (const int rounds : {12, 24, 64, 512}) {
    int missed = 0;
    for (int i = 0; i < 4000; ++i) {
      const auto interval = speedup(simulate(random, 1.3, 0.2, 0.0, rounds));
      missed += interval->low > 1.3 || interval->high < 1.3;
    }
    CAPTURE(rounds);
    CHECK(missed <= 12); // 4 expected at 99.9%
  }
}

TEST_CASE("tiers: granted, at the threshold, missed, inconclusive", "[verdict]") {
  CHECK(judge_tier(Interval{1.0, 1.1, 1.2}, 1.0) == TierState::granted);
  CHECK(judge_tier(Interval{0.96, 1.0, 1.04}, 1.0) == TierState::at_threshold);
  CHECK(judge_tier(Interval{0.9, 1.0, 1.1}, 1.0) == TierState::inconclusive);
  CHECK(judge_tier(Interval{0.8, 0.9, 0.99}, 1.0) == TierState::missed);
  CHECK(judge_tier(std::nullopt, 1.0) == TierState::not_measured);
}

TEST_CASE("a tier against the naive script carries both uncertainties", "[verdict]") {
  const Interval over_naive = carry({0.9, 1.0, 1.1}, {4.0, 5.0, 6.0});
  CHECK(over_naive.low == Approx(3.6));
  CHECK(over_naive.mid == Approx(5.0));
  CHECK(over_naive.high == Approx(6.6));
}

TEST_CASE("the verdict follows from the tiers", "[verdict]") {
  const auto tiers = [](std::vector<TierState> states) {
    std::vector<TierResult> results;
    for (const TierState state : states)
      results.push_back({{}, state, {}});
    return results;
  };
  CHECK(verdict_from({}) == Verdict::passed);
  CHECK(verdict_from(tiers({TierState::granted, TierState::at_threshold})) == Verdict::passed);
  CHECK(verdict_from(tiers({TierState::granted, TierState::missed})) == Verdict::too_slow);
  CHECK(verdict_from(tiers({TierState::missed, TierState::inconclusive})) == Verdict::inconclusive);
}

TEST_CASE("it stops at looks only, when every goal is cleared or missed", "[verdict]") {
  Series series;
  series.generations = {std::vector<Round>(4, 0.0), std::vector<Round>(4, 0.0), std::vector<Round>(4, 0.0)};
  CHECK(settled(series, {{0.5}, {2.0}}));
  CHECK_FALSE(settled(series, {{0.5}, {1.0, {0.9, 1.0, 1.1}}}));
  series.generations.emplace_back(1, 0.0);
  CHECK_FALSE(settled(series, {{0.5}}));
  CHECK(stopping_point(series, {{0.5}}) == 12);
  CHECK(next_look(0) == 12);
  CHECK(next_look(12) == 16);
  CHECK_FALSE(next_look(512));
}

TEST_CASE("a bound of 15% is decided rightly in thousands of gradings with noise and biased processes", "[verdict]") {
  std::mt19937_64 random(11);
  struct Regime {
    double round_sd, generation_sd;
  };
  for (const Regime regime : {Regime{0.01, 0.005}, Regime{0.05, 0.02}, Regime{0.3, 0.02}, Regime{0.05, 0.05}}) {
    int wrong = 0, undecided = 0;
    const int gradings = 2000;
    for (int i = 0; i < gradings; ++i) {
      const bool fast = i % 2 == 0;
      const Series series = simulate(random, fast ? 1.15 : 1 / 1.15, regime.round_sd, regime.generation_sd, 512);
      const TierState state = judge(series.first(stopping_point(series, {{1.0}})), 1.0);
      wrong += state == (fast ? TierState::missed : TierState::granted) || (!fast && state == TierState::at_threshold);
      undecided += state == TierState::inconclusive;
    }
    CAPTURE(regime.round_sd, regime.generation_sd, undecided);
    CHECK(wrong <= gradings / 200);
    CHECK(undecided <= gradings / 20);
  }
}
