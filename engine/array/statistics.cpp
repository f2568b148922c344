// Correlation and counting.
#include "array/statistics.hpp"

#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "array/kernels.hpp"
#include "core/threads.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t parallel_work = 1 << 20; // multiplications; below, starting threads costs more than they save

Array vector(int32_t dtype, int64_t n, bool zero, int32_t *collect) {
  return create(dtype, std::array{n}, zero, collect);
}

// ----------------------------------------------------------------------------------------------------- correlation
// ---- out[t] = sum of a[t - (m - 1) + j] * v[j] over j, for t in [0, n + m - 1), where elements beyond a are left out.
// Requires m <= n. Only t in [first, last) is computed; out[0] is for t = first.
template <class T> struct Correlation {
  const T *a;
  int64_t n;
  const T *v;
  int64_t m;
  void (*kernel)(int64_t n, const void *a, int64_t m, const void *v, void *out);

  static constexpr int64_t edge = 32; // outputs at a time where v hangs over an end of a

  void run(int64_t first, int64_t last, T *out) const {
    const int64_t from = std::clamp(m - 1, first, last), to = std::clamp(n, from, last);
    for (int64_t t = first; t < from; t += edge)
      left(t, std::min(t + edge, from), out + (t - first));
    const int64_t grain = std::max<int64_t>(4096, parallel_work / m / 4096 * 4096);
    core::parallel_ranges(to - from, grain, [&](int64_t begin, int64_t end) {
      const int64_t t = from + begin;
      kernel(end - begin, a + (t - (m - 1)), m, v, out + (t - first));
    });
    for (int64_t t = to; t < last; t += edge)
      right(t, std::min(t + edge, last), out + (t - first));
  }

 private:
  // What all outputs from `begin` on overlap with is the kernel's; a triangle is left over.
  void left(int64_t begin, int64_t end, T *out) const {
    kernel(end - begin, a, begin + 1, v + (m - 1 - begin), out);
    for (int64_t t = begin + 1; t < end; ++t)
      for (int64_t j = m - 1 - t; j < m - 1 - begin; ++j)
        add(out[t - begin], a[t - (m - 1) + j], v[j]);
  }
  void right(int64_t begin, int64_t end, T *out) const {
    const int64_t common = n - (end - 1 - (m - 1));
    kernel(end - begin, a + (begin - (m - 1)), common, v, out);
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = common; j < n - (t - (m - 1)); ++j)
        add(out[t - begin], a[t - (m - 1) + j], v[j]);
  }
  static void add(T &sum, T x, T y) { sum = static_cast<T>(sum + static_cast<T>(1U * x * y)); }
};

void correlate_real(int32_t dtype, const pg_array &a, const pg_array &v, int64_t first, int64_t last, void *out) {
  auto as = [&]<class T>(std::type_identity<T>) {
    Correlation<T>{static_cast<const T *>(a._data), a._size, static_cast<const T *>(v._data), v._size,
                   kernels().correlate[dtype]}
        .run(first, last, static_cast<T *>(out));
  };
  if (dtype == PG_FLOAT64)
    as(std::type_identity<double>{});
  else if (dtype == PG_FLOAT32)
    as(std::type_identity<float>{});
  else // integers wrap, so that the sign does not matter
    visit_size(dtype, [&]<class T>(std::type_identity<T> type) {
      if constexpr (std::is_integral_v<T>)
        as(type);
    });
}

// Four real correlations, of the real and the imaginary parts.
template <class T>
void correlate_complex(int32_t part, const pg_array &a, const pg_array &v, int64_t first, int64_t last,
                       std::complex<T> *out, int32_t *collect) {
  const Array ar = vector(part, a._size, false, collect), ai = vector(part, a._size, false, collect);
  const Array vr = vector(part, v._size, false, collect), vi = vector(part, v._size, false, collect);
  auto split = [](const pg_array &from, const Array &re, const Array &im) {
    for (int64_t i = 0; i < from._size; ++i) {
      re.data<T>()[i] = static_cast<const std::complex<T> *>(from._data)[i].real();
      im.data<T>()[i] = static_cast<const std::complex<T> *>(from._data)[i].imag();
    }
  };
  split(a, ar, ai);
  split(v, vr, vi);
  const Array x = vector(part, last - first, false, collect), y = vector(part, last - first, false, collect);
  correlate_real(part, *ar, *vr, first, last, x->_data);
  correlate_real(part, *ai, *vi, first, last, y->_data);
  for (int64_t i = 0; i < last - first; ++i)
    out[i] = x.data<T>()[i] - y.data<T>()[i];
  correlate_real(part, *ar, *vi, first, last, x->_data);
  correlate_real(part, *ai, *vr, first, last, y->_data);
  for (int64_t i = 0; i < last - first; ++i)
    out[i].imag(x.data<T>()[i] + y.data<T>()[i]);
}

