#include "random/random.hpp"

#include "array/array.hpp"
#include "core/status.hpp"
#include "core/threads.hpp"
#include "random/distributions.hpp"

#include <Random123/philox.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace perigee::random {

Block philox(const Block &counter, const std::array<uint32_t, 2> &key) {
  const r123::Philox4x32::ctr_type c = {{counter[0], counter[1], counter[2], counter[3]}};
  const r123::Philox4x32::key_type k = {{key[0], key[1]}};
  const r123::Philox4x32::ctr_type out = r123::Philox4x32()(c, k);
  return {out[0], out[1], out[2], out[3]};
}

Block block(const pg_random &g, Purpose purpose, uint64_t index) {
  return philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32) | static_cast<uint32_t>(purpose),
                 g._nonce[0], g._nonce[1]},
                {g._key[0], g._key[1]});
}

namespace {

constexpr int64_t ahead = sizeof(pg_random::_uniform) / sizeof(double);
constexpr int64_t piece = 512;   // numbers made at a time, in the first-level cache
constexpr int64_t grain = 32768; // numbers that are worth a thread; a multiple of piece

uint64_t slot(const pg_random &g) {
  return g._base + static_cast<uint64_t>(g._next);
}

void seek(pg_random &g, uint64_t position) {
  const uint64_t offset = position - g._base;
  if (offset < static_cast<uint64_t>(ahead)) {
    g._next = static_cast<int32_t>(offset);
  } else { // wraps below slot 64, which modulo arithmetic undoes in slot()
    g._base = position - static_cast<uint64_t>(ahead);
    g._next = static_cast<int32_t>(ahead);
  }
}

uint64_t take(pg_random &g, int64_t count = 1) {
  const uint64_t position = slot(g);
  seek(g, position + static_cast<uint64_t>(count));
  return position;
}

// The uniform bits of slots first, first + 1, ...
void slot_bits(const Kernels &k, const pg_random &g, uint64_t first, int64_t count, uint64_t *words) {
  if (count > 0 && first & 1) {
    *words++ = half(block(g, Purpose::uniform, first >> 1), 1);
    ++first;
    --count;
  }
  k.bits(g, Purpose::uniform, first >> 1, count >> 1, words);
  if (count & 1)
    words[count - 1] = half(block(g, Purpose::uniform, (first + static_cast<uint64_t>(count)) >> 1), 0);
}

// An unbiased integer in [0, span), span 0 meaning 2^64: Lemire, "Fast random integer generation in an interval",
// TOMACS 2019. Rejected bits are replaced from the slot's chain.
uint64_t bounded(const pg_random &g, uint64_t position, uint64_t bits, uint64_t span) {
  if (span == 0)
    return bits;
  __extension__ typedef unsigned __int128 uint128;
  uint128 product = static_cast<uint128>(bits) * span;
  if (static_cast<uint64_t>(product) < span) {
    const uint64_t threshold = -span % span;
    for (Chain chain(g, position); static_cast<uint64_t>(product) < threshold; chain.next())
      product = static_cast<uint128>(chain[0]) * span;
  }
  return static_cast<uint64_t>(product >> 64);
}

// ------------------------------------------------------------------------------------------------- distributions ----
// Each has `make(k, g, first, n, out)`: the draws of slots first to first + n - 1, n at most `piece`, to double, and
// possibly faster ways to other types. What an object holds is computed once a fill.

struct Uniform {
  double low, high;
  double last = std::nextafter(high, low);
  void make(const Kernels &k, const pg_random &g, uint64_t first, int64_t n, double *out) const {
    uint64_t words[piece];
    slot_bits(k, g, first, n, words);
    k.uniform(n, words, out, low, high - low, last);
  }
  void make(const Kernels &k, const pg_random &g, uint64_t first, int64_t n, float *out) const {
    uint64_t words[piece];
    slot_bits(k, g, first, n, words);
    float start = static_cast<float>(low), end = static_cast<float>(high);
    if (start < low)
      start = std::nextafter(start, std::numeric_limits<float>::infinity());
    if (end >= high)
      end = std::nextafter(end, -std::numeric_limits<float>::infinity());
    k.uniform_float(n, words, out, low, high - low, start, end);
  }
};

struct Integers {
  Integers(int64_t low, int64_t high) : low(low), span(static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1) {}
  int64_t low;
  uint64_t span;
  void make(const Kernels &k, const pg_random &g, uint64_t first, int64_t n, int64_t *out) const {
    uint64_t words[piece];
    slot_bits(k, g, first, n, words);
    if (span != 0 && span <= std::numeric_limits<uint32_t>::max() &&
        !k.integers(n, words, out, low, static_cast<uint32_t>(span)))
      return;
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t offset = bounded(g, first + static_cast<uint64_t>(i), words[i], span);
      out[i] = static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
    }
  }
  template <class T> void make(const Kernels &k, const pg_random &g, uint64_t first, int64_t n, T *out) const {
    int64_t values[piece];
    make(k, g, first, n, values);
    for (int64_t i = 0; i < n; ++i)
      out[i] = static_cast<T>(values[i]);
  }
};

