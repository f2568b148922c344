// Norms, and distances between points.
#include "linalg/lapack.hpp"
#include "linalg/linalg.hpp"

#include <cmath>
#include <limits>

namespace perigee::linalg {
namespace {

// ---- norms ----

// Vectors of 16 bytes written out: of comparisons in which NaN wins GCC makes none.
template <class R> struct Lanes {
  using Word = std::conditional_t<sizeof(R) == 8, int64_t, int32_t>;
  using Vector [[gnu::vector_size(16), gnu::aligned(alignof(R)), gnu::may_alias]] = R;
  using Words [[gnu::vector_size(16)]] = Word;
  static constexpr int count = 16 / sizeof(R);
  static Vector load(const R *at) { return *reinterpret_cast<const Vector *>(at); }
  static void store(R *at, Vector v) { *reinterpret_cast<Vector *>(at) = v; }
  static Vector magnitude(Vector v) {
    return reinterpret_cast<Vector>(reinterpret_cast<Words>(v) & (Words{} + std::numeric_limits<Word>::max()));
  }
};

// The largest or smallest magnitude of n numbers side by side; NaN wins: the sum of magnitudes shows whether there is
// one.
template <class R> double extreme(const R *x, int64_t n, bool most) {
  using L = Lanes<R>;
  constexpr int wide = 4, step = wide * L::count;
  const R none = most ? R(0) : std::numeric_limits<R>::infinity();
  typename L::Vector best[wide], sum[wide];
  for (int k = 0; k < wide; ++k) {
    best[k] = typename L::Vector{} + none;
    sum[k] = typename L::Vector{};
  }
  int64_t i = 0;
  const auto walk = [&]<bool largest>(std::bool_constant<largest>) __attribute__((always_inline)) {
    for (; i + step <= n; i += step)
#pragma GCC unroll 4
      for (int k = 0; k < wide; ++k) {
        const auto m = L::magnitude(L::load(x + i + k * L::count));
        best[k] = (largest ? m > best[k] : m < best[k]) ? m : best[k];
        sum[k] += m;
      }
  };
  most ? walk(std::true_type{}) : walk(std::false_type{});
  R top = none, total = 0;
  const auto add = [&](R m) {
    top = (most ? m > top : m < top) ? m : top;
    total += m;
  };
  for (int k = 0; k < wide; ++k)
    for (int lane = 0; lane < L::count; ++lane) {
      top = (most ? best[k][lane] > top : best[k][lane] < top) ? best[k][lane] : top;
      total += sum[k][lane];
    }
  for (; i < n; ++i)
    add(std::abs(x[i]));
  return total != total ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(top);
}

enum class Order { two, one, most, least, zero, other };

// Calls body(part, combine, start): a norm's total is start combined with the part of every number.
template <class T, class Body> void visit_order(Order order, double p, double scale, Body &&body) {
  const auto magnitude = [](const T &x) { return static_cast<double>(std::abs(x)); };
  const auto square = [](const T &x) {
    const double re = static_cast<double>(std::real(x)), im = static_cast<double>(std::imag(x));
    return is_complex_v<T> ? re * re + im * im : re * re;
  };
  const auto plus = [](double a, double b) { return a + b; };
  switch (order) {
  case Order::two:
    if (scale == 1)
      return body(square, plus, 0.0);
    return body(
        [=](const T &x) {
          const double re = static_cast<double>(std::real(x)) / scale, im = static_cast<double>(std::imag(x)) / scale;
          return re * re + im * im;
        },
        plus, 0.0);
  case Order::one:
    return body(magnitude, plus, 0.0);
  case Order::zero:
    return body([](const T &x) { return x != T(0) ? 1.0 : 0.0; }, plus, 0.0);
  case Order::other:
    if (p == 3)
      return body(
          [=](const T &x) {
            const double m = magnitude(x);
            return m * m * m;
          },
          plus, 0.0);
    return body([=](const T &x) { return std::pow(magnitude(x), p); }, plus, 0.0);
  case Order::most: // NaN wins
    return body(
        magnitude, [](double a, double b) { return (b > a) | (b != b) ? b : a; }, 0.0);
  case Order::least:
    return body(
        magnitude, [](double a, double b) { return (b < a) | (b != b) ? b : a; },
        std::numeric_limits<double>::infinity());
  }
}

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

// The total over the axes of `a` from `axis` on. Sixteen partial totals, so that it vectorises, anew for every chunk,
// for accuracy.
template <class T>
double total_of(const pg_array &a, int axis, const T *data, Order order, double p, double scale = 1) {
  double total = 0;
  visit_order<T>(order, p, scale, [&](auto part, auto combine, double start) {
    constexpr int lanes = 16;
    constexpr int64_t chunk = 1024;
    total = start;
    each_run(a, axis, data, [&](const T *x, int64_t n, int64_t stride) {
      if constexpr (!is_complex_v<T>)
        if (stride == 1 && (order == Order::most || order == Order::least)) {
          total = combine(total, extreme(x, n, order == Order::most));
          return;
        }
      for (int64_t begin = 0; begin < n; begin += chunk) {
        const int64_t end = std::min(begin + chunk, n);
        double sums[lanes];
        std::fill_n(sums, lanes, start);
        int64_t i = begin;
        if (stride == 1)
          for (; i + lanes <= end; i += lanes)
            for (int lane = 0; lane < lanes; ++lane)
              sums[lane] = combine(sums[lane], part(x[i + lane]));
        for (; i < end; ++i)
          sums[0] = combine(sums[0], part(x[i * stride]));
        for (const double sum : sums)
          total = combine(total, sum);
      }
    });
  });
  return total;
}

// Of float32 side by side BLAS adds up squares, 512 at a time: as float32, which may vanish or overflow.
inline double squares(const float *x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i += 512) {
    const int count = static_cast<int>(std::min<int64_t>(512, n - i));
    total += cblas_sdot(count, x + i, 1, x + i, 1);
  }
  return total;
}

template <class T> Array norms(const pg_array &a, int axes, double p, int32_t *collect) {
  using R = real_t<T>;
  const int lead = a._ndim - axes;
  Array result = array::create(dtype_of<R>, {a._shape, static_cast<std::size_t>(lead)}, false, collect);
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
  const auto data_of = [&](int64_t index) {
    int64_t at = 0;
    for (int axis = lead; axis-- > 0;) {
      at += index % a._shape[axis] * a._strides[axis];
      index /= a._shape[axis];
    }
    return static_cast<const T *>(a._data) + at;
  };
  const auto finish = [&](int64_t index, double total) {
    double scale = 1;
    // Squares overflow and vanish where the norm does not: then once more, scaled by the largest number.
    if (order == Order::two && (total > 1e300 || total < 1e-280)) {
      const double largest = total_of(a, lead, data_of(index), Order::most, p);
      if (largest > 0 && largest < inf) {
        scale = largest;
        total = total_of(a, lead, data_of(index), order, p, scale);
      }
    }
    result.data<R>()[index] = static_cast<R>(order == Order::two     ? std::sqrt(total) * scale
                                             : order == Order::other ? std::pow(total, 1 / p)
                                                                     : total);
  };
  const int64_t columns = lead > 0 ? a._shape[lead - 1] : 1;
  if (axes == 1 && columns > 1 && std::abs(a._strides[lead - 1]) < std::abs(a._strides[lead])) {
    // Neighbours in memory belong to different norms: many of them at once, row by row.
    constexpr int64_t block = 512;
    double totals[block];
    const int64_t n = a._shape[lead], down = a._strides[lead], across = a._strides[lead - 1];
    for (int64_t index = 0; index < result->_size; index += columns)
      for (int64_t begin = 0; begin < columns; begin += block) {
        const int64_t count = std::min(block, columns - begin);
        const T *data = data_of(index + begin);
        visit_order<T>(order, p, 1, [&](auto part, auto combine, double start) {
          std::fill_n(totals, count, start);
          for (int64_t i = 0; i < n; ++i) {
            const T *row = data + i * down;
            if (across == 1)
              for (int64_t j = 0; j < count; ++j)
                totals[j] = combine(totals[j], part(row[j]));
            else
              for (int64_t j = 0; j < count; ++j)
                totals[j] = combine(totals[j], part(row[j * across]));
          }
        });
        for (int64_t j = 0; j < count; ++j)
          finish(index + begin + j, totals[j]);
      }
    return result;
  }
  // Runs of float32 side by side, in one piece.
  bool adjacent = std::is_same_v<R, float> && order == Order::two && inner >= 512;
  for (int64_t axis = a._ndim - 1, step = 1; axis >= lead; step *= a._shape[axis--])
    adjacent = adjacent && (a._strides[axis] == step || a._shape[axis] == 1);
  for (int64_t index = 0; index < result->_size; ++index) {
    if constexpr (std::is_same_v<R, float>)
      if (adjacent) {
        const double total =
            squares(reinterpret_cast<const float *>(data_of(index)), inner * (is_complex_v<T> ? 2 : 1));
        if (total > 1e-20 && total < 1e37) { // neither lost nor gained anything
          finish(index, total);
          continue;
        }
      }
    finish(index, inner > 0 ? total_of(a, lead, data_of(index), order, p) : 0);
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

// The largest difference; NaN wins.
void chebyshev(int64_t d, int64_t n, const double *point, const double *others, int64_t leading, double *to) {
  using L = Lanes<double>;
  int64_t j = 0;
  const auto walk = [&]<int wide>(std::integral_constant<int, wide>) __attribute__((always_inline)) {
    for (; j + wide * L::count <= n; j += wide * L::count) {
      L::Vector most[wide] = {}, sum[wide] = {}; // a sum of NaN shows that there was one
      for (int64_t c = 0; c < d; ++c)
#pragma GCC unroll 4
        for (int k = 0; k < wide; ++k) {
          const auto difference = L::magnitude(point[c] - L::load(others + c * leading + j + k * L::count));
          most[k] = difference > most[k] ? difference : most[k];
          sum[k] += difference;
        }
      for (int k = 0; k < wide; ++k)
        L::store(to + j + k * L::count, sum[k] != sum[k] ? sum[k] : most[k]);
    }
  };
  walk(std::integral_constant<int, 4>{});
  walk(std::integral_constant<int, 1>{});
  for (; j < n; ++j) {
    double most = 0;
    for (int64_t c = 0; c < d; ++c) {
      const double difference = std::fabs(point[c] - others[c * leading + j]);
      most = difference > most || difference != difference ? difference : most;
    }
    to[j] = most;
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
    chebyshev(d, n, point, others, leading, to);
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
