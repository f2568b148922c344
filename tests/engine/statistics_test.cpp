// Correlation, bins and searches: every set of kernels against plain loops, odd lengths, misaligned inputs, sentinels.
#include <catch2/catch.hpp>

#include "array/dispatch.hpp"
#include "array/kernels.hpp"
#include "array/statistics.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace perigee;
using namespace perigee::array;

namespace {

std::vector<const Kernels *> kernel_sets() {
  std::vector<const Kernels *> sets{&baseline_kernels()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2"))
    sets.push_back(&avx2_kernels());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw"))
    sets.push_back(&avx512_kernels());
#endif
  return sets;
}

// The kernel's order: blocks of 512 taps, each summed up from 0.
template <class T> T correlation(const T *a, const T *v, int64_t m) {
  T total = 0;
  for (int64_t j0 = 0; j0 < m; j0 += 512) {
    T sum = 0;
    for (int64_t j = j0; j < std::min(j0 + 512, m); ++j)
      sum = static_cast<T>(sum + static_cast<T>(1U * a[j] * v[j]));
    total = j0 == 0 ? sum : static_cast<T>(total + sum);
  }
  return total;
}

template <class T> void test_correlation(int32_t dtype) {
  std::mt19937_64 generator(11);
  const T sentinel = 77;
  for (const Kernels *kernels : kernel_sets())
    for (const int64_t m : {1, 2, 3, 16, 513, 1030})
      for (const int64_t n : {0, 1, 7, 8, 33, 64, 129, 600}) {
        std::vector<T> a(n + m + 1), v(m + 1), out(n + 3, sentinel);
        for (auto *values : {&a, &v})
          for (T &x : *values)
            x = std::is_integral_v<T> ? static_cast<T>(generator())
                                      : static_cast<T>(std::normal_distribution<double>()(generator));
        kernels->correlate[dtype](n, a.data() + 1, m, v.data() + 1, out.data() + 1); // misaligned
        INFO(kernels->name << " " << dtype_name(dtype) << " n " << n << " m " << m);
        bool same = out[0] == sentinel && out[n + 1] == sentinel && out[n + 2] == sentinel;
        for (int64_t i = 0; i < n; ++i)
          same &= out[i + 1] == correlation(a.data() + 1 + i, v.data() + 1, m);
        CHECK(same);
      }
}

} // namespace

TEST_CASE("correlation kernels give the bits of a plain loop", "[array][statistics]") {
  test_correlation<double>(PG_FLOAT64);
  test_correlation<float>(PG_FLOAT32);
  test_correlation<uint8_t>(PG_UINT8);
  test_correlation<uint16_t>(PG_INT16);
  test_correlation<uint32_t>(PG_UINT32);
  test_correlation<uint64_t>(PG_INT64);
}

TEST_CASE("bins of NaN, infinities and what is beyond the range are outside", "[array][statistics]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> x{nan, -inf, inf, -1.0, 0.0, 0.25, 0.9999, 1.0, 1e300, -1e300, -nan, 0.5, 0.75};
  const std::vector<int32_t> want{9, 9, 9, 9, 0, 1, 3, 4, 9, 9, 9, 2, 3};
  for (const Kernels *kernels : kernel_sets())
    for (std::size_t n = 0; n <= x.size(); ++n) {
      std::vector<int32_t> index(x.size() + 1, -5);
      kernels->bins(static_cast<int64_t>(n), x.data(), 0, 1, 4, 9, index.data());
      INFO(kernels->name << " n " << n);
      CHECK(std::equal(want.begin(), want.begin() + n, index.begin()));
      CHECK(index[n] == -5);
    }
}

TEST_CASE("searches find what a plain loop finds", "[array][statistics]") {
  std::mt19937_64 generator(3);
  for (const int64_t n : {0, 1, 2, 3, 8, 1000})
    for (const int64_t count : {0, 1, 7, 8, 9, 500}) {
      const Array sorted = create(PG_INT32, std::array{n}), values = create(PG_INT32, std::array{count});
      for (int64_t i = 0; i < n; ++i)
        sorted.data<int32_t>()[i] = static_cast<int32_t>(generator() % 100);
      for (int64_t i = 0; i < count; ++i)
        values.data<int32_t>()[i] = static_cast<int32_t>(generator() % 102) - 1;
      std::sort(sorted.data<int32_t>(), sorted.data<int32_t>() + n);
      if (n == 8 || count == 500) // ascending values are searched in another way
        std::sort(values.data<int32_t>(), values.data<int32_t>() + count);
      for (const int32_t right : {0, 1}) {
        Array found;
        int32_t collect = 0;
        REQUIRE(pg_array_searchsorted(found.get(), &collect, sorted.get(), values.get(), right) == PG_OK);
        bool same = true;
        for (int64_t i = 0; i < count; ++i) {
          int64_t before = 0;
          for (int64_t k = 0; k < n; ++k)
            before += right ? sorted.data<int32_t>()[k] <= values.data<int32_t>()[i]
                            : sorted.data<int32_t>()[k] < values.data<int32_t>()[i];
          same &= found.data<int64_t>()[i] == before + 1;
        }
        CHECK(same);
      }
    }
}
