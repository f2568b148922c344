#include "random/distributions.hpp"

#include <array>
#include <cmath>
#include <numbers>

namespace perigee::random {
namespace {

// log(k!) - log(sqrt(2 pi k) (k / e)^k) for k > 0, the error of Stirling's formula. The differences of such terms
// decide about acceptance; taken of lgamma itself they would drown in rounding from k = 1e8 on.
double stirling_error(double k) {
  static const std::array<double, 16> small = [] {
    std::array<double, 16> errors{};
    double factorial = 1;
    for (int i = 1; i < 16; ++i) {
      factorial *= i;
      errors[static_cast<std::size_t>(i)] =
          std::log(factorial) - (i + 0.5) * std::log(i) + i - 0.5 * std::log(2 * std::numbers::pi);
    }
    return errors;
  }();
  if (k < 16)
    return small[static_cast<std::size_t>(k)];
  const double s = 1 / (k * k);
  return (1.0 / 12 - s * (1.0 / 360 - s * (1.0 / 1260 - s * (1.0 / 1680)))) / k;
}

// x log(x / m) + m - x without cancellation (Loader, "Fast and accurate computation of binomial probabilities", 2000).
double deviance(double x, double m) {
  const double d = x - m;
  if (std::abs(d) < 0.1 * (x + m)) {
    const double v = d / (x + m);
    double sum = d * v, term = 2 * x * v;
    for (int j = 1; j < 1000; ++j) {
      term *= v * v;
      const double next = sum + term / (2 * j + 1);
      if (next == sum)
        break;
      sum = next;
    }
    return sum;
  }
  return x * std::log(x / m) + m - x;
}

double log_poisson(double k, double mean) {
  if (k == 0)
    return -mean;
  return -stirling_error(k) - deviance(k, mean) - 0.5 * std::log(2 * std::numbers::pi * k);
}

} // namespace

PoissonTerms::PoissonTerms(double mean) : mean_(mean), p_(std::exp(-mean)) {}

BinomialTerms::BinomialTerms(double n, double p)
    : n_(n), mean_(n * p), odds_(p / (1 - p)), p_(std::exp(n * std::log1p(-p))) {}

Poisson::Poisson(double mean) : mean_(mean) {
  b_ = 0.931 + 2.53 * std::sqrt(mean);
  a_ = -0.059 + 0.02483 * b_;
  alpha_ = 1.1239 + 1.1328 / (b_ - 3.4); // the inverse of the paper's
  quick_ = 0.9277 - 3.6224 / (b_ - 2);
}

double Poisson::operator()(Chain chain) const {
  for (;; chain.next()) {
    const double u = unit(chain[0]) - 0.5, v = unit(chain[1]), us = 0.5 - std::abs(u);
    const double k = std::floor((2 * a_ / us + b_) * u + mean_ + 0.43);
    if (us >= 0.07 && v <= quick_)
      return k;
    if (k < 0 || (us < 0.013 && v > us))
      continue;
    if (std::log(v * alpha_ / (a_ / (us * us) + b_)) <= log_poisson(k, mean_))
      return k;
  }
}

Binomial::Binomial(double n, double p) : n_(n), p_(p) {
  const double deviation = std::sqrt(n * p * (1 - p));
  b_ = 1.15 + 2.53 * deviation;
  a_ = -0.0873 + 0.0248 * b_ + 0.01 * p;
  c_ = n * p + 0.5;
  alpha_ = (2.83 + 5.1 / b_) * deviation;
  quick_ = 0.92 - 4.2 / b_;
  at_mode_ = log_probability(std::floor((n + 1) * p));
}

double Binomial::log_probability(double k) const {
  if (k == 0)
    return n_ * std::log1p(-p_);
  if (k == n_)
    return n_ * std::log(p_);
  return stirling_error(n_) - stirling_error(k) - stirling_error(n_ - k) - deviance(k, n_ * p_) -
         deviance(n_ - k, n_ * (1 - p_)) - 0.5 * std::log(2 * std::numbers::pi * k * (1 - k / n_));
}

double Binomial::operator()(Chain chain) const {
  for (;; chain.next()) {
    const double u = unit(chain[0]) - 0.5, v = unit(chain[1]), us = 0.5 - std::abs(u);
    const double k = std::floor((2 * a_ / us + b_) * u + c_);
    if (us >= 0.07 && v <= quick_)
      return k;
    if (k < 0 || k > n_)
      continue;
    if (std::log(v * alpha_ / (a_ / (us * us) + b_)) <= log_probability(k) - at_mode_)
      return k;
  }
}

Gamma::Gamma(double shape) : shape(shape), d((shape < 1 ? shape + 1 : shape) - 1.0 / 3), c(1 / std::sqrt(9 * d)) {}

double Gamma::rejected(double x, double u, Chain chain) const {
  for (;;) {
    const double root = 1 + c * x, v = root * root * root;
    if (root > 0 && std::log(u + 0x1p-54) < 0.5 * x * x + d * (1 - v + std::log(v)))
      return d * v;
    chain.next();
    const uint64_t words[2] = {chain[0], chain[1]};
    double normal[2];
    baseline_kernels().normal(1, words, normal, 0, 1);
    x = normal[0];
    chain.next();
    u = unit(chain[0]);
  }
}

} // namespace perigee::random
