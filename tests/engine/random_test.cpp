#include "array/array.hpp"
#include "core/threads.hpp"
#include "random/distributions.hpp"
#include "random/random.hpp"

#include <Random123/boxmuller.hpp>
#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <vector>

using namespace perigee;
using namespace perigee::random;

namespace {

std::vector<const Kernels *> all_kernels() {
  std::vector<const Kernels *> all{&baseline_kernels()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2"))
    all.push_back(&avx2_kernels());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    all.push_back(&avx512_kernels());
#endif
  return all;
}

pg_random generator(uint32_t seed) {
  pg_random g;
  pg_random_init(&g, seed, 0x1234567, 89, 0xfedcba98);
  return g;
}

// What `make` writes at a misaligned place, with a check that it writes nothing else.
template <class T, class Make> std::vector<T> guarded(int64_t n, Make make) {
  std::vector<T> memory(static_cast<std::size_t>(n) + 3, T(77));
  make(memory.data() + 1);
  CHECK(memory[0] == T(77));
  CHECK(memory[static_cast<std::size_t>(n) + 1] == T(77));
  return {memory.begin() + 1, memory.begin() + 1 + n};
}

template <class T> bool same_bits(const std::vector<T> &a, const std::vector<T> &b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

} // namespace

TEST_CASE("Philox4x32-10 gives Random123's known answers", "[random]") {
  // From kat_vectors of Random123 1.14.
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint32_t ones = 0xffffffff;
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("every instruction set gives the same bits", "[random]") {
  const pg_random g = generator(5);
  const Kernels &reference = baseline_kernels();
  for (const Kernels *k : all_kernels()) {
    INFO(k->name);
    for (const uint64_t first : {uint64_t{0}, uint64_t{7}, uint64_t{0xfffffff0}, uint64_t{0x3fffffffffffff00}})
      for (int64_t n = 0; n < 140; n += n < 70 ? 1 : 23)
        for (const Purpose purpose : {Purpose::uniform, Purpose::normal, Purpose::retry}) {
          const auto bits = [&](const Kernels &with) {
            return guarded<uint64_t>(2 * n, [&](uint64_t *out) { with.bits(g, purpose, first, n, out); });
          };
          CHECK(same_bits(bits(*k), bits(reference)));
        }

    // Ordinary words, and those at the ends of the range.
    std::vector<uint64_t> words(4096);
    reference.bits(g, Purpose::uniform, 99, 2048, words.data());
    const uint64_t edges[] = {0,
                              1,
                              2047,
                              2048,
                              uint64_t{1} << 63,
                              (uint64_t{1} << 63) - 1,
                              ~uint64_t{0},
                              ~uint64_t{0} - 1024,
                              0x00000000ffffffff,
                              0xffffffff00000000,
                              0x8000000000000400,
                              0x4000000000000000};
    std::copy(std::begin(edges), std::end(edges), words.begin() + 16);
    std::copy(std::begin(edges), std::end(edges), words.begin() + 29); // as the other word of a pair
    for (const int64_t n : {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 511, 1024}) {
      const auto compare = [&]<class T>(T, auto make) {
        CHECK(same_bits(guarded<T>(2 * n, [&](T *out) { make(*k, out); }),
                        guarded<T>(2 * n, [&](T *out) { make(reference, out); })));
      };
      const uint64_t *w = words.data() + 1;
      compare(1.0, [&](const Kernels &with, double *out) { with.uniform(2 * n, w, out, 0, 1, 1 - 0x1p-53); });
      compare(1.0, [&](const Kernels &with, double *out) { with.uniform(2 * n, w, out, -3.7, 0.1, -3.61); });
      compare(1.f,
              [&](const Kernels &with, float *out) { with.uniform_float(2 * n, w, out, -1, 2.5, -1, 1.4999999f); });
      compare(1.0, [&](const Kernels &with, double *out) { with.normal(n, w, out, 0.3, 1.7); });
      compare(1.0, [&](const Kernels &with, double *out) { with.exponential(2 * n, w, out, 0.7); });
      for (const uint32_t span : {1u, 7u, 1000003u, 0x80000001u, 0xffffffffu})
        compare(int64_t{}, [&](const Kernels &with, int64_t *out) {
          const bool suspicious = with.integers(2 * n, w, out, -5, span);
          uint64_t least = ~uint64_t{0}; // of the lower halves of the products
          for (int64_t i = 0; i < 2 * n; ++i) {
            least = std::min(least, w[i] * span);
            const unsigned __int128 product = static_cast<unsigned __int128>(w[i]) * span;
            CHECK(out[i] == static_cast<int64_t>(product >> 64) - 5);
          }
          CHECK(suspicious == (least < span));
        });
      std::vector<double> normals(2048), uniforms(2048);
      reference.normal(1024, words.data(), normals.data(), 0, 1);
      reference.uniform(2048, words.data() + 2048, uniforms.data(), 0, 1, 1);
      for (const double d : {2.0 / 3, 99.7}) // some with 1 + c x below 0
        compare(1.0, [&](const Kernels &with, double *out) {
          with.gamma(2 * n, normals.data(), uniforms.data(), out, d, 1 / std::sqrt(9 * d));
        });
    }
  }
}

TEST_CASE("normals and exponentials are those of their formulas", "[random]") {
  std::vector<uint64_t> words(200000);
  kernels().bits(generator(1), Purpose::normal, 0, 100000, words.data());
  words[0] = 0;
  words[1] = 0; // the longest normal there is
  words[3] = ~uint64_t{0};
  std::vector<double> normals(words.size()), waits(words.size());
  kernels().normal(100000, words.data(), normals.data(), 0, 1);
  kernels().exponential(200000, words.data(), waits.data(), 1);
  double worst = 0, worst_wait = 0;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    const r123::double2 pair = r123::boxmuller(words[i], words[i + 1]);
    worst = std::max({worst, std::abs(normals[i] - pair.x), std::abs(normals[i + 1] - pair.y)});
    const double wait = -std::log(r123::u01<double>(words[i]));
    worst_wait = std::max(worst_wait, std::abs(waits[i] - wait) / (wait + 1e-300));
  }
  CHECK(worst < 5e-15);
  CHECK(worst_wait < 5e-16);
  CHECK(std::abs(normals[0]) + std::abs(normals[1]) > 9);
  CHECK(waits[3] == 0); // and not -0
  CHECK(!std::signbit(waits[3]));
}

TEST_CASE("an array holds what single draws give, for any number of threads", "[random]") {
  struct Case {
    int32_t distribution, dtype;
    double a, b;
  };
  const std::vector<Case> cases{
      {PG_RANDOM_UNIFORM, PG_FLOAT64, -2, 3},        {PG_RANDOM_INTEGERS, PG_INT64, -1000, 123456789},
      {PG_RANDOM_INTEGERS, PG_UINT8, 3, 200},        {PG_RANDOM_INTEGERS, PG_INT64, 0, 0x1.8p62},
      {PG_RANDOM_NORMAL, PG_FLOAT64, 1, 2},          {PG_RANDOM_EXPONENTIAL, PG_FLOAT64, 3, 0},
      {PG_RANDOM_GAMMA, PG_FLOAT64, 1, 2},           {PG_RANDOM_GAMMA, PG_FLOAT64, 2.5, 2},
      {PG_RANDOM_GAMMA, PG_FLOAT64, 0.3, 1},         {PG_RANDOM_POISSON, PG_INT64, 3.5, 0},
      {PG_RANDOM_POISSON, PG_INT64, 0, 0},           {PG_RANDOM_POISSON, PG_INT32, 70, 0},
      {PG_RANDOM_POISSON, PG_INT64, 1e15, 0},        {PG_RANDOM_BINOMIAL, PG_INT64, 10, 0.3},
      {PG_RANDOM_BINOMIAL, PG_INT64, 10, 0.9},       {PG_RANDOM_BINOMIAL, PG_INT64, 1000, 0.4},
      {PG_RANDOM_BINOMIAL, PG_INT64, 1000, 0.97},    {PG_RANDOM_BINOMIAL, PG_INT64, 0x1p53, 0.5},
      {PG_RANDOM_BINOMIAL, PG_INT64, 0x1p53, 1e-16}, {PG_RANDOM_BINOMIAL, PG_INT64, 5, 1},
      {PG_RANDOM_BINOMIAL, PG_INT64, 0, 0.5},
  };
  const int before = core::thread_count();
  const int64_t n = 70001;
  for (const Case &c : cases) {
    INFO(c.distribution << " " << c.a << " " << c.b);
    std::vector<double> expected;
    for (const int threads : {1, 2, 5}) {
      core::set_thread_count(threads);
      pg_random g = generator(9), single = generator(9);
      pg_random_draw(&g, PG_RANDOM_NORMAL, 0, 1); // from an odd position
      pg_random_draw(&single, PG_RANDOM_NORMAL, 0, 1);
      array::Array out = array::create(c.dtype, std::span(&n, 1), false);
      REQUIRE(pg_random_fill(&g, out.get(), c.distribution, c.a, c.b) == PG_OK);
      out = array::copy(*out, PG_FLOAT64);
      const std::vector<double> values(out.data<double>(), out.data<double>() + n);
      if (threads == 1) {
        expected = values;
        std::size_t wrong = 0;
        for (int64_t i = 0; i < n; ++i)
          wrong += pg_random_draw(&single, c.distribution, c.a, c.b) != values[static_cast<std::size_t>(i)];
        CHECK(wrong == 0);
        // And both stand at the same place afterwards.
        CHECK(pg_random_draw(&single, PG_RANDOM_UNIFORM, 0, 1) == pg_random_draw(&g, PG_RANDOM_UNIFORM, 0, 1));
      } else {
        CHECK(same_bits(values, expected));
      }
    }
  }
  core::set_thread_count(before);
}
