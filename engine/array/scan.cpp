// Running sums, products, minima and maxima.
#include "array/dispatch.hpp"
#include "array/lines.hpp"
#include "array/order.hpp"
#include "array/reduce.hpp"
#include "array/reduce_kernels.hpp"

#include <complex>
#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t piece = 1 << 17;  // elements of a line that are scanned on their own
constexpr int64_t tile_width = 256; // columns done at a time

template <class T> struct SumType {
  using type = T; // in which running sums are kept: float32 in float64
};
template <> struct SumType<float> { using type = double; };
template <> struct SumType<std::complex<float>> { using type = std::complex<double>; };

template <int op, class S> S next(S so_far, S x) {
  if constexpr (op == PG_SCAN_MIN || op == PG_SCAN_MAX) {
    const bool wins = op == PG_SCAN_MIN ? less(x, so_far) : less(so_far, x); // of NaN: the former never, the latter yes
    return is_nan(so_far) || !(wins || is_nan(x)) ? so_far : x;
  } else if constexpr (std::is_integral_v<S>) {
    using U = std::make_unsigned_t<S>;
    const U a = static_cast<U>(so_far), b = static_cast<U>(x);
    return static_cast<S>(op == PG_SCAN_PRODUCT ? a * b : a + b);
  } else if constexpr (op == PG_SCAN_PRODUCT && !std::is_floating_point_v<S>) {
    return {so_far.real() * x.real() - so_far.imag() * x.imag(), so_far.real() * x.imag() + so_far.imag() * x.real()};
  } else {
    return op == PG_SCAN_PRODUCT ? so_far * x : so_far + x;
  }
}

// A contiguous line of floats, in pieces: each is scanned from zero and its offset added. The offsets are known to a
// single thread as it goes; several compute the totals first, with the same results.
template <class T> void scan_floats(int64_t n, const T *a, T *to) {
  const ScanSum scan = sizeof(T) == 8 ? reduce_kernels().scan_double : reduce_kernels().scan_float;
  double offset = 0, total;
  if (core::thread_count() == 1 || n <= 2 * piece) {
    for (int64_t i = 0; i < n; i += piece, offset += total)
      scan(std::min(piece, n - i), a + i, to + i, offset, &total);
    return;
  }
  std::vector<double> offsets(static_cast<std::size_t>((n - 1) / piece + 1));
  core::parallel_ranges(n, piece, [&](int64_t begin, int64_t end) {
    scan(end - begin, a + begin, nullptr, 0, &offsets[static_cast<std::size_t>(begin / piece)]);
  });
  for (double &x : offsets) {
    total = x;
    x = offset;
    offset += total;
  }
  core::parallel_ranges(n, piece, [&](int64_t begin, int64_t end) {
    double unused;
    scan(end - begin, a + begin, to + begin, offsets[static_cast<std::size_t>(begin / piece)], &unused);
  });
}

template <int op, class T, class R> void scan_line(int64_t n, const T *a, int64_t stride, R *to, int64_t to_stride) {
  using S = typename SumType<R>::type;
  if constexpr (op == PG_SCAN_SUM && std::is_floating_point_v<T>)
    if (stride == 1 && to_stride == 1)
      return scan_floats(n, a, to);
  if constexpr (op == PG_SCAN_SUM && std::is_integral_v<T> && sizeof(T) == 8)
    if (stride == 1 && to_stride == 1)
      return reduce_kernels().scan_int64(n, reinterpret_cast<const int64_t *>(a), reinterpret_cast<int64_t *>(to));
  const auto run = [&](int64_t step, int64_t to_step) {
    S so_far = static_cast<S>(a[0]);
    to[0] = static_cast<R>(so_far);
    for (int64_t i = 1; i < n; ++i) {
      so_far = next<op>(so_far, static_cast<S>(a[i * step]));
      to[i * to_step] = static_cast<R>(so_far);
    }
  };
  return stride == 1 && to_stride == 1 ? run(1, 1) : run(stride, to_stride); // the compiler makes two loops of it
}

