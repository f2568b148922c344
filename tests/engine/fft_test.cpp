// Transforms through the plugin's C ABI: against the definition, for every kind, odd and even lengths, cut and filled
// up, any layout; Parseval's theorem; there and back.
#include "array_helpers.hpp"
#include "core/threads.hpp"
#include "plugin_functions.hpp"

#include <cmath>
#include <complex>
#include <numbers>

extern "C" {
#include "fft/fft_abi.h"
}

using namespace perigee;
using namespace perigee::array;

namespace {

using C = std::complex<double>;

const PluginFunctions &plugin() {
  static const PluginFunctions functions("fft");
  return functions;
}

// The element at a flat row-major position.
C at(const pg_array &a, int64_t flat) {
  int64_t offset = 0;
  for (int i = a._ndim; i-- > 0;) {
    offset += flat % a._shape[i] * a._strides[i];
    flat /= a._shape[i];
  }
  switch (a._dtype) {
  case PG_FLOAT32:
    return static_cast<const float *>(a._data)[offset];
  case PG_FLOAT64:
    return static_cast<const double *>(a._data)[offset];
  case PG_COMPLEX64:
    return C(static_cast<const std::complex<float> *>(a._data)[offset]);
  case PG_COMPLEX128:
    return static_cast<const C *>(a._data)[offset];
  default:
    return get(a, flat);
  }
}

Array noise(int32_t dtype, std::vector<int64_t> shape, int seed) {
  Array a = create(dtype, shape);
  std::mt19937 generator(static_cast<unsigned>(seed));
  std::uniform_real_distribution<double> uniform(-1, 1);
  const bool single = dtype == PG_FLOAT32 || dtype == PG_COMPLEX64;
  const int64_t n = a->_size * (is_complex(dtype) ? 2 : 1);
  for (int64_t i = 0; i < n; ++i)
    if (single)
      a.data<float>()[i] = static_cast<float>(uniform(generator));
    else
      a.data<double>()[i] = uniform(generator);
  return a;
}

Array transform(const pg_array &a, int kind, std::vector<int32_t> axes, std::vector<int64_t> lengths,
                double scale = 1) {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_fft_transform);
  pg_array out{};
  int32_t collect = 0;
  const int32_t status =
      pg_fft_transform(&out, &collect, &a, kind, static_cast<int32_t>(axes.size()), axes.data(), lengths.data(), scale);
  INFO(pg_last_message());
  REQUIRE(status == PG_OK);
  return Array::adopt(out);
}

// Along the last axis, by the definition: n results of each row of m numbers.
std::vector<C> defined(const pg_array &a, int64_t n, int sign) {
  const int64_t m = a._shape[a._ndim - 1], rows = a._size / m;
  std::vector<C> result;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < n; ++k) {
      C sum = 0;
      for (int64_t j = 0; j < std::min(n, m); ++j)
        sum += at(a, r * m + j) *
               std::polar(1.0, sign * 2 * std::numbers::pi * static_cast<double>(j * k % n) / static_cast<double>(n));
      result.push_back(sum);
    }
  return result;
}

double furthest(const pg_array &a, const std::vector<C> &expected) {
  REQUIRE(a._size == static_cast<int64_t>(expected.size()));
  double worst = 0;
  for (int64_t i = 0; i < a._size; ++i)
    worst = std::max(worst, std::abs(at(a, i) - expected[static_cast<std::size_t>(i)]));
  return worst;
}

double tolerance(int32_t dtype, int64_t n) {
  const double epsilon = dtype == PG_FLOAT32 || dtype == PG_COMPLEX64 ? 6e-8 : 1.2e-16;
  return 16 * epsilon * std::sqrt(static_cast<double>(n)) * (1 + std::log2(static_cast<double>(n)));
}

} // namespace

TEST_CASE("fft: every kind and length equals the definition", "[fft]") {
  for (const int32_t dtype : {PG_FLOAT32, PG_FLOAT64, PG_COMPLEX64, PG_COMPLEX128})
    for (const int64_t m : {1, 2, 3, 5, 8, 13, 30, 49, 64, 101})
      for (const int64_t n : {m, m / 2 + 1, m + 3}) {
        const Array a = noise(dtype, {2, m}, static_cast<int>(m));
        INFO(dtype_name(dtype) << " m " << m << " n " << n);
        const double most = tolerance(dtype, n);
        CHECK(furthest(*transform(*a, PG_FFT_FORWARD, {1}, {n}), defined(*a, n, -1)) < most);
        CHECK(furthest(*transform(*a, PG_FFT_BACKWARD, {1}, {n}), defined(*a, n, 1)) < most);
        if (!is_complex(dtype)) {
          const Array half = transform(*a, PG_FFT_REAL, {1}, {n});
          REQUIRE(half->_shape[1] == n / 2 + 1);
          std::vector<C> expected;
          const auto all = defined(*a, n, -1);
          for (int64_t i = 0; i < 2 * n; ++i)
            if (i % n <= n / 2)
              expected.push_back(all[static_cast<std::size_t>(i)]);
          CHECK(furthest(*half, expected) < most);
        }
      }
}

