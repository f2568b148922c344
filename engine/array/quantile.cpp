// Medians and quantiles: the reduced axes become lines of float32 or float64, of which single ranks are selected, or
// which are sorted where many ranks are wanted.
#include "array/iterate.hpp"
#include "array/reduce_kernels.hpp"
#include "array/sort.hpp"
#include "core/threads.hpp"

#include <cmath>
#include <limits>
#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t sorted_whole = 4096; // shorter lines, and those of which more than a few ranks are wanted
constexpr std::size_t few = 4;

// A quantile lies between the elements of two ranks: low + weight * (high - low).
struct Position {
  int64_t low, high;
  double weight;
};

// The nine methods of Hyndman and Fan, The American Statistician 50 (1996), and NumPy's four others.
Position position_of(int32_t method, double q, int64_t n) {
  const auto count = static_cast<double>(n);
  const double linear = (count - 1) * q;
  const auto rank = [&](double index) {
    const auto i = static_cast<int64_t>(std::clamp(index, 0.0, count - 1));
    return Position{i, i, 0};
  };
  const auto between = [&](double alpha, double beta) { return count * q + (alpha + q * (1 - alpha - beta)) - 1; };
  double index = linear;
  switch (method) {
  case PG_QUANTILE_MEDIAN:
    return {(n - 1) / 2, n / 2, 0.5};
  case PG_QUANTILE_INVERTED_CDF:
    return rank(std::ceil(count * q - 1));
  case PG_QUANTILE_CLOSEST_OBSERVATION: {
    const double floor = std::floor(count * q - 1.5);
    const bool odd = std::fmod(std::abs(floor), 2) == 1;
    return rank(floor == count * q - 1.5 && odd ? floor : floor + 1);
  }
  case PG_QUANTILE_LOWER:
    return rank(std::floor(linear));
  case PG_QUANTILE_HIGHER:
    return rank(std::ceil(linear));
  case PG_QUANTILE_NEAREST:
    return rank(std::rint(linear)); // halves to even
  case PG_QUANTILE_MIDPOINT:
    index = (std::floor(linear) + std::ceil(linear)) / 2;
    break;
  case PG_QUANTILE_AVERAGED_INVERTED_CDF:
  case PG_QUANTILE_INTERPOLATED_INVERTED_CDF:
    index = between(0, 1);
    break;
  case PG_QUANTILE_HAZEN:
    index = between(0.5, 0.5);
    break;
  case PG_QUANTILE_WEIBULL:
    index = between(0, 0);
    break;
  case PG_QUANTILE_MEDIAN_UNBIASED:
    index = between(1 / 3.0, 1 / 3.0);
    break;
  case PG_QUANTILE_NORMAL_UNBIASED:
    index = between(3 / 8.0, 3 / 8.0);
    break;
  default:
    break;
  }
  if (index < 0 || index >= count - 1)
    return rank(index);
  const double floor = std::floor(index);
  double weight = index - floor;
  if (method == PG_QUANTILE_AVERAGED_INVERTED_CDF)
    weight = weight == 0 ? 0.5 : 1;
  const auto low = static_cast<int64_t>(floor);
  return {low, low + 1, weight};
}

// NumPy's interpolation, exact at both ends; between equal elements, infinite ones too, it is that element.
double interpolate(double low, double high, double weight, int32_t method) {
  if (low == high || weight == 0)
    return low;
  if (method == PG_QUANTILE_MEDIAN)
    return std::isinf(low + high) ? low / 2 + high / 2 : (low + high) / 2;
  const double difference = high - low;
  return weight >= 0.5 ? high - difference * (1 - weight) : low + difference * weight;
}

// The element after `value`, which has rank `rank`.
template <class V> V next_rank(const V *line, int64_t n, int64_t rank, V value) {
  int64_t up_to = 0;
  V next = std::numeric_limits<V>::infinity();
  for (int64_t i = 0; i < n; ++i) {
    up_to += line[i] <= value;
    next = line[i] > value && line[i] < next ? line[i] : next;
  }
  return up_to > rank + 1 ? value : next;
}

