#include "wording.hpp"

#include "text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace perigee::grader {
namespace {

template <typename... Arguments> std::string text(const char *format, Arguments... arguments) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, arguments...);
  return buffer;
}

// A threshold as its author wrote it.
std::string plain(double value) {
  return text("%.6g", value);
}

const char *of(Against against) {
  return against == Against::reference ? "reference" : "naive script";
}

constexpr std::pair<const char *, const char *> counted[] = {
    {"gpu_sectors", "sectors"},           {"gpu_wavefronts", "wavefronts"},  {"gpu_divergent", "divergent branches"},
    {"gpu_atomics", "atomic operations"}, {"gpu_transfers", "bytes copied"}, {"gpu_launches", "launches"},
    {"gpu_estimate", "estimated time"},   {"gpu_time", "time on a GPU"},
};

// "0.31x the reference's speed (0.30 to 0.32)"; "3.2x the sectors of the reference"
std::string speed(const TierResult &tier) {
  if (tier.tier.counted())
    return ratio_text(1 / tier.speedup.mid) + "x the " + counted_words(tier.tier.metric) + " of the " +
           of(tier.tier.against);
  return ratio_text(tier.speedup.mid) + "x the " + of(tier.tier.against) + "'s speed (" + ratio_text(tier.speedup.low) +
         " to " + ratio_text(tier.speedup.high) + ")";
}

// "needs 0.6x"; "needs at most 1.2x"
std::string needs(const Tier &tier) {
  return tier.counted() ? "needs at most " + plain(std::round(100 / tier.ratio) / 100) + "x"
                        : "needs " + plain(tier.ratio) + "x";
}

const char *state_words(TierState state) {
  switch (state) {
  case TierState::granted:
    return "granted";
  case TierState::at_threshold:
    return "granted, at the threshold";
  case TierState::missed:
    return "missed";
  case TierState::inconclusive:
    return "inconclusive";
  case TierState::not_measured:
    return "not measured";
  }
  return "";
}

// The missed tier that the least speeding up would grant.
const TierResult *next_tier(const Result &result) {
  const TierResult *next = nullptr;
  const auto missing = [](const TierResult &t) { return t.tier.ratio / t.speedup.mid; };
  for (const TierResult &tier : result.tiers)
    if (tier.state == TierState::missed && (!next || missing(tier) < missing(*next)))
      next = &tier;
  return next;
}

} // namespace

std::string counted_words(const std::string &metric) {
  for (const auto &[name, words] : counted)
    if (metric == name)
      return words;
  return "";
}

std::vector<std::string> counted_metrics() {
  std::vector<std::string> names;
  for (const auto &[name, words] : counted)
    names.push_back(name);
  return names;
}

void word_times(Result &result, bool quick) {
  if (result.tiers.empty()) {
    result.summary = "every case is right";
    return;
  }
  const TierResult *next = next_tier(result);
  const auto undecided = std::find_if(result.tiers.begin(), result.tiers.end(), [](const TierResult &tier) {
    return tier.state == TierState::inconclusive || tier.state == TierState::not_measured;
  });
  if (undecided != result.tiers.end())
    result.summary = speed(*undecided) + ", too uncertain against the " + plain(undecided->tier.ratio) +
                     "x needed: " + (quick ? "check without --quick" : "grade it again on a quieter machine");
  else if (next)
    result.summary = speed(*next) + "; the next tier " + needs(next->tier);
  else
    result.summary = speed(result.tiers.back());

  std::string &detail = result.detail;
  detail.clear();
  const bool timed =
      std::any_of(result.tiers.begin(), result.tiers.end(), [](const TierResult &t) { return !t.tier.counted(); });
  if (timed) {
    detail = "a call takes " + seconds_text(result.seconds) + " (yours)";
    if (result.reference_seconds > 0)
      detail += ", " + seconds_text(result.reference_seconds) + " (reference)";
    if (result.naive_seconds > 0)
      detail += ", " + seconds_text(result.naive_seconds) + " (naive)";
    detail += ", " + result.clock +
              text("; %d rounds with %d generation%s of processes\n", result.rounds, result.generations,
                   result.generations == 1 ? "" : "s");
  }
  for (const TierResult &tier : result.tiers) {
    detail += std::string(state_words(tier.state)) + ": ";
    if (!tier.tier.name.empty())
      detail += tier.tier.name + ": ";
    if (tier.state == TierState::not_measured)
      detail += "no speedup known";
    else
      detail += speed(tier);
    detail += ", " + needs(tier.tier) + text(" [%g points]\n", tier.tier.points);
  }
  if (next && !next->tier.counted()) {
    detail += "the next tier needs it " + ratio_text(next->tier.ratio / next->speedup.mid) + " times as fast as it is";
    const double other = next->tier.against == Against::reference ? result.reference_seconds : result.naive_seconds;
    if (other > 0 && next->tier.case_name == result.tiers.back().tier.case_name)
      detail += ": at most " + seconds_text(other / next->tier.ratio) + " a call";
    detail += "\n";
  }
  if (timed)
    detail +=
        quick ? "(a to b): the span of these few rounds\n" : "(a to b): where the speedup lies with 99.9% confidence\n";
}

} // namespace perigee::grader
