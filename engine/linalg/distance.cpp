// Norms, and distances between points.
#include "linalg/lapack.hpp"
#include "linalg/linalg.hpp"

#include <cmath>
#include <limits>

namespace perigee::linalg {
namespace {

// ---- norms ----

enum class Order { two, one, most, least, zero, other };

// Feeds on runs of numbers; sums are kept in eight parts, so that they vectorise, and chunk by chunk, for accuracy.
template <class T> struct Norm {
  using R = real_t<T>;
  Order order;
  double p;
  R scale = 1; // numbers are divided by it
  double total = 0;

  void start() { total = order == Order::least ? std::numeric_limits<double>::infinity() : 0; }

  double magnitude(const T &x) const { return static_cast<double>(std::abs(x)) / scale; }

  template <class Each> double sum(const T *x, int64_t n, int64_t stride, Each &&each) const {
    double total = 0;
    constexpr int64_t chunk = 1024;
    for (int64_t begin = 0; begin < n; begin += chunk) {
      const int64_t end = std::min(begin + chunk, n);
      double lanes[8] = {};
      int64_t i = begin;
      if (stride == 1)
        for (; i + 8 <= end; i += 8)
          for (int lane = 0; lane < 8; ++lane)
            lanes[lane] += each(x[i + lane]);
      for (; i < end; ++i)
        lanes[0] += each(x[i * stride]);
      for (double lane : lanes)
        total += lane;
    }
    return total;
  }

  void run(const T *x, int64_t n, int64_t stride) {
    switch (order) {
    case Order::two:
      total += sum(x, n, stride, [&](const T &v) {
        if constexpr (is_complex_v<T>) {
          const double re = static_cast<double>(v.real()) / scale, im = static_cast<double>(v.imag()) / scale;
          return re * re + im * im;
        } else {
          const double re = static_cast<double>(v) / scale;
          return re * re;
        }
      });
      break;
    case Order::one:
      total += sum(x, n, stride, [&](const T &v) { return magnitude(v); });
      break;
    case Order::zero:
      total += sum(x, n, stride, [&](const T &v) { return v != T(0) ? 1.0 : 0.0; });
      break;
    case Order::other:
      total += sum(x, n, stride, [&](const T &v) { return std::pow(magnitude(v), p); });
      break;
    case Order::most: // NaN wins
      for (int64_t i = 0; i < n; ++i) {
        const double v = magnitude(x[i * stride]);
        total = v > total || v != v ? v : total;
      }
      break;
    case Order::least:
      for (int64_t i = 0; i < n; ++i) {
        const double v = magnitude(x[i * stride]);
        total = v < total || v != v ? v : total;
      }
      break;
    }
  }

  R finish() const {
    if (order == Order::two)
      return static_cast<R>(std::sqrt(total) * scale);
    return static_cast<R>(order == Order::other ? std::pow(total, 1 / p) * scale : total);
  }
};

// Walks every axis of `a` from `axis` on, in runs along the last.
template <class T, class Body> void each_run(const pg_array &a, int axis, const T *data, Body &&body) {
  if (axis == a._ndim) {
    body(data, int64_t{1}, int64_t{1});
  } else if (axis == a._ndim - 1) {
    body(data, a._shape[axis], a._strides[axis]);
  } else {
    for (int64_t i = 0; i < a._shape[axis]; ++i)
      each_run(a, axis + 1, data + i * a._strides[axis], body);
  }
}

template <class T> Array norms(const pg_array &a, int axes, double p, int32_t *collect) {
  const int lead = a._ndim - axes;
  Array result = array::create(dtype_of<real_t<T>>, {a._shape, static_cast<std::size_t>(lead)}, false, collect);
  const double inf = std::numeric_limits<double>::infinity();
  const Order order = p == 2      ? Order::two
                      : p == 1    ? Order::one
                      : p == 0    ? Order::zero
                      : p == inf  ? Order::most
                      : p == -inf ? Order::least
                                  : Order::other;
  int64_t inner = 1;
  for (int i = lead; i < a._ndim; ++i)
    inner *= a._shape[i];
  if (inner == 0 && order == Order::least && result->_size > 0)
    throw ArgumentError("norm: the smallest of no elements does not exist");
  for (int64_t index = 0; index < result->_size; ++index) {
    int64_t at = 0, rest = index;
    for (int axis = lead; axis-- > 0;) {
      at += rest % a._shape[axis] * a._strides[axis];
      rest /= a._shape[axis];
    }
    const T *data = static_cast<const T *>(a._data) + at;
    Norm<T> norm{order, p};
    auto pass = [&](Norm<T> &n) {
      n.start();
      if (inner > 0)
        each_run(a, lead, data, [&](const T *x, int64_t count, int64_t stride) { n.run(x, count, stride); });
    };
    pass(norm);
    // Squares overflow and vanish where the norm does not: then once more, scaled by the largest number.
    if (order == Order::two && (norm.total > 1e300 || (norm.total < 1e-280 && norm.total >= 0))) {
      Norm<T> largest{Order::most, p};
      pass(largest);
      if (largest.total > 0 && largest.total < inf) {
        norm.scale = static_cast<real_t<T>>(largest.total);
        norm.total = 0;
        pass(norm);
      }
    }
    result.data<real_t<T>>()[index] = norm.finish();
  }
  return result;
}

// ---- distances ----

// Distances of one point to n others, given by coordinates: `others` holds the first coordinate of all, then the
// second, and so on, `leading` apart. The loops over the others vectorise without reordering any sum.
template <class Add>
void accumulate(int64_t d, int64_t n, const double *point, const double *others, int64_t leading, double *to,
                Add &&add) {
  std::fill_n(to, n, 0.0);
  constexpr int64_t block = 1024; // of `to`, to stay in the first cache
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(begin + block, n);
    for (int64_t c = 0; c < d; ++c) {
      const double x = point[c];
      const double *y = others + c * leading;
      for (int64_t j = begin; j < end; ++j)
        add(to[j], x, y[j]);
    }
  }
}

void distances(int32_t metric, double p, int64_t d, int64_t n, const double *point, double length, const double *others,
               const double *lengths, int64_t leading, double *to) {
  switch (metric) {
  case PG_EUCLIDEAN:
  case PG_SQEUCLIDEAN:
    accumulate(d, n, point, others, leading, to, [](double &sum, double x, double y) { sum += (x - y) * (x - y); });
    for (int64_t j = 0; metric == PG_EUCLIDEAN && j < n; ++j)
      to[j] = std::sqrt(to[j]);
    break;
  case PG_CITYBLOCK:
    accumulate(d, n, point, others, leading, to, [](double &sum, double x, double y) { sum += std::fabs(x - y); });
    break;
  case PG_CHEBYSHEV:
    accumulate(d, n, point, others, leading, to, [](double &most, double x, double y) {
      const double difference = std::fabs(x - y);
      most = difference > most || difference != difference ? difference : most;
    });
    break;
  case PG_MINKOWSKI:
    accumulate(d, n, point, others, leading, to,
               [p](double &sum, double x, double y) { sum += std::pow(std::fabs(x - y), p); });
    for (int64_t j = 0; j < n; ++j)
      to[j] = std::pow(to[j], 1 / p);
    break;
  case PG_COSINE:
    accumulate(d, n, point, others, leading, to, [](double &sum, double x, double y) { sum += x * y; });
    for (int64_t j = 0; j < n; ++j) { // rounding must not make a negative distance
      const double cosine = to[j] / (length * lengths[j]);
      to[j] = cosine > 1 ? 0 : cosine < -1 ? 2 : 1 - cosine;
    }
    break;
  default:
    throw InternalError("metric " + std::to_string(metric));
  }
}

// Rows of a matrix as float64: `rows` row by row, `columns` coordinate by coordinate, `lengths` of each.
struct Points {
  Points(const pg_array &a, bool by_coordinate, int32_t *collect)
      : converted(a._dtype == PG_FLOAT64 ? array::share(a) : array::copy(a, PG_FLOAT64, collect)), m(*converted),
        memory(scratch<double>(m.rows * m.columns)), lengths(scratch<double>(m.rows)) {
    data = memory.data<double>();
    double *to = lengths.data<double>();
    by_coordinate ? m.load_columns(0, data) : m.load_rows(0, data);
    for (int64_t i = 0; i < m.rows; ++i) {
      double sum = 0;
      for (int64_t c = 0; c < m.columns; ++c) {
        const double x = by_coordinate ? data[c * m.rows + i] : data[i * m.columns + c];
        sum += x * x;
      }
      to[i] = std::sqrt(sum);
    }
  }
  Array converted;
  Matrices m;
  Array memory, lengths;
  double *data;
};

Array between(const pg_array &a, const pg_array &b, int32_t metric, double p, int32_t *collect) {
  const Points x(a, false, collect), y(b, true, collect);
  const int64_t shape[] = {x.m.rows, y.m.rows}, n = y.m.rows, d = x.m.columns;
  Array result = array::create(PG_FLOAT64, shape, false, collect);
  for (int64_t i = 0; i < x.m.rows; ++i)
    distances(metric, p, d, n, x.data + i * d, x.lengths.data<double>()[i], y.data, y.lengths.data<double>(), n,
              result.data<double>() + i * n);
  return result;
}

Array among(const pg_array &a, int32_t metric, double p, int32_t *collect) {
  const Points x(a, false, collect), y(a, true, collect);
  const int64_t n = x.m.rows, d = x.m.columns, shape[] = {n * (n - 1) / 2};
  Array result = array::create(PG_FLOAT64, shape, false, collect);
  double *to = result.data<double>();
  for (int64_t i = 0; i + 1 < n; to += n - i - 1, ++i)
    distances(metric, p, d, n - i - 1, x.data + i * d, x.lengths.data<double>()[i], y.data + i + 1,
              y.lengths.data<double>() + i + 1, n, to);
  return result;
}

} // namespace
} // namespace perigee::linalg

