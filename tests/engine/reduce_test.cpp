// Reductions against plain loops over the same elements, for every operation, dtype, set of axes and layout; and every
// set of kernels against the baseline's, bit for bit.
#include <algorithm>
#include <catch2/catch.hpp>

#include "array/reduce.hpp"
#include "array/reduce_kernels.hpp"
#include "core/threads.hpp"
#include "engine/array_helpers.hpp"

#include <cmath>
#include <cstring>
#include <limits>

using namespace perigee;
using namespace perigee::array;

namespace {

// The element at a flat row-major position of the result that is made of position `index` of a.
int64_t result_position(const pg_array &a, int64_t index, uint32_t axes) {
  int64_t position = 0, stride = 1;
  for (int i = a._ndim; i-- > 0;) {
    const int64_t at = index % a._shape[i];
    index /= a._shape[i];
    if (axes >> i & 1)
      continue;
    position += at * stride;
    stride *= a._shape[i];
  }
  return position;
}

double plain(int32_t op, const std::vector<double> &x, double ddof) {
  std::vector<double> kept;
  for (double v : x)
    if (op < PG_REDUCE_NANSUM || !std::isnan(v))
      kept.push_back(v);
  const auto n = static_cast<double>(kept.size());
  double sum = 0, product = 1, low = INFINITY, high = -INFINITY, nonzero = 0, squares = 0;
  for (double v : kept) {
    sum += v;
    product *= v;
    nonzero += v != 0;
    low = std::isnan(v) || std::isnan(low) ? NAN : std::min(low, v);
    high = std::isnan(v) || std::isnan(high) ? NAN : std::max(high, v);
  }
  for (double v : kept)
    squares += (v - sum / n) * (v - sum / n);
  if ((op == PG_REDUCE_NANVAR || op == PG_REDUCE_NANSTD) && n <= ddof)
    return NAN;
  switch (op) {
  case PG_REDUCE_SUM:
  case PG_REDUCE_NANSUM:
    return sum;
  case PG_REDUCE_PROD:
    return product;
  case PG_REDUCE_MEAN:
  case PG_REDUCE_NANMEAN:
    return sum / n;
  case PG_REDUCE_MIN:
  case PG_REDUCE_NANMIN:
    return low;
  case PG_REDUCE_MAX:
  case PG_REDUCE_NANMAX:
    return high;
  case PG_REDUCE_ANY:
    return nonzero > 0;
  case PG_REDUCE_ALL:
    return nonzero == n;
  case PG_REDUCE_COUNT_NONZERO:
    return nonzero;
  case PG_REDUCE_VAR:
  case PG_REDUCE_NANVAR:
    return squares / (n - ddof);
  default:
    return std::sqrt(squares / (n - ddof));
  }
}

std::vector<const ReduceKernels *> all_kernels() {
  std::vector<const ReduceKernels *> sets{&baseline_reduce_kernels()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2"))
    sets.push_back(&avx2_reduce_kernels());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw"))
    sets.push_back(&avx512_reduce_kernels());
#endif
  return sets;
}

// n elements of all sizes, of which `special` in a hundred are NaN, infinite or zeros of both signs.
std::vector<char> elements(int32_t dtype, int64_t n, int seed, int special) {
  std::mt19937_64 generator(static_cast<uint64_t>(seed));
  const auto size = element_size(dtype);
  std::vector<char> bytes(static_cast<std::size_t>(n) * size);
  visit(dtype, [&]<class T>(std::type_identity<T>) {
    for (int64_t i = 0; i < n; ++i) {
      T value{};
      if constexpr (std::is_same_v<T, bool>) {
        value = generator() % 8 != 0;
      } else if constexpr (std::is_integral_v<T>) {
        value = static_cast<T>(generator());
      } else if constexpr (std::is_floating_point_v<T>) {
        value = static_cast<T>(std::ldexp(static_cast<double>(generator() % 100000) - 50000, generator() % 20));
        const T odd[] = {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(), T(-0.0), T(0.0)};
        if (static_cast<int>(generator() % 100) < special)
          value = odd[generator() % 4];
      }
      std::memcpy(bytes.data() + static_cast<std::size_t>(i) * size, &value, size);
    }
  });
  return bytes;
}

bool same_bits(int32_t dtype, const char *x, const char *y) {
  double a = 0, b = 0;
  float c = 0, d = 0;
  const auto bytes = static_cast<std::size_t>(element_size(dtype));
  std::memcpy(&a, x, std::min(bytes, sizeof a));
  std::memcpy(&b, y, std::min(bytes, sizeof b));
  std::memcpy(&c, x, std::min(bytes, sizeof c));
  std::memcpy(&d, y, std::min(bytes, sizeof d));
  if (dtype == PG_FLOAT64 && a != a) // which NaN depends on the order of operands
    return b != b;
  if (dtype == PG_FLOAT32 && c != c)
    return d != d;
  return std::memcmp(x, y, element_size(dtype)) == 0;
}

} // namespace

TEST_CASE("reductions equal a plain loop over any axes and layout", "[reduce]") {
  int32_t collect = 0;
  for (int32_t dtype = 0; dtype < dtype_count; ++dtype)
    for (std::vector<int64_t> shape :
         std::vector<std::vector<int64_t>>{{6, 5, 4}, {1, 300, 3}, {3, 130, 2}, {200, 1, 30}, {2, 3, 1030}}) {
      Array a = make(dtype, shape);
      fill(a, dtype);
      if (is_float(dtype) || is_complex(dtype))
        put(*a, 17, NAN);
      for (const pg_array &view : {*a, reversed(a), transposed(a)})
        for (uint32_t axes = 0; axes < 8; ++axes)
          for (int32_t op = PG_REDUCE_SUM; op <= PG_REDUCE_NANSTD; ++op) {
            Array out;
            const double ddof = 0.5;
            REQUIRE(pg_array_reduce(out.get(), &collect, op, &view, static_cast<int32_t>(axes), 0, ddof) == PG_OK);
            std::vector<std::vector<double>> groups(static_cast<std::size_t>(out->_size));
            for (int64_t i = 0; i < view._size; ++i)
              groups[static_cast<std::size_t>(result_position(view, i, axes))].push_back(get(view, i));
            int wrong = 0;
            for (int64_t i = 0; i < out->_size; ++i) {
              const auto &group = groups[static_cast<std::size_t>(i)];
              if (op == PG_REDUCE_PROD && group.size() > 15)
                continue; // wraps, or overflows
              const double expected = plain(op, group, ddof), got = get(*out, i);
              const double tolerance = out->_dtype == PG_FLOAT32 || out->_dtype == PG_COMPLEX64 ? 1e-6 : 1e-13;
              if (std::isnan(expected) || std::isinf(expected))
                wrong += !std::isnan(got) && got != expected;
              else
                wrong += !(std::abs(got - expected) <= tolerance * std::abs(expected));
            }
            INFO(dtype_name(dtype) << " " << shape_text(view) << " axes " << axes << " op " << op);
            CHECK(wrong == 0);
          }
    }
}

TEST_CASE("sums are accurate: a million times 0.1, contiguous, strided and by columns", "[reduce]") {
  const int64_t n = 1000000;
  Array a = make(PG_FLOAT64, {n, 2});
  for (int64_t i = 0; i < 2 * n; ++i)
    a.data<double>()[i] = 0.1;
  double value;
  int32_t dtype, collect = 0;
  REQUIRE(pg_array_reduce_all(PG_REDUCE_SUM, a.get(), 0, &value, &dtype) == PG_OK);
  CHECK(dtype == PG_FLOAT64);
  CHECK(std::abs(value - 200000) < 1e-9); // one running sum is off by 5e-6
  Array out;
  REQUIRE(pg_array_reduce(out.get(), &collect, PG_REDUCE_SUM, a.get(), 1, 0, 0) == PG_OK);
  CHECK(std::abs(out.data<double>()[1] - 100000) < 1e-9);
  pg_array column = *a;
  column._ndim = 1;
  column._size = n;
  REQUIRE(pg_array_reduce_all(PG_REDUCE_SUM, &column, 0, &value, &dtype) == PG_OK);
  CHECK(std::abs(value - 100000) < 1e-9);
  Array narrow = copy(*a, PG_FLOAT32);
  float single;
  REQUIRE(pg_array_reduce_all(PG_REDUCE_SUM, narrow.get(), 0, &single, &dtype) == PG_OK);
  CHECK(dtype == PG_FLOAT32);
  CHECK(single == static_cast<float>(2.0 * n * static_cast<double>(0.1f))); // added up in float64, rounded once
}

TEST_CASE("sums and running sums keep the documented bounds of error", "[reduce]") {
  int32_t collect = 0;
  std::mt19937_64 generator(11);
  for (int64_t n : {3, 100, 1025, 40000, 300007}) {
    Array a = make(PG_FLOAT64, {n, 3});
    for (int64_t i = 0; i < 3 * n; ++i) // of many sizes and both signs
      a.data<double>()[i] =
          std::ldexp(std::normal_distribution<double>()(generator), static_cast<int>(generator() % 30));
    pg_array column = *a; // elements that are not adjacent
    column._ndim = 1;
    column._size = n;
    const Array line = contiguous(column);
    Array by_columns, running;
    double adjacent, strided;
    int32_t dtype;
    REQUIRE(pg_array_reduce(by_columns.get(), &collect, PG_REDUCE_SUM, a.get(), 1, 0, 0) == PG_OK);
    REQUIRE(pg_array_reduce_all(PG_REDUCE_SUM, line.get(), 0, &adjacent, &dtype) == PG_OK);
    REQUIRE(pg_array_reduce_all(PG_REDUCE_SUM, &column, 0, &strided, &dtype) == PG_OK);
    REQUIRE(pg_array_scan(running.get(), &collect, PG_SCAN_SUM, line.get(), 0) == PG_OK);
    long double exact = 0, size = 0;
    const long double unit = std::ldexp(1.0L, -53);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n; ++i) {
      exact += line.data<double>()[i];
      size += std::abs(line.data<double>()[i]);
      wrong += std::abs(running.data<double>()[i] - exact) > (n / 131072 + 16384 + 8) * unit * size;
    }
    CHECK(wrong == 0);
    const long double bound = (40 + std::log2(static_cast<double>(n))) * unit * size;
    CHECK(std::abs(adjacent - exact) <= bound);
    CHECK(std::abs(by_columns.data<double>()[0] - exact) <= bound);
    CHECK(adjacent == strided);
  }
}