struct Normal {
  double mean, deviation;
  void make(const Kernels &k, const pg_random &g, uint64_t first, int64_t n, double *out) const {
    uint64_t words[2 * piece]; // a pair of slots shares a block
    double pair[2];
    if (n > 0 && first & 1) {
      k.bits(g, Purpose::normal, first >> 1, 1, words);
      k.normal(1, words, pair, mean, deviation);
      *out++ = pair[1];
      ++first;
      --n;
    }
    k.bits(g, Purpose::normal, first >> 1, (n + 1) >> 1, words);
    k.normal(n >> 1, words, out, mean, deviation);
    if (n & 1) {
      k.normal(1, words + n - 1, pair, mean, deviation);
      out[n - 1] = pair[0];
    }
  }
};

struct Exponential {
  double scale;
  void make(const Kernels &k, const pg_random &g, uint64_t first, int64_t n, double *out) const {
    uint64_t words[piece];
    slot_bits(k, g, first, n, words);
    k.exponential(n, words, out, scale);
  }
};

struct GammaDraws {
  Gamma gamma;
  double scale;
  void make(const Kernels &k, const pg_random &g, uint64_t first, int64_t n, double *out) const {
    if (gamma.shape == 0 || scale == 0) {
      std::fill_n(out, n, 0);
      return;
    }
    double normals[piece], uniforms[piece];
    Normal{0, 1}.make(k, g, first, n, normals);
    Uniform{0, 1}.make(k, g, first, n, uniforms);
    k.gamma(n, normals, uniforms, out, gamma.d, gamma.c);
    for (int64_t i = 0; i < n; ++i)
      if (out[i] < 0)
        out[i] = gamma.rejected(normals[i], uniforms[i], Chain(g, first + static_cast<uint64_t>(i)));
    if (gamma.shape < 1) { // a gamma of shape + 1 times u^(1 / shape), u from the first block of the chain
      uint64_t words[2 * piece];
      k.bits(g, Purpose::retry, first, n, words);
      for (int64_t i = 0; i < n; ++i)
        words[i] = words[2 * i];
      k.exponential(n, words, uniforms, 1);
      for (int64_t i = 0; i < n; ++i)
        out[i] *= std::exp(-uniforms[i] / gamma.shape);
    }
    for (int64_t i = 0; i < n; ++i)
      out[i] *= scale;
  }
};

// By inversion, of one uniform number each.
template <class Terms> struct Inverted {
  Terms terms;
  InverseTable table{terms};
  bool mirrored = false; // n - draw
  double n = 0;
  template <class T> void make(const Kernels &k, const pg_random &g, uint64_t first, int64_t count, T *out) const {
    uint64_t words[piece];
    slot_bits(k, g, first, count, words);
    for (int64_t i = 0; i < count; ++i) {
      const auto value = table(unit(words[i]));
      out[i] = mirrored ? static_cast<T>(n - static_cast<double>(value)) : static_cast<T>(value);
    }
  }
};

// By rejection, from the chain of each slot.
template <class Sampler> struct Rejected {
  Sampler sampler;
  bool mirrored = false;
  double n = 0;
  template <class T> void make(const Kernels &k, const pg_random &g, uint64_t first, int64_t count, T *out) const {
    uint64_t words[2 * piece];
    k.bits(g, Purpose::retry, first, count, words);
    for (int64_t i = 0; i < count; ++i) {
      const double value = sampler(Chain(g, words + 2 * i));
      out[i] = static_cast<T>(mirrored ? n - value : value);
    }
  }
};