using namespace perigee;
using namespace perigee::linalg;

extern "C" {

int32_t pg_linalg_norm(pg_array *out, int32_t *collect, const pg_array *a, int32_t axes, double order) {
  return guard([&] {
    const Array w = in_work_type(*a, collect);
    visit(w->_dtype, [&]<class T>(std::type_identity<T>) { *out = norms<T>(*w, axes, order, collect).detach(); });
  });
}

int32_t pg_linalg_cdist(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b, int32_t metric,
                        double p) {
  return guard([&] { *out = between(*a, *b, metric, p, collect).detach(); });
}

int32_t pg_linalg_pdist(pg_array *out, int32_t *collect, const pg_array *a, int32_t metric, double p) {
  return guard([&] { *out = among(*a, metric, p, collect).detach(); });
}

int32_t pg_linalg_squareform(pg_array *out, int32_t *collect, const pg_array *a) {
  return guard([&] {
    const int64_t size = a->_size;
    auto n = static_cast<int64_t>(std::ceil(std::sqrt(2.0 * static_cast<double>(size))));
    n = std::max<int64_t>(n, 1);
    if (n * (n - 1) / 2 != size)
      throw ArgumentError("squareform: a vector of n (n - 1) / 2 distances is expected, and " + std::to_string(size) +
                          " is no such number");
    const Array from = array::copy(*a, PG_FLOAT64, collect);
    const int64_t shape[] = {n, n};
    Array result = array::create(PG_FLOAT64, shape, true, collect);
    const double *x = from.data<double>();
    double *to = result.data<double>();
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j)
        to[i * n + j] = to[j * n + i] = *x++;
    *out = result.detach();
  });
}
}
