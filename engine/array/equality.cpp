// Arrays compared as a whole, and element by element within tolerances.
#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "array/kernels.hpp"

#include <cmath>
#include <cstring>

namespace perigee::array {
namespace {

constexpr int64_t chunk = 512; // elements converted at a time: the buffers stay in the first-level cache

struct Buffer {
  alignas(64) std::byte bytes[chunk * 16];
};

bool is_nan(int32_t dtype, const void *data, int64_t i) {
  switch (dtype) {
  case PG_FLOAT32:
    return std::isnan(static_cast<const float *>(data)[i]);
  case PG_FLOAT64:
    return std::isnan(static_cast<const double *>(data)[i]);
  case PG_COMPLEX64:
    return std::isnan(static_cast<const float *>(data)[2 * i]) ||
           std::isnan(static_cast<const float *>(data)[2 * i + 1]);
  case PG_COMPLEX128:
    return std::isnan(static_cast<const double *>(data)[2 * i]) ||
           std::isnan(static_cast<const double *>(data)[2 * i + 1]);
  }
  return false;
}

struct Tolerance {
  double relative, absolute;
  bool equal_nan;

  template <class T> bool close(const T &x, const T &y) const {
    return x == y || (std::isfinite(std::abs(y)) && std::abs(x - y) <= absolute + relative * std::abs(y)) ||
           (equal_nan && x != x && y != y);
  }
};

// Calls body(close, position, i) for element i after `position`, pointers to all of the walk's arrays, until it returns
// false. Compares in T: double, or complex where one of the arrays is.
template <class T, int N, class Body>
void compare(const Walk<N> &walk, int32_t dtype_a, int32_t dtype_b, const Tolerance &tolerance, Body &&body) {
  constexpr int32_t work = std::is_same_v<T, double> ? PG_FLOAT64 : PG_COMPLEX128;
  const CastKernel cast_a = kernels().cast[dtype_a][work], cast_b = kernels().cast[dtype_b][work];
  T x[chunk], y[chunk];
  bool more = true;
  walk.each(1, [&](const auto &at) {
    for (int64_t begin = 0; more && begin < walk.inner(); begin += chunk) {
      const int64_t n = std::min(chunk, walk.inner() - begin);
      cast_a(n, at[0] + begin * walk.inner_stride(0) * walk.bytes[0], walk.inner_stride(0), x, 1);
      cast_b(n, at[1] + begin * walk.inner_stride(1) * walk.bytes[1], walk.inner_stride(1), y, 1);
      for (int64_t i = 0; more && i < n; ++i)
        more = body(tolerance.close(x[i], y[i]), at, begin + i);
    }
  });
}

template <int N, class Body>
void compare(const Walk<N> &walk, const pg_array &a, const pg_array &b, const Tolerance &tolerance, Body &&body) {
  if (is_complex(a._dtype) || is_complex(b._dtype))
    compare<std::complex<double>>(walk, a._dtype, b._dtype, tolerance, body);
  else
    compare<double>(walk, a._dtype, b._dtype, tolerance, body);
}

} // namespace
} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_equal(const pg_array *a, const pg_array *b, int32_t equal_nan, int32_t *result) {
  return guard([&] {
    require_alive(*a);
    require_alive(*b);
    *result = 0;
    if (a->_ndim != b->_ndim || !std::equal(a->_shape, a->_shape + a->_ndim, b->_shape))
      return;
    const int32_t dtype = promote(a->_dtype, b->_dtype);
    const CastKernel cast_a = kernels().cast[a->_dtype][dtype], cast_b = kernels().cast[b->_dtype][dtype];
    const LoopKernel equal = kernels().binary[PG_EQ][dtype];
    const Walk<2> walk(broadcast(*a, *b), {a, b});
    Buffer buffer_a, buffer_b, buffer_out;
    bool all = true;
    walk.each(1, [&](const auto &at) {
      for (int64_t begin = 0; all && begin < walk.inner(); begin += chunk) {
        const int64_t n = std::min(chunk, walk.inner() - begin);
        // Read where it is, if it can be.
        const auto read = [&](int k, const pg_array &from, CastKernel cast, Buffer &buffer) -> const void * {
          const char *here = at[static_cast<std::size_t>(k)] + begin * walk.inner_stride(k) * walk.bytes[k];
          if (from._dtype == dtype && walk.inner_stride(k) == 1)
            return here;
          cast(n, here, walk.inner_stride(k), buffer.bytes, 1);
          return buffer.bytes;
        };
        const void *x = read(0, *a, cast_a, buffer_a), *y = read(1, *b, cast_b, buffer_b);
        equal({1, n, {const_cast<void *>(x), const_cast<void *>(y), buffer_out.bytes}, {}, {1, 1, 1}});
        const auto *same = reinterpret_cast<const uint8_t *>(buffer_out.bytes);
        if (!std::memchr(same, 0, static_cast<std::size_t>(n)))
          continue;
        for (int64_t i = 0; all && i < n; ++i)
          all = same[i] != 0 || (equal_nan && is_nan(dtype, x, i) && is_nan(dtype, y, i));
      }
    });
    *result = all;
  });
}

int32_t pg_array_allclose(const pg_array *a, const pg_array *b, double rtol, double atol, int32_t equal_nan,
                          int32_t *result) {
  return guard([&] {
    require_alive(*a);
    require_alive(*b);
    bool all = true;
    const Walk<2> walk(broadcast(*a, *b), {a, b});
    perigee::array::compare(walk, *a, *b, {rtol, atol, equal_nan != 0},
                            [&](bool close, const auto &, int64_t) { return all = close; });
    *result = all;
  });
}

int32_t pg_array_isclose(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b, double rtol,
                         double atol, int32_t equal_nan) {
  return guard([&] {
    require_alive(*a);
    require_alive(*b);
    const Shape shape = broadcast(*a, *b);
    Array result = create(PG_BOOL, {shape.lengths, static_cast<std::size_t>(shape.ndim)}, false, collect);
    const Walk<3> walk(shape, {a, b, result.get()});
    perigee::array::compare(walk, *a, *b, {rtol, atol, equal_nan != 0}, [&](bool close, const auto &at, int64_t i) {
      reinterpret_cast<bool *>(at[2])[i * walk.inner_stride(2)] = close;
      return true;
    });
    *out = result.detach();
  });
}
}
