#include "verdict.hpp"

#include <algorithm>
#include <cmath>

namespace perigee::grader {
namespace {

// The median of `values`, which need not be sorted.
double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1)
    return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

// The sign test's interval of a median runs from the k-th smallest to the k-th largest of n values, where k is the
// largest with P(Binomial(n, 1/2) < k) <= (1 - confidence) / 2. 0: n is too small for any (below 11 at 99.9%).
int sign_rank(int n) {
  double term = std::exp2(-n), tail = 0.0; // P(X = k) and P(X < k)
  int k = 0;
  while (tail + term <= (1 - confidence) / 2) {
    tail += term;
    term *= static_cast<double>(n - k) / (k + 1);
    ++k;
  }
  return k;
}

struct Span {
  double low, high;
};

// The sign test's interval, or the whole range where there are too few values for one.
Span sign_interval(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::max(1, sign_rank(static_cast<int>(values.size()))));
  return {values[rank - 1], values[values.size() - rank]};
}

} // namespace

int Series::rounds() const {
  std::size_t count = 0;
  for (const auto &generation : generations)
    count += generation.size();
  return static_cast<int>(count);
}

Series Series::first(int count) const {
  Series cut;
  auto left = static_cast<std::size_t>(count);
  for (const auto &generation : generations) {
    if (left == 0)
      break;
    const std::size_t taken = std::min(left, generation.size());
    cut.generations.emplace_back(generation.begin(), generation.begin() + static_cast<std::ptrdiff_t>(taken));
    left -= taken;
  }
  return cut;
}

namespace {

// Of one of the three numbers of each round: the sign test's interval of all rounds, and the spread of the generations'
// medians.
struct Spans {
  Span rounds, generations;
};

Spans spans_of(const Series &series, double Round::*number) {
  std::vector<double> pooled, medians;
  for (const auto &generation : series.generations) {
    if (generation.empty())
      continue;
    std::vector<double> values;
    for (const Round &round : generation)
      values.push_back(round.*number);
    pooled.insert(pooled.end(), values.begin(), values.end());
    medians.push_back(median(std::move(values)));
  }
  return {sign_interval(std::move(pooled)), sign_interval(std::move(medians))};
}

// Whichever reaches further.
Span span_of(const Series &series, double Round::*number) {
  const auto [rounds, generations] = spans_of(series, number);
  return {std::min(rounds.low, generations.low), std::max(rounds.high, generations.high)};
}

} // namespace

std::optional<Interval> speedup(const Series &series) {
  const auto generations = std::count_if(series.generations.begin(), series.generations.end(),
                                         [](const auto &generation) { return !generation.empty(); });
  if (series.rounds() < looks.front() || generations < least_generations)
    return std::nullopt;
  std::vector<double> middles;
  for (const auto &generation : series.generations)
    for (const Round &round : generation)
      middles.push_back(round.mid);
  return Interval{std::exp(span_of(series, &Round::low).low), std::exp(median(std::move(middles))),
                  std::exp(span_of(series, &Round::high).high)};
}

std::optional<Interval> indication(const Series &series) {
  std::vector<double> middles;
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const auto &generation : series.generations)
    for (const Round &round : generation) {
      middles.push_back(round.mid);
      low = std::min(low, round.low);
      high = std::max(high, round.high);
    }
  if (middles.empty())
    return std::nullopt;
  return Interval{std::exp(low), std::exp(median(std::move(middles))), std::exp(high)};
}

bool generations_dominate(const Series &series) {
  if (series.generations.empty())
    return false;
  const auto [rounds, generations] = spans_of(series, &Round::mid);
  const double spread = generations.high - generations.low;
  return spread > 2 * threshold_half_width && spread > 1.5 * (rounds.high - rounds.low);
}

Interval carry(const Interval &over_b, const Interval &b_over_c) {
  return {over_b.low * b_over_c.low, over_b.mid * b_over_c.mid, over_b.high * b_over_c.high};
}

double half_width(const Interval &interval) {
  return (interval.high - interval.low) / (2 * interval.mid);
}

TierState judge_tier(const std::optional<Interval> &speedup, double ratio) {
  if (!speedup)
    return TierState::not_measured;
  if (speedup->low >= ratio)
    return TierState::granted;
  if (speedup->high < ratio)
    return TierState::missed;
  return half_width(*speedup) <= threshold_half_width ? TierState::at_threshold : TierState::inconclusive;
}

bool settled(const Series &series, const std::vector<Goal> &goals) {
  if (std::find(looks.begin(), looks.end(), series.rounds()) == looks.end())
    return false;
  const auto measured = speedup(series);
  return measured && std::all_of(goals.begin(), goals.end(), [&](const Goal &goal) {
           const TierState state = judge_tier(carry(*measured, goal.carried), goal.ratio);
           return state == TierState::granted || state == TierState::missed;
         });
}

int stopping_point(const Series &recorded, const std::vector<Goal> &goals, int most) {
  int last = 0;
  const int rounds = std::min(recorded.rounds(), most);
  for (const int look : looks) {
    if (look > rounds)
      break;
    last = look;
    if (settled(recorded.first(look), goals))
      break;
  }
  return last;
}

std::optional<int> next_look(int rounds) {
  const auto next = std::upper_bound(looks.begin(), looks.end(), rounds);
  return next == looks.end() ? std::nullopt : std::optional(*next);
}

Verdict verdict_from(const std::vector<TierResult> &tiers) {
  const auto any = [&](auto... states) {
    return std::any_of(tiers.begin(), tiers.end(), [&](const TierResult &t) { return ((t.state == states) || ...); });
  };
  if (any(TierState::inconclusive, TierState::not_measured))
    return Verdict::inconclusive;
  return any(TierState::missed) ? Verdict::too_slow : Verdict::passed;
}

} // namespace perigee::grader