// Adjacent columns together.
template <int op, class T, class R>
void scan_columns(int64_t n, int64_t columns, const T *a, int64_t stride, R *to, int64_t to_stride) {
  using S = typename SumType<R>::type;
  S so_far[tile_width];
  for (int64_t j = 0; j < columns; ++j)
    to[j] = static_cast<R>(so_far[j] = static_cast<S>(a[j]));
  for (int64_t i = 1; i < n; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      so_far[j] = next<op>(so_far[j], static_cast<S>(a[i * stride + j]));
      to[i * to_stride + j] = static_cast<R>(so_far[j]);
    }
}

template <int op, class T, class R> void scan(const pg_array &a, const pg_array &out, int axis) {
  // One slice across the axis, walked beside its counterpart in the result.
  pg_array from = a, to = out;
  from._shape[axis] = to._shape[axis] = 1;
  Shape shape;
  shape.ndim = a._ndim;
  std::copy_n(from._shape, a._ndim, shape.lengths);
  const Walk<2> walk(shape, {&from, &to});
  const int64_t n = a._shape[axis], stride = a._strides[axis], to_stride = out._strides[axis];
  const bool by_columns =
      walk.inner() > 1 && walk.inner_stride(0) == 1 && walk.inner_stride(1) == 1 && std::abs(stride) != 1;
  walk.each(1, [&](const auto &at) {
    const T *x = reinterpret_cast<const T *>(at[0]);
    R *y = reinterpret_cast<R *>(at[1]);
    const int64_t width = by_columns ? tile_width : std::max<int64_t>(1, piece / std::max<int64_t>(n, 1));
    core::parallel_ranges(walk.inner(), width, [&](int64_t begin, int64_t end) {
      if (by_columns)
        return scan_columns<op>(n, end - begin, x + begin, stride, y + begin, to_stride);
      for (int64_t j = begin; j < end; ++j)
        scan_line<op>(n, x + j * walk.inner_stride(0), stride, y + j * walk.inner_stride(1), to_stride);
    });
  });
}

// A row-major copy, or a itself where it is that already, as one line.
Array flat(const pg_array &a) {
  Array line = contiguous(a);
  line.get()->_ndim = 1;
  line.get()->_shape[0] = a._size;
  line.get()->_strides[0] = 1;
  return line;
}

} // namespace
} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_scan(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, int32_t axis) {
  return guard([&] {
    require_alive(*a);
    Array line;
    if (axis < 0) {
      line = flat(*a);
      a = line.get();
      axis = 0;
    }
    require_axis(*a, axis);
    const bool extreme = op == PG_SCAN_MIN || op == PG_SCAN_MAX;
    const int32_t dtype = extreme ? a->_dtype : reduced_dtype(PG_REDUCE_SUM, a->_dtype);
    Array result = create(dtype, {a->_shape, static_cast<std::size_t>(a->_ndim)}, false, collect);
    if (result->_size > 0)
      visit(a->_dtype, [&]<class T>(std::type_identity<T>) {
        // bool counts as signed, as in NumPy
        using Wide = std::conditional_t<std::is_signed_v<T> || std::is_same_v<T, bool>, int64_t, uint64_t>;
        using R = std::conditional_t<std::is_integral_v<T>, Wide, T>;
        if (op == PG_SCAN_SUM)
          scan<PG_SCAN_SUM, T, R>(*a, *result, axis);
        else if (op == PG_SCAN_PRODUCT)
          scan<PG_SCAN_PRODUCT, T, R>(*a, *result, axis);
        else if (op == PG_SCAN_MIN)
          scan<PG_SCAN_MIN, T, T>(*a, *result, axis);
        else
          scan<PG_SCAN_MAX, T, T>(*a, *result, axis);
      });
    constexpr const char *names[] = {"cumsum", "cumprod", "cummin", "cummax"};
    describe_operation(names[op], 1, {a, result.get()});
    *out = result.detach();
  });
}
}
