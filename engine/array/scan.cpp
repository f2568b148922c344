// Running sums and products.
#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "array/reduce.hpp"
#include "array/reduce_kernels.hpp"
#include "core/threads.hpp"

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

template <bool product, class S> S next(S sum, S x) {
  if constexpr (std::is_integral_v<S>) {
    using U = std::make_unsigned_t<S>;
    return static_cast<S>(product ? static_cast<U>(sum) * static_cast<U>(x) : static_cast<U>(sum) + static_cast<U>(x));
  } else if constexpr (product && !std::is_floating_point_v<S>) {
    return {sum.real() * x.real() - sum.imag() * x.imag(), sum.real() * x.imag() + sum.imag() * x.real()};
  } else {
    return product ? sum * x : sum + x;
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

template <bool product, class T, class R>
void scan_line(int64_t n, const T *a, int64_t stride, R *to, int64_t to_stride) {
  using S = typename SumType<R>::type;
  if constexpr (!product && std::is_floating_point_v<T>)
    if (stride == 1 && to_stride == 1)
      return scan_floats(n, a, to);
  S sum = static_cast<S>(product ? 1 : 0);
  for (int64_t i = 0; i < n; ++i) {
    sum = next<product>(sum, static_cast<S>(a[i * stride]));
    to[i * to_stride] = static_cast<R>(sum);
  }
}

// Adjacent columns together.
template <bool product, class T, class R>
void scan_columns(int64_t n, int64_t columns, const T *a, int64_t stride, R *to, int64_t to_stride) {
  using S = typename SumType<R>::type;
  S sum[tile_width];
  std::fill_n(sum, columns, static_cast<S>(product ? 1 : 0));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      sum[j] = next<product>(sum[j], static_cast<S>(a[i * stride + j]));
      to[i * to_stride + j] = static_cast<R>(sum[j]);
    }
}

template <bool product, class T, class R> void scan(const pg_array &a, const pg_array &out, int axis) {
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
        return scan_columns<product>(n, end - begin, x + begin, stride, y + begin, to_stride);
      for (int64_t j = begin; j < end; ++j)
        scan_line<product>(n, x + j * walk.inner_stride(0), stride, y + j * walk.inner_stride(1), to_stride);
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

int32_t pg_array_scan(pg_array *out, int32_t *collect, int32_t product, const pg_array *a, int32_t axis) {
  return guard([&] {
    require_alive(*a);
    Array line;
    if (axis < 0) {
      line = flat(*a);
      a = line.get();
      axis = 0;
    }
    if (axis >= a->_ndim)
      throw ArgumentError("axis " + std::to_string(axis + 1) + " is out of range for an array of " +
                          std::to_string(a->_ndim) + " dimensions");
    Array result = create(reduced_dtype(PG_REDUCE_SUM, a->_dtype), {a->_shape, static_cast<std::size_t>(a->_ndim)},
                          false, collect);
    if (result->_size > 0)
      visit(a->_dtype, [&]<class T>(std::type_identity<T>) {
        using R = std::conditional_t < !std::is_integral_v<T>, T,
              std::conditional_t < std::is_signed_v<T> || std::is_same_v<T, bool>, int64_t, uint64_t >>
            ;
        if (product)
          scan<true, T, R>(*a, *result, axis);
        else
          scan<false, T, R>(*a, *result, axis);
      });
    *out = result.detach();
  });
}
}