Array as_dtype(const pg_array &a, int32_t dtype, int32_t *collect) {
  return a._dtype == dtype ? contiguous(a) : copy(a, dtype, collect);
}

Array correlate(const pg_array &a, const pg_array &v, int32_t mode, bool convolve, int32_t *collect) {
  const int32_t dtype = promote(a._dtype, v._dtype), work = dtype == PG_BOOL ? PG_INT32 : dtype;
  Array x = as_dtype(a, work, collect);
  Array y = copy(v, work, collect); // a copy: it may be turned around
  visit(work, [&]<class T>(std::type_identity<T>) {
    T *taps = y.data<T>();
    if constexpr (!std::is_arithmetic_v<T>)
      if (!convolve)
        std::transform(taps, taps + y->_size, taps, [](T z) { return std::conj(z); });
  });
  const bool swap = x->_size < y->_size;
  if (swap) {
    Array whole = std::move(x);
    x = std::move(y);
    y = copy(*whole);
  }
  auto reverse = [](const Array &z, int64_t n) {
    visit_size(z->_dtype, [&]<class T>(std::type_identity<T>) { std::reverse(z.data<T>(), z.data<T>() + n); });
  };
  if (convolve)
    reverse(y, y->_size);
  const int64_t n = x->_size, m = y->_size;
  const int64_t first = mode == PG_CORRELATE_FULL ? 0 : mode == PG_CORRELATE_SAME ? m - 1 - m / 2 : m - 1;
  const int64_t last = mode == PG_CORRELATE_FULL ? n + m - 1 : mode == PG_CORRELATE_SAME ? first + n : n;
  Array out = vector(work, last - first, false, collect);
  if (work == PG_COMPLEX64)
    correlate_complex(PG_FLOAT32, *x, *y, first, last, out.data<std::complex<float>>(), collect);
  else if (work == PG_COMPLEX128)
    correlate_complex(PG_FLOAT64, *x, *y, first, last, out.data<std::complex<double>>(), collect);
  else
    correlate_real(work, *x, *y, first, last, out->_data);
  if (swap && !convolve)
    reverse(out, out->_size);
  return work == dtype ? std::move(out) : copy(*out, dtype, collect);
}

void require_vector(const pg_array &a, const char *what) {
  require_alive(a);
  if (a._ndim != 1)
    throw ArgumentError(std::string(what) + " must have one dimension, not the shape " + shape_text(a));
}

// -------------------------------------------------------------------------------------------------------- counting
// ---- Where x lies among the edges: [lower, upper) of each bin, and two more entries where nothing is corrected.
struct Bins {
  int32_t count;
  double first, last, scale;
  std::vector<double> edges, lower, upper;

  explicit Bins(const pg_array &e) : count(static_cast<int32_t>(e._size - 1)) {
    const Array whole = contiguous(e);
    edges.assign(whole.data<double>(), whole.data<double>() + e._size);
    first = edges.front();
    last = edges.back();
    scale = count / (last - first);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    lower.assign(edges.begin(), edges.end());
    upper.assign(edges.begin() + 1, edges.end());
    upper.back() = nan; // the last bin includes its end
    upper.resize(count + 3, nan);
    lower[count] = nan;
    lower.resize(count + 3, nan);
  }
  int32_t outside() const { return count + 1; }