struct Constant {
  double value;
  template <class T> void make(const Kernels &, const pg_random &, uint64_t, int64_t n, T *out) const {
    std::fill_n(out, n, static_cast<T>(value));
  }
};

template <class Distribution, class T>
concept MakesDirectly = requires(const Distribution &d, const Kernels &k, const pg_random &g, T *out) {
  d.make(k, g, uint64_t{}, int64_t{}, out);
};

template <class T, class Distribution> void fill(const Distribution &d, const pg_random &g, pg_array &out) {
  const uint64_t first = slot(g);
  const Kernels &k = kernels();
  T *values = static_cast<T *>(out._data);
  core::parallel_ranges(out._size, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += piece) {
      const int64_t n = std::min(piece, end - i);
      const uint64_t at = first + static_cast<uint64_t>(i);
      if constexpr (MakesDirectly<Distribution, T>) {
        d.make(k, g, at, n, values + i);
      } else {
        double buffer[piece];
        d.make(k, g, at, n, buffer);
        k.narrow(n, buffer, values + i);
      }
    }
  });
}

[[noreturn]] void wrong_dtype(const pg_array &out) {
  throw InternalError(std::string("this distribution is not made in ") + array::dtype_name(out._dtype));
}

struct Fill { // every kind of number for integers, four for counts, two for the continuous
  const pg_random &g;
  pg_array &out;
  void operator()(const Integers &d) const {
    switch (out._dtype) {
    case PG_BOOL:
    case PG_UINT8:
      return fill<uint8_t>(d, g, out);
    case PG_INT8:
      return fill<int8_t>(d, g, out);
    case PG_INT16:
      return fill<int16_t>(d, g, out);
    case PG_UINT16:
      return fill<uint16_t>(d, g, out);
    case PG_INT32:
      return fill<int32_t>(d, g, out);
    case PG_UINT32:
      return fill<uint32_t>(d, g, out);
    case PG_INT64:
    case PG_UINT64:
      return fill<int64_t>(d, g, out);
    case PG_FLOAT32:
      return fill<float>(d, g, out);
    case PG_FLOAT64:
      return fill<double>(d, g, out);
    default:
      wrong_dtype(out);
    }
  }
  template <class Distribution> void counts(const Distribution &d) const {
    switch (out._dtype) {
    case PG_INT32:
      return fill<int32_t>(d, g, out);
    case PG_INT64:
      return fill<int64_t>(d, g, out);
    case PG_FLOAT32:
      return fill<float>(d, g, out);
    case PG_FLOAT64:
      return fill<double>(d, g, out);
    default:
      wrong_dtype(out);
    }
  }
  template <class Terms> void operator()(const Inverted<Terms> &d) const { counts(d); }
  void operator()(const Rejected<Poisson> &d) const { counts(d); }
  void operator()(const Rejected<Binomial> &d) const { counts(d); }
  void operator()(const Constant &d) const { counts(d); }
  template <class Distribution> void operator()(const Distribution &d) const {
    if (out._dtype == PG_FLOAT64)
      fill<double>(d, g, out);
    else if (out._dtype == PG_FLOAT32)
      fill<float>(d, g, out);
    else
      wrong_dtype(out);
  }
};

struct Single { // one draw; the same numbers without vectors and tables
  const pg_random &g;
  template <class Distribution> double operator()(const Distribution &d) const {
    double value;
    d.make(baseline_kernels(), g, slot(g), 1, &value);
    return value;
  }
};