template <class V>
void quantiles(const V *line, int64_t n, std::span<const double> q, int32_t method, bool ignore_nan, V *to,
               int64_t stride) {
  constexpr int32_t dtype = sizeof(V) == 4 ? PG_FLOAT32 : PG_FLOAT64;
  int64_t numbers = 0;
  reduce_kernels().rows[static_cast<int>(Reduce::nan_count)][dtype](n, line, 1, nullptr, &numbers);
  if (numbers == 0 || (numbers < n && !ignore_nan)) {
    for (std::size_t i = 0; i < q.size(); ++i)
      to[static_cast<int64_t>(i) * stride] = std::numeric_limits<V>::quiet_NaN();
    return;
  }
  std::vector<V> copy;
  const bool sorted = numbers <= sorted_whole || q.size() > few;
  if (sorted || numbers < n) {
    copy.reserve(static_cast<std::size_t>(numbers));
    std::copy_if(line, line + n, std::back_inserter(copy), [](V x) { return x == x; });
    line = copy.data();
  }
  if (sorted)
    sort_adjacent(dtype, copy.data(), numbers);
  for (std::size_t i = 0; i < q.size(); ++i) {
    const Position at = position_of(method, q[i], numbers);
    const V low = sorted ? line[at.low] : select(line, numbers, at.low);
    const V high = at.high == at.low ? low : sorted ? line[at.high] : next_rank(line, numbers, at.low, low);
    to[static_cast<int64_t>(i) * stride] =
        static_cast<V>(interpolate(static_cast<double>(low), static_cast<double>(high), at.weight, method));
  }
}

Array quantile(const pg_array &a, uint32_t axes, bool keepdims, const pg_array &q, int32_t method, bool ignore_nan,
               int32_t *collect) {
  require_alive(a);
  if (is_complex(a._dtype))
    throw ArgumentError("quantiles of complex numbers do not exist");
  // Kept axes first.
  pg_array lined = a;
  Shape shape;
  for (int i = 0; i < q._ndim; ++i)
    shape.lengths[shape.ndim++] = q._shape[i];
  int ndim = 0;
  int64_t lines = 1, n = 1;
  for (int reduced = 0; reduced < 2; ++reduced)
    for (int i = 0; i < a._ndim; ++i) {
      if (static_cast<int>(axes >> i & 1) != reduced)
        continue;
      lined._shape[ndim] = a._shape[i];
      lined._strides[ndim++] = a._strides[i];
      (reduced ? n : lines) *= a._shape[i];
    }
  for (int i = 0; i < a._ndim; ++i)
    if (!(axes >> i & 1) || keepdims) {
      if (shape.ndim == max_dimensions)
        throw ArgumentError("a result of more than 8 dimensions cannot be made");
      shape.lengths[shape.ndim++] = axes >> i & 1 ? 1 : a._shape[i];
    }
  const int32_t dtype = a._dtype == PG_FLOAT32 ? PG_FLOAT32 : PG_FLOAT64;
  const Array values = a._dtype == dtype ? contiguous(lined) : copy(lined, dtype, collect);
  Array result = create(dtype, {shape.lengths, static_cast<std::size_t>(shape.ndim)}, false, collect);
  const std::span<const double> wanted(static_cast<const double *>(q._data), static_cast<std::size_t>(q._size));
  const auto run = [&]<class V>(V *to) {
    core::parallel_ranges(lines, std::max<int64_t>(1, 16384 / std::max<int64_t>(n, 1)),
                          [&](int64_t begin, int64_t end) {
                            for (int64_t i = begin; i < end; ++i)
                              quantiles(values.data<V>() + i * n, n, wanted, method, ignore_nan, to + i, lines);
                          });
  };
  if (dtype == PG_FLOAT32)
    run(result.data<float>());
  else
    run(result.data<double>());
  return result;
}

} // namespace
} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_quantile(pg_array *out, int32_t *collect, const pg_array *a, int32_t axes, int32_t keepdims,
                          const pg_array *q, int32_t method, int32_t ignore_nan) {
  return guard([&] {
    *out = quantile(*a, static_cast<uint32_t>(axes), keepdims != 0, *q, method, ignore_nan != 0, collect).detach();
  });
}
}