TEST_CASE("fft: there and back, for even and odd lengths", "[fft]") {
  for (const int64_t n : {1, 2, 7, 16, 99, 128, 1001}) {
    INFO(n);
    const double scale = 1 / static_cast<double>(n);
    const Array z = noise(PG_COMPLEX128, {n}, 3), x = noise(PG_FLOAT64, {n}, 4);
    std::vector<C> of_z, of_x;
    double energy = 0, of_spectrum = 0;
    for (int64_t i = 0; i < n; ++i) {
      of_z.push_back(at(*z, i));
      of_x.push_back(at(*x, i));
      energy += std::norm(of_z.back());
    }
    const Array spectrum = transform(*z, PG_FFT_FORWARD, {0}, {n});
    CHECK(furthest(*transform(*spectrum, PG_FFT_BACKWARD, {0}, {n}, scale), of_z) < 1e-14);
    for (int64_t i = 0; i < n; ++i)
      of_spectrum += std::norm(at(*spectrum, i));
    CHECK(of_spectrum * scale == Approx(energy).epsilon(1e-13)); // Parseval
    const Array half = transform(*x, PG_FFT_REAL, {0}, {n});
    const Array back = transform(*half, PG_FFT_TO_REAL, {0}, {n}, scale);
    CHECK(back->_dtype == PG_FLOAT64);
    CHECK(furthest(*back, of_x) < 1e-14);
    // What a real array's full spectrum holds twice is the same to the last bit.
    const Array full = transform(*x, PG_FFT_FORWARD, {0}, {n});
    bool conjugate = true;
    for (int64_t k = 1; k < n; ++k)
      conjugate &= at(*full, k) == std::conj(at(*full, n - k)) || k == n - k;
    CHECK(conjugate);
  }
}

TEST_CASE("fft: layouts of an array do not matter, nor does the number of threads", "[fft]") {
  const int before = core::thread_count();
  for (const int32_t dtype : {PG_FLOAT64, PG_COMPLEX128, PG_FLOAT32}) {
    const Array a = noise(dtype, {6, 15}, 8);
    for (const pg_array &view : {*a, reversed(a), transposed(a)}) {
      const Array straight = copy(view);
      for (const int32_t axis : {0, 1})
        for (const int kind : {PG_FFT_FORWARD, PG_FFT_BACKWARD}) {
          const int64_t n = view._shape[axis];
          const Array left = transform(view, kind, {axis}, {n}), right = transform(*straight, kind, {axis}, {n});
          std::vector<C> expected;
          for (int64_t i = 0; i < right->_size; ++i)
            expected.push_back(at(*right, i));
          CHECK(furthest(*left, expected) < tolerance(dtype, n));
        }
    }
  }
  const Array large = noise(PG_COMPLEX128, {64, 1024}, 9);
  core::set_thread_count(1);
  const Array one = transform(*large, PG_FFT_FORWARD, {0, 1}, {64, 1024});
  core::set_thread_count(4);
  const Array four = transform(*large, PG_FFT_FORWARD, {0, 1}, {64, 1024});
  core::set_thread_count(before);
  std::vector<C> expected;
  for (int64_t i = 0; i < one->_size; ++i)
    expected.push_back(at(*one, i));
  CHECK(furthest(*four, expected) < 1e-11);
}

TEST_CASE("fft: of several axes, one after the other", "[fft]") {
  const Array a = noise(PG_FLOAT64, {4, 5, 6}, 10);
  const Array all = transform(*a, PG_FFT_FORWARD, {0, 1, 2}, {4, 5, 6});
  Array step = transform(*a, PG_FFT_FORWARD, {2}, {6});
  step = transform(*step, PG_FFT_FORWARD, {1}, {5});
  step = transform(*step, PG_FFT_FORWARD, {0}, {4});
  std::vector<C> expected, given;
  for (int64_t i = 0; i < step->_size; ++i)
    expected.push_back(at(*step, i));
  for (int64_t i = 0; i < a->_size; ++i)
    given.push_back(at(*a, i));
  CHECK(furthest(*all, expected) < 1e-13);
  const Array half = transform(*a, PG_FFT_REAL, {0, 2}, {4, 6});
  CHECK(furthest(*transform(*half, PG_FFT_TO_REAL, {0, 2}, {4, 6}, 1.0 / 24), given) < 1e-14);
}

TEST_CASE("fft: rolls of any layout", "[fft]") {
  PERIGEE_PLUGIN_FUNCTION(plugin(), pg_fft_roll);
  for (const int32_t dtype : {PG_BOOL, PG_INT16, PG_FLOAT32, PG_INT64, PG_COMPLEX128}) {
    const Array a = make(dtype, {3, 7});
    fill(a, 5);
    for (const pg_array &view : {*a, reversed(a), transposed(a)})
      for (const int64_t first : {0, 1, 2})
        for (const int64_t second : {0, 2}) {
          const int64_t shifts[] = {first, second};
          pg_array out{};
          int32_t collect = 0;
          REQUIRE(pg_fft_roll(&out, &collect, &view, shifts) == PG_OK);
          const Array rolled = Array::adopt(out);
          const int64_t rows = view._shape[0], columns = view._shape[1];
          bool same = is_contiguous(*rolled) && rolled->_dtype == dtype;
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j)
              same &= get(*rolled, (i + first) % rows * columns + (j + second) % columns) == get(view, i * columns + j);
          CHECK(same);
        }
  }
}

TEST_CASE("fft: integers are computed in double, empty arrays stay empty", "[fft]") {
  const Array a = make(PG_INT32, {5});
  fill(a, 2);
  const Array spectrum = transform(*a, PG_FFT_FORWARD, {0}, {5});
  CHECK(spectrum->_dtype == PG_COMPLEX128);
  CHECK(furthest(*spectrum, defined(*copy(*a, PG_FLOAT64), 5, -1)) < 1e-13);
  CHECK(transform(*make(PG_FLOAT64, {0, 4}), PG_FFT_FORWARD, {1}, {4})->_size == 0);
}