// Calls use(distribution). single: the caller wants one number, for which no table is made.
template <bool single, class Use> auto with(const pg_random &g, int32_t which, double a, double b, Use use) {
  const auto small = [&](auto terms, bool mirrored, double n) {
    if constexpr (single) {
      const uint64_t s = slot(g);
      const double k = static_cast<double>(invert(terms, unit(half(block(g, Purpose::uniform, s >> 1), s))));
      return use(Constant{mirrored ? n - k : k});
    } else {
      return use(Inverted<decltype(terms)>{terms, InverseTable(terms), mirrored, n});
    }
  };
  switch (which) {
  case PG_RANDOM_INTEGERS:
    return use(Integers{static_cast<int64_t>(a), static_cast<int64_t>(b)});
  case PG_RANDOM_NORMAL:
    return use(Normal{a, b});
  case PG_RANDOM_EXPONENTIAL:
    return use(Exponential{a});
  case PG_RANDOM_GAMMA:
    if (a == 1)
      return use(Exponential{b});
    return use(GammaDraws{Gamma(a), b});
  case PG_RANDOM_POISSON:
    if (a < inversion_mean)
      return small(PoissonTerms(a), false, 0);
    return use(Rejected<Poisson>{Poisson(a)});
  case PG_RANDOM_BINOMIAL: {
    const bool mirrored = b > 0.5;
    const double p = mirrored ? 1 - b : b;
    if (a == 0 || p == 0)
      return use(Constant{mirrored ? a : 0});
    if (a * p < inversion_mean)
      return small(BinomialTerms(a, p), mirrored, a);
    return use(Rejected<Binomial>{Binomial(a, p), mirrored, a});
  }
  default:
    return use(Uniform{a, b});
  }
}

// ------------------------------------------------------------------------------------------- orders and choices ------

// Calls use(i, number in [0, remaining)) for remaining = count, count - 1, ..., 1 or the first `draws` of them, with
// one slot each. Before them prefetch(i, number) of the next few hundred, since the places are all over the memory.
template <class Prefetch, class Use>
void descending(pg_random &g, int64_t count, int64_t draws, Prefetch prefetch, Use use) {
  const Kernels &k = kernels();
  uint64_t words[piece];
  for (int64_t done = 0; done < draws;) {
    const int64_t n = std::min(piece, draws - done);
    const uint64_t first = take(g, n);
    slot_bits(k, g, first, n, words);
    for (int64_t i = 0; i < n; ++i) {
      words[i] = bounded(g, first + static_cast<uint64_t>(i), words[i], static_cast<uint64_t>(count - done - i));
      prefetch(done + i, static_cast<int64_t>(words[i]));
    }
    for (int64_t i = 0; i < n; ++i, ++done)
      use(done, static_cast<int64_t>(words[i]));
  }
}

template <class T> void shuffle_elements(pg_random &g, const pg_array &a) {
  T *values = static_cast<T *>(a._data);
  const int64_t count = a._shape[0], stride = a._strides[0];
  descending(
      g, count, count - 1, [&](int64_t, int64_t other) { __builtin_prefetch(values + other * stride, 1); },
      [&](int64_t done, int64_t other) { std::swap(values[(count - 1 - done) * stride], values[other * stride]); });
}

// Entries that are arrays themselves: swaps them element by element, along the last axis at once where it is dense.
void shuffle_entries(pg_random &g, const pg_array &a) {
  const int64_t bytes = static_cast<int64_t>(array::element_size(a._dtype)), count = a._shape[0];
  const int last = a._ndim - 1;
  const bool dense = a._strides[last] == 1;
  const int64_t run = dense ? a._shape[last] * bytes : bytes;
  int64_t runs = 1; // of one entry
  for (int d = 1; d <= last; ++d)
    runs *= d == last && dense ? 1 : a._shape[d];
  if (a._size == 0)
    runs = 0;
  const auto swap_entries = [&](char *x, char *y) {
    int64_t at[array::max_dimensions] = {};
    int64_t offset = 0;
    for (int64_t r = 0; r < runs; ++r) {
      std::swap_ranges(x + offset * bytes, x + offset * bytes + run, y + offset * bytes);
      for (int d = dense ? last - 1 : last; d >= 1; --d) {
        offset += a._strides[d];
        if (++at[d] < a._shape[d])
          break;
        offset -= at[d] * a._strides[d];
        at[d] = 0;
      }
    }
  };
  char *data = static_cast<char *>(a._data);
  const int64_t stride = a._strides[0] * bytes;
  descending(
      g, count, count - 1, [&](int64_t, int64_t other) { __builtin_prefetch(data + other * stride, 1); },
      [&](int64_t done, int64_t other) {
        if (other != count - 1 - done)
          swap_entries(data + (count - 1 - done) * stride, data + other * stride);
      });
}