  /// The bins (from 0) of n values; outside() for those in none.
  void find(int64_t n, const double *x, bool uniform, int32_t *index) const {
    if (uniform) {
      // Rounding may be off by one: the edges decide.
      kernels().bins(n, x, first, last, scale, outside(), index);
      for (int64_t i = 0; i < n; ++i) {
        int32_t bin = index[i] == count ? count - 1 : index[i];
        bin -= x[i] < lower[bin];
        bin += x[i] >= upper[bin];
        index[i] = bin;
      }
      return;
    }
    constexpr int lanes = 8; // searches at a time, so that their loads overlap
    for (int64_t i0 = 0; i0 < n; i0 += lanes) {
      const int k1 = static_cast<int>(std::min<int64_t>(lanes, n - i0));
      int32_t at[lanes] = {};
      for (int32_t length = count + 1; length > 1;) {
        const int32_t half = length / 2;
        for (int k = 0; k < k1; ++k)
          at[k] += half & -static_cast<int32_t>(edges[at[k] + half] <= x[i0 + k]);
        length -= half;
      }
      for (int k = 0; k < k1; ++k) {
        const double value = x[i0 + k];
        index[i0 + k] = value >= first && value <= last ? std::min(at[k], count - 1) : outside();
      }
    }
  }
};

// Calls body(n, x, w) with pieces of a and of the weights as float64; w is null without weights.
template <class Body> void for_pieces(const pg_array &a, const pg_array *weights, Body &&body) {
  constexpr int64_t size = 1024;
  double x[size], w[size];
  Shape shape;
  shape.ndim = a._ndim;
  std::copy_n(a._shape, a._ndim, shape.lengths);
  const pg_array &other = weights ? *weights : a;
  const Walk<2> walk(shape, {&a, &other});
  const CastKernel cast = kernels().cast[a._dtype][PG_FLOAT64], cast_other = kernels().cast[other._dtype][PG_FLOAT64];
  const int64_t step = walk.inner_stride(0) * walk.bytes[0], step_other = walk.inner_stride(1) * walk.bytes[1];
  walk.each(1, [&](const std::array<char *, 2> &at) {
    for (int64_t i = 0; i < walk.inner(); i += size) {
      const int64_t n = std::min(size, walk.inner() - i);
      cast(n, at[0] + i * step, walk.inner_stride(0), x, 1);
      if (weights)
        cast_other(n, at[1] + i * step_other, walk.inner_stride(1), w, 1);
      body(n, static_cast<const double *>(x), weights ? static_cast<const double *>(w) : nullptr);
    }
  });
}

void require_real(const pg_array &a, const char *name) {
  require_alive(a);
  if (is_complex(a._dtype))
    throw ArgumentError(std::string(name) + ": complex numbers have no order; take their real part or their magnitude");
}

Array histogram(const pg_array &a, const pg_array *weights, const pg_array &edges, bool uniform, int32_t *collect) {
  const Bins bins(edges);
  int32_t index[1024];
  if (weights) {
    std::vector<double> sums(bins.count + 3);
    for_pieces(a, weights, [&](int64_t n, const double *x, const double *w) {
      bins.find(n, x, uniform, index);
      for (int64_t i = 0; i < n; ++i)
        sums[index[i]] += w[i];
    });
    Array out = vector(PG_FLOAT64, bins.count, false, collect);
    std::copy_n(sums.begin(), bins.count, out.data<double>());
    return out;
  }
  // Two tables, so that equal neighbours do not wait for one another.
  std::vector<int64_t> even(bins.count + 3), odd(bins.count + 3);
  for_pieces(a, nullptr, [&](int64_t n, const double *x, const double *) {
    bins.find(n, x, uniform, index);
    int64_t i = 0;
    for (; i + 1 < n; i += 2) {
      ++even[index[i]];
      ++odd[index[i + 1]];
    }
    if (i < n)
      ++even[index[i]];
  });
  Array out = vector(PG_INT64, bins.count, false, collect);
  for (int32_t i = 0; i < bins.count; ++i)
    out.data<int64_t>()[i] = even[i] + odd[i];
  return out;
}