TEST_CASE("reductions of nothing", "[reduce]") {
  double value;
  int32_t dtype, collect = 0;
  Array a = make(PG_FLOAT64, {0, 3}), out;
  REQUIRE(pg_array_reduce_all(PG_REDUCE_SUM, a.get(), 0, &value, &dtype) == PG_OK);
  CHECK(value == 0);
  REQUIRE(pg_array_reduce_all(PG_REDUCE_MEAN, a.get(), 0, &value, &dtype) == PG_OK);
  CHECK(std::isnan(value));
  CHECK_THAT(message(pg_array_reduce_all(PG_REDUCE_MIN, a.get(), 0, &value, &dtype)), Catch::Contains("no elements"));
  CHECK_THAT(message(pg_array_reduce(out.get(), &collect, PG_REDUCE_MAX, a.get(), 1, 0, 0)),
             Catch::Contains("no elements"));
  REQUIRE(pg_array_reduce(out.get(), &collect, PG_REDUCE_SUM, a.get(), 1, 0, 0) == PG_OK);
  CHECK(out->_shape[0] == 3);
  CHECK(get(*out, 2) == 0);
}

TEST_CASE("all sets of reduction kernels give the same bits", "[reduce]") {
  const auto sets = all_kernels();
  for (int32_t dtype = 0; dtype < PG_COMPLEX64; ++dtype) {
    const auto size = static_cast<int64_t>(element_size(dtype));
    for (int64_t n : {1, 2, 15, 16, 17, 63, 64, 65, 127, 129, 255, 511, 513, 1023, 1024, 1025, 2047, 3001})
      for (int special : {0, 1, 40})
        for (int64_t stride : {1, 3, -2}) {
          // One element in, so that no vector is aligned.
          const auto memory = elements(dtype, (n + 1) * 3 + 1, static_cast<int>(n) + special, special);
          const char *from = memory.data() + (stride > 0 ? 1 : 2 * n) * size;
          const double centre = 0.75;
          for (int op = 0; op < reduce_count; ++op) {
            if (!sets[0]->rows[op][dtype])
              continue;
            const int32_t raw = raw_dtype(static_cast<Reduce>(op), dtype);
            alignas(16) char expected[16] = {}, got[16] = {};
            sets[0]->rows[op][dtype](n, from, stride, &centre, expected);
            for (std::size_t s = 1; s < sets.size(); ++s) {
              sets[s]->rows[op][dtype](n, from, stride, &centre, got);
              INFO(sets[s]->name << " op " << op << " of " << n << " " << dtype_name(dtype) << " stride " << stride);
              REQUIRE(same_bits(raw, expected, got));
            }
          }
          for (int largest = 0; largest < 2; ++largest) {
            // The scalar reference: first NaN, else the first extreme.
            int64_t best = 0;
            visit(dtype, [&]<class T>(std::type_identity<T>) {
              if constexpr (std::is_arithmetic_v<T>) {
                const T *a = reinterpret_cast<const T *>(from);
                for (int64_t i = 0; i < n && !(a[best * stride] != a[best * stride]); ++i)
                  if ((largest ? a[i * stride] > a[best * stride] : a[i * stride] < a[best * stride]) ||
                      a[i * stride] != a[i * stride])
                    best = i;
              }
            });
            for (const auto *set : sets) {
              INFO(set->name << " largest " << largest << " of " << n << " " << dtype_name(dtype) << " stride "
                             << stride);
              REQUIRE(set->position[largest][dtype](n, from, stride) == best);
            }
          }
        }
    // Columns, with sentinels around the results.
    for (int64_t n : {1, 2, 4, 5, 7, 64})
      for (int64_t count : {1, 2, 7, 16, 33, 100}) {
        const int64_t stride = count + 3;
        const auto memory = elements(dtype, n * stride + 1, static_cast<int>(n + count), 5);
        const char *from = memory.data() + size;
        std::vector<double> centres(static_cast<std::size_t>(count), 0.75);
        for (int op = 0; op < reduce_count; ++op) {
          if (!sets[0]->columns[op][dtype])
            continue;
          const int32_t raw = raw_dtype(static_cast<Reduce>(op), dtype);
          const auto width = static_cast<int64_t>(element_size(raw));
          std::vector<char> expected(static_cast<std::size_t>((count + 2) * width), 0x5a), got = expected;
          sets[0]->columns[op][dtype](n, count, from, stride, centres.data(), expected.data() + width);
          for (std::size_t s = 1; s < sets.size(); ++s) {
            std::fill(got.begin(), got.end(), 0x5a);
            sets[s]->columns[op][dtype](n, count, from, stride, centres.data(), got.data() + width);
            INFO(sets[s]->name << " op " << op << " of " << n << " by " << count << " " << dtype_name(dtype));
            for (int64_t j = 0; j < count + 2; ++j)
              REQUIRE(same_bits(raw, expected.data() + j * width, got.data() + j * width));
          }
          if (n > 4 || raw != dtype) // sums in another order than a row's
            continue;
          for (int64_t j = 0; j < count; ++j) {
            alignas(16) char one[16];
            sets[0]->rows[op][dtype](n, from + j * size, stride, centres.data(), one);
            if (static_cast<Reduce>(op) >= Reduce::minimum && static_cast<Reduce>(op) <= Reduce::maximum)
              REQUIRE(same_bits(raw, one, expected.data() + (j + 1) * width));
          }
        }
        for (int largest = 0; largest < 2; ++largest)
          for (const auto *set : sets) {
            std::vector<char> best(static_cast<std::size_t>(count * size));
            std::vector<int64_t> positions(static_cast<std::size_t>(count + 2), -7);
            set->column_position[largest][dtype](n, count, from, stride, best.data(), positions.data() + 1);
            INFO(set->name << " largest " << largest << " of " << n << " by " << count << " " << dtype_name(dtype));
            REQUIRE(positions.front() == -7);
            REQUIRE(positions.back() == -7);
            for (int64_t j = 0; j < count; ++j)
              REQUIRE(positions[static_cast<std::size_t>(j + 1)] ==
                      sets[0]->position[largest][dtype](n, from + j * size, stride));
          }
      }
  }
  // Running sums.
  for (int64_t n : {0, 1, 7, 8, 9, 16, 31, 1000, 1003}) {
    const auto doubles = elements(PG_FLOAT64, n + 1, static_cast<int>(n), 0),
               floats = elements(PG_FLOAT32, n + 1, static_cast<int>(n), 0);
    std::vector<double> expected(static_cast<std::size_t>(n + 2), -7), got = expected;
    std::vector<float> expected_float(static_cast<std::size_t>(n + 2), -7), got_float = expected_float;
    double total, other;
    sets[0]->scan_double(n, doubles.data() + 8, expected.data() + 1, 0.5, &total);
    sets[0]->scan_float(n, floats.data() + 4, expected_float.data() + 1, 0.5, &total);
    for (std::size_t s = 1; s < sets.size(); ++s) {
      sets[s]->scan_float(n, floats.data() + 4, got_float.data() + 1, 0.5, &other);
      CHECK(other == total);
      CHECK(got_float == expected_float);
      sets[s]->scan_double(n, doubles.data() + 8, got.data() + 1, 0.5, &other);
      CHECK(got == expected);
    }
    long double sum = 0.5L, size = 0.5L;
    for (int64_t i = 0; i < n; ++i) {
      double x;
      std::memcpy(&x, doubles.data() + 8 * (i + 1), sizeof x);
      sum += x;
      size += std::abs(x);
      CHECK(std::abs(static_cast<double>(sum) - expected[static_cast<std::size_t>(i + 1)]) <=
            1e-14 * static_cast<double>(size));
    }
  }
}

TEST_CASE("reductions do not depend on the number of threads", "[reduce]") {
  const int before = core::thread_count();
  const int64_t n = 1200, m = 700;
  Array a = make(PG_FLOAT64, {n, m});
  std::mt19937_64 generator(3);
  for (int64_t i = 0; i < n * m; ++i)
    a.data<double>()[i] = std::normal_distribution<double>()(generator);
  int32_t collect = 0;
  for (int32_t op = PG_REDUCE_SUM; op <= PG_REDUCE_NANSTD; ++op)
    for (int32_t axes = 0; axes < 4; ++axes) {
      Array one, three;
      core::set_thread_count(1);
      REQUIRE(pg_array_reduce(one.get(), &collect, op, a.get(), axes, 0, 0) == PG_OK);
      core::set_thread_count(3);
      REQUIRE(pg_array_reduce(three.get(), &collect, op, a.get(), axes, 0, 0) == PG_OK);
      INFO("op " << op << " axes " << axes);
      CHECK(std::memcmp(one->_data, three->_data, static_cast<std::size_t>(one->_size) * element_size(one->_dtype)) ==
            0);
    }
  core::set_thread_count(before);
}