// What stands at the places of 1, 2, 3, ... where something has moved: a hash table of fixed size, without removal.
// (std::unordered_map takes four times as long.)
class Moved {
 public:
  explicit Moved(int64_t count)
      : shift_(64 - std::bit_width(static_cast<uint64_t>(2 * count + 1))), entries_(std::size_t{1} << (64 - shift_)) {}
  void prefetch(int64_t place) const { __builtin_prefetch(&entries_[start(place)], 1); }
  int64_t at(int64_t place) const {
    const Entry &e = entries_[find(place)];
    return e.value == 0 ? place + 1 : e.value;
  }
  int64_t &operator[](int64_t place) {
    Entry &e = entries_[find(place)];
    if (e.value == 0)
      e = {place, place + 1};
    return e.value;
  }

 private:
  struct Entry {
    int64_t place, value; // 0: free
  };
  std::size_t start(int64_t place) const { // the upper bits of a product with 2^64 over the golden ratio
    return static_cast<std::size_t>(static_cast<uint64_t>(place) * 0x9e3779b97f4a7c15u >> shift_);
  }
  std::size_t find(int64_t place) const {
    std::size_t i = start(place);
    while (entries_[i].value != 0 && entries_[i].place != place)
      i = (i + 1) & (entries_.size() - 1);
    return i;
  }
  int shift_;
  std::vector<Entry> entries_;
};

// The first entries of a shuffled 1 .. n. Where few are wanted of many, only those that moved are kept.
void sample(pg_random &g, int64_t *out, int64_t wanted, int64_t n) {
  if (wanted > n / 16) {
    std::vector<int64_t> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), int64_t{1});
    int64_t *values = all.data();
    descending(
        g, n, wanted, [&](int64_t done, int64_t other) { __builtin_prefetch(values + done + other, 1); },
        [&](int64_t done, int64_t other) {
          std::swap(values[done], values[done + other]);
          out[done] = values[done];
        });
    return;
  }
  Moved moved(wanted);
  descending(
      g, n, wanted, [&](int64_t done, int64_t other) { moved.prefetch(done + other); },
      [&](int64_t done, int64_t other) {
        int64_t &value = moved[done + other];
        out[done] = value;
        if (other != 0)
          value = moved.at(done);
      });
}

void check_weights(const double *weights, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (!(weights[i] >= 0) || std::isinf(weights[i]))
      throw ArgumentError("choice: weight " + std::to_string(i + 1) + " is " + std::to_string(weights[i]) +
                          "; weights are finite and not negative");
    sum += weights[i];
  }
  if (!(sum > 0) || std::isinf(sum))
    throw ArgumentError("choice: the weights must have a positive, finite sum");
}

void choose_again(pg_random &g, int64_t *out, int64_t wanted, const double *weights, int64_t n) {
  std::vector<double> sums(static_cast<std::size_t>(n));
  std::partial_sum(weights, weights + n, sums.begin());
  const double total = sums.back();
  const int64_t last = std::upper_bound(sums.begin(), sums.end(), std::nextafter(total, 0)) - sums.begin();
  const Kernels &k = kernels();
  const uint64_t first = take(g, wanted);
  core::parallel_ranges(wanted, grain / 8, [&](int64_t begin, int64_t end) {
    uint64_t words[piece];
    for (int64_t i = begin; i < end; i += piece) {
      const int64_t count = std::min(piece, end - i);
      slot_bits(k, g, first + static_cast<uint64_t>(i), count, words);
      for (int64_t j = 0; j < count; ++j)
        out[i + j] =
            std::min(last, std::upper_bound(sums.begin(), sums.end(), unit(words[j]) * total) - sums.begin()) + 1;
    }
  });
}

// Efraimidis and Spirakis ("Weighted random sampling with a reservoir", 2006): the entries whose exponential waiting
// times, at rates given by the weights, are shortest, in their order: as drawing one after the other does.
void choose_once(pg_random &g, int64_t *out, int64_t wanted, const double *weights, int64_t n) {
  std::vector<std::pair<double, int64_t>> times(static_cast<std::size_t>(n));
  const Kernels &k = kernels();
  const uint64_t first = take(g, n);
  int64_t possible = 0;
  double drawn[piece];
  for (int64_t i = 0; i < n; i += piece) {
    const int64_t count = std::min(piece, n - i);
    Exponential{1}.make(k, g, first + static_cast<uint64_t>(i), count, drawn);
    for (int64_t j = i; j < i + count; ++j)
      if (weights[j] > 0)
        times[static_cast<std::size_t>(possible++)] = {drawn[j - i] / weights[j], j + 1};
  }
  if (possible < wanted)
    throw ArgumentError("choice: " + std::to_string(wanted) + " entries are wanted without replacement, but only " +
                        std::to_string(possible) + " have a positive weight");
  std::partial_sort(times.begin(), times.begin() + wanted, times.begin() + possible);
  for (int64_t i = 0; i < wanted; ++i)
    out[i] = times[static_cast<std::size_t>(i)].second;
}

} // namespace
} // namespace perigee::random

