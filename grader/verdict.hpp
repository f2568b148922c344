// From measured rounds to a judgement: pure statistics, no clock, no processes, so that recorded rounds can be replayed
// and the error rates counted over thousands of simulated gradings.
//
// A round gives one log ratio, log(other's time / yours). Rounds come in generations: a generation is one pair of fresh
// processes, and everything a process pair has for life (address layout, where its pages fell, the traces LuaJIT chose)
// biases all of its rounds alike.
#pragma once

#include "types.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

namespace perigee::grader {

// Numbers of rounds at which the interval may be looked at. Looking after every round at 95% gave up to 6% wrong
// verdicts; these looks at 99.9% gave 1.2% at worst, all from one pair of processes with a lasting bias of 3%.
inline constexpr std::array<int, 12> looks = {12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512};
inline constexpr double confidence = 0.999;
inline constexpr int quick_rounds = 6; // --quick stops here, decided or not, with its first processes
inline constexpr int least_generations = 3;
inline constexpr double threshold_half_width = 0.05; // at most this around a threshold: granted, "at the threshold"

// The log ratio of a round. On the wall clock of a machine that others use it is known within bounds only.
struct Round {
  double low, mid, high;
  Round(double exact) : low(exact), mid(exact), high(exact) {}
  Round(double low, double mid, double high) : low(low), mid(mid), high(high) {}
  bool operator==(const Round &) const = default;
};

// Rounds in the order in which they were measured, a vector for each generation.
struct Series {
  std::vector<std::vector<Round>> generations;

  int rounds() const;
  // The first `count` rounds, as if the measurement had stopped there.
  Series first(int count) const;
};

// The speedup exp(median log ratio) with its interval: from low to high lie both the sign-test interval of the pooled
// rounds' median and the spread between the generations' medians (their range; from 11 generations on, the sign-test
// interval of the generations' medians). Its low end is that of the rounds' low bounds, its high end that of their
// high ones. std::nullopt below the first look or with fewer than three generations.
std::optional<Interval> speedup(const Series &series);

// The same of the few rounds of --quick: their whole span. Of 6 rounds the median lies in it with 97%, if other
// processes would measure the same. std::nullopt without rounds.
std::optional<Interval> indication(const Series &series);

// Whether the processes differ among themselves by more than their rounds do, and by too much to decide a close case:
// then more processes help, and more rounds of each do not.
bool generations_dominate(const Series &series);

// The speedup over c from that over b and of b over c.
Interval carry(const Interval &over_b, const Interval &b_over_c);

// Half of the interval's width, relative to its middle: (high - low) / (2 mid).
double half_width(const Interval &interval);

// granted, missed, at_threshold or inconclusive; not_measured without an interval.
TierState judge_tier(const std::optional<Interval> &speedup, double ratio);

// What a measured pair has to settle: each ratio that the speedup must reach, and through what it is carried
// ({1, 1, 1} for a tier against the reference; reference over naive for one against the naive script).
struct Goal {
  double ratio = 1.0;
  Interval carried = {1.0, 1.0, 1.0};
};

// Whether the measurement may stop: only at a look, with three generations, and every goal cleared or missed.
bool settled(const Series &series, const std::vector<Goal> &goals);
// The number of rounds at which `recorded` would have stopped live: the first look where it is settled, else its last
// look (at most `most` rounds).
int stopping_point(const Series &recorded, const std::vector<Goal> &goals, int most = looks.back());

// The first look after `rounds`; nullopt after the last.
std::optional<int> next_look(int rounds);

// The verdict of a submission whose results were all right, from its tiers.
Verdict verdict_from(const std::vector<TierResult> &tiers);

} // namespace perigee::grader
