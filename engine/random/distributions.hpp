// Distributions whose draws take a varying number of random bits: all of a draw's come from the chain of its slot, so a
// draw depends on its slot alone. An object holds what one set of parameters needs.
#pragma once

#include "random/random.hpp"

#include <cstdint>
#include <vector>

namespace perigee::random {

/// Draws by inversion from a distribution over 0, 1, 2, ... of small mean: one uniform number each. `Terms` gives the
/// probabilities in turn: double p() and void advance(), and bool last() where no more is worth having.
class InverseTable {
 public:
  template <class Terms> explicit InverseTable(Terms terms) {
    double sum = terms.p();
    sums_.push_back(sum);
    while (!terms.last()) {
      terms.advance();
      sums_.push_back(sum += terms.p());
    }
    uint32_t k = 0;
    for (uint32_t i = 0; i < guides; ++i) {
      while (k + 1 < sums_.size() && sums_[k] <= i / double(guides))
        ++k;
      guide_[i] = k;
    }
  }
  int64_t operator()(double u) const {
    std::size_t k = guide_[static_cast<uint32_t>(u * guides)];
    while (k + 1 < sums_.size() && u >= sums_[k])
      ++k;
    return static_cast<int64_t>(k);
  }

 private:
  static constexpr uint32_t guides = 256;
  std::vector<double> sums_;
  uint32_t guide_[guides]; // where the search for u in [i, i + 1) / 256 starts
};

/// The same number as InverseTable gives, without the table: for single draws.
template <class Terms> int64_t invert(Terms terms, double u) {
  double sum = terms.p();
  int64_t k = 0;
  while (u >= sum && !terms.last()) {
    terms.advance();
    sum += terms.p();
    ++k;
  }
  return k;
}

struct PoissonTerms {
  explicit PoissonTerms(double mean);
  double p() const { return p_; }
  bool last() const { return k_ > mean_ && p_ < 1e-18; }
  void advance() { p_ *= mean_ / ++k_; }

 private:
  double mean_, p_, k_ = 0;
};

struct BinomialTerms {
  BinomialTerms(double n, double p);
  double p() const { return p_; }
  bool last() const { return k_ == n_ || (k_ > mean_ && p_ < 1e-18); }
  void advance() {
    p_ *= (n_ - k_) * odds_ / (k_ + 1);
    ++k_;
  }

 private:
  double n_, mean_, odds_, p_, k_ = 0;
};

/// Below this mean, inversion; from it on, rejection.
inline constexpr double inversion_mean = 32;

/// Poisson, mean >= inversion_mean: Hörmann's PTRS ("The transformed rejection method for generating Poisson random
/// variables", Insurance: Mathematics and Economics 12, 1993).
class Poisson {
 public:
  explicit Poisson(double mean);
  double operator()(Chain chain) const;

 private:
  double mean_, a_, b_, alpha_, quick_;
};

/// Binomial with p <= 1/2 and n p >= inversion_mean: Hörmann's BTRS ("The generation of binomial random variates",
/// Journal of Statistical Computation and Simulation 46, 1993).
class Binomial {
 public:
  Binomial(double n, double p);
  double operator()(Chain chain) const;

 private:
  double log_probability(double k) const;
  double n_, p_, a_, b_, c_, alpha_, quick_, at_mode_;
};

/// Gamma: Marsaglia and Tsang ("A simple method for generating gamma variables", ACM TOMS 26, 2000). The kernel `gamma`
/// tries a normal and a uniform number against the squeeze, which takes nine of ten.
struct Gamma {
  explicit Gamma(double shape);
  /// The draw of scale 1 (and of shape + 1, where that is below 1) whose first normal x and uniform u the squeeze has
  /// not taken.
  double rejected(double x, double u, Chain chain) const;
  double shape, d, c;
};

} // namespace perigee::random