using namespace perigee;
using namespace perigee::random;

void pg_random_init(pg_random *generator, uint32_t k0, uint32_t k1, uint32_t k2, uint32_t k3) {
  std::memset(generator, 0, sizeof *generator);
  generator->_key[0] = k0;
  generator->_key[1] = k1;
  generator->_nonce[0] = k2;
  generator->_nonce[1] = k3;
  generator->_base = -static_cast<uint64_t>(ahead);
  generator->_next = static_cast<int32_t>(ahead);
}

void pg_random_stream(const pg_random *generator, uint64_t number, pg_random *stream) {
  const Block b = block(*generator, Purpose::stream, number);
  pg_random_init(stream, b[0], b[1], b[2], b[3]);
}

void pg_random_refill(pg_random *generator) {
  pg_random &g = *generator;
  g._base = slot(g);
  g._next = 0;
  Uniform{0, 1}.make(kernels(), g, g._base, ahead, g._uniform);
}

double pg_random_draw(pg_random *generator, int32_t distribution, double a, double b) {
  pg_random &g = *generator;
  if (distribution == PG_RANDOM_UNIFORM) { // as the buffer has it
    if (g._next == ahead)
      pg_random_refill(generator);
    const double value = a + (b - a) * g._uniform[g._next++];
    return value < b ? value : std::nextafter(b, a);
  }
  const double value = with<true>(g, distribution, a, b, Single{g});
  take(g);
  return value;
}

int32_t pg_random_fill(pg_random *generator, pg_array *out, int32_t distribution, double a, double b) {
  return guard([&] {
    with<false>(*generator, distribution, a, b, Fill{*generator, *out});
    take(*generator, out->_size);
    array::describe_operation("random fill", 0, {out});
  });
}

int32_t pg_random_integers(pg_random *generator, pg_array *out, int64_t low, int64_t high) {
  return guard([&] {
    Fill{*generator, *out}(Integers{low, high});
    take(*generator, out->_size);
    array::describe_operation("random integers", 0, {out});
  });
}

int32_t pg_random_shuffle(pg_random *generator, const pg_array *array) {
  return guard([&] {
    if (array->_ndim == 0)
      throw ArgumentError("shuffle: an array of 0 dimensions has no order");
    if (array->_flags & PG_ARRAY_READONLY)
      throw ArgumentError("shuffle works in place, and this array is read-only");
    if (array->_ndim > 1)
      return shuffle_entries(*generator, *array);
    switch (array::element_size(array->_dtype)) {
    case 1:
      return shuffle_elements<uint8_t>(*generator, *array);
    case 2:
      return shuffle_elements<uint16_t>(*generator, *array);
    case 4:
      return shuffle_elements<uint32_t>(*generator, *array);
    case 8:
      return shuffle_elements<uint64_t>(*generator, *array);
    default:
      return shuffle_elements<std::pair<uint64_t, uint64_t>>(*generator, *array);
    }
  });
}

int32_t pg_random_permutation(pg_random *generator, pg_array *out) {
  return guard([&] {
    int64_t *values = static_cast<int64_t *>(out->_data);
    std::iota(values, values + out->_size, int64_t{1});
    shuffle_elements<uint64_t>(*generator, *out);
  });
}

int32_t pg_random_sample(pg_random *generator, pg_array *out, int64_t n) {
  return guard([&] { sample(*generator, static_cast<int64_t *>(out->_data), out->_size, n); });
}

int32_t pg_random_choose(pg_random *generator, pg_array *out, const pg_array *weights, int32_t replace) {
  return guard([&] {
    const double *w = static_cast<const double *>(weights->_data);
    check_weights(w, weights->_size);
    (replace ? choose_again : choose_once)(*generator, static_cast<int64_t *>(out->_data), out->_size, w,
                                           weights->_size);
  });
}