template <class T> std::pair<int64_t, int64_t> count_range(const T *x, int64_t n) {
  T low = 0, high = 0;
  for (int64_t i = 0; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  if (low < 0)
    for (int64_t i = 0; i < n; ++i)
      if (x[i] < 0)
        throw ArgumentError("bincount: element " + std::to_string(i + 1) + " is " + std::to_string(x[i]) +
                            "; only 0 and larger can be counted");
  if (static_cast<uint64_t>(high) > (uint64_t{1} << 60))
    throw ArgumentError("bincount: the largest element, " + std::to_string(high) + ", is too large to count up to");
  return {low, high};
}

template <class T> void count(const T *x, int64_t n, const double *w, const Array &out) {
  if (w) {
    double *sums = out.data<double>();
    for (int64_t i = 0; i < n; ++i)
      sums[x[i]] += w[i];
    return;
  }
  int64_t *counts = out.data<int64_t>();
  if (out->_size > 4096 || n < 4 * out->_size) {
    for (int64_t i = 0; i < n; ++i)
      ++counts[x[i]];
    return;
  }
  std::vector<int64_t> other(3 * out->_size); // equal neighbours would wait for one another in one table
  int64_t *second = other.data(), *third = second + out->_size, *fourth = third + out->_size;
  int64_t i = 0;
  for (; i + 3 < n; i += 4) {
    ++counts[x[i]];
    ++second[x[i + 1]];
    ++third[x[i + 2]];
    ++fourth[x[i + 3]];
  }
  for (; i < n; ++i)
    ++counts[x[i]];
  for (int64_t k = 0; k < out->_size; ++k)
    counts[k] += second[k] + third[k] + fourth[k];
}

Array bincount(const pg_array &a, const pg_array *weights, int64_t minlength, int32_t *collect) {
  const Array x = contiguous(a);
  const Array w = weights ? as_dtype(*weights, PG_FLOAT64, collect) : Array();
  Array out;
  visit(a._dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_integral_v<T>) {
      using Index = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;
      const auto *values = x.data<const Index>();
      int64_t length = 0;
      if (a._size > 0)
        length = count_range(values, a._size).second + 1;
      out = vector(weights ? PG_FLOAT64 : PG_INT64, std::max(length, minlength), true, collect);
      count(values, a._size, weights ? w.data<const double>() : nullptr, out);
    } else {
      throw ArgumentError(std::string("bincount: the elements must be integers, and this array has dtype ") +
                          dtype_name(a._dtype) + "; convert it with a:astype(\"int64\"), or use histogram");
    }
  });
  return out;
}

} // namespace
} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_correlate(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *v, int32_t mode,
                           int32_t convolve) {
  return guard([&] {
    const char *name = convolve ? "convolve" : "correlate";
    for (const pg_array *x : {a, v}) {
      require_vector(*x, (std::string(name) + ": both arrays").c_str());
      if (x->_size == 0)
        throw ArgumentError(std::string(name) + ": an array is empty");
    }
    *out = correlate(*a, *v, mode, convolve != 0, collect).detach();
  });
}

int32_t pg_array_histogram(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *weights,
                           const pg_array *edges, int32_t uniform) {
  return guard([&] {
    require_real(*a, "histogram");
    if (weights) {
      require_real(*weights, "histogram");
      if (weights->_ndim != a->_ndim || !std::equal(a->_shape, a->_shape + a->_ndim, weights->_shape))
        throw ArgumentError("histogram: weights has the shape " + shape_text(*weights) + ", the array " +
                            shape_text(*a));
    }
    if (edges->_size < 2 || edges->_size > (int64_t{1} << 30))
      throw ArgumentError("histogram: " + std::to_string(edges->_size) + " edges");
    *out = histogram(*a, weights, *edges, uniform != 0, collect).detach();
  });
}

int32_t pg_array_bincount(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *weights,
                          int64_t minlength) {
  return guard([&] {
    require_vector(*a, "bincount: the array");
    if (weights) {
      require_vector(*weights, "bincount: weights");
      require_real(*weights, "bincount");
      if (weights->_size != a->_size)
        throw ArgumentError("bincount: " + std::to_string(weights->_size) + " weights for " + std::to_string(a->_size) +
                            " elements");
    }
    *out = bincount(*a, weights, minlength, collect).detach();
  });
}
}
