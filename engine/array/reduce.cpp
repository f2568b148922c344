// Reductions.
#include "array/iterate.hpp"
#include "array/kernels.hpp"

#include <cmath>
#include <limits>
#include <vector>

namespace perigee::array {
namespace {

constexpr const char *names[] = {"sum", "mean", "min", "max"};

// What the reduction kernel of `op` leaves its results in.
int32_t kernel_result(int32_t op, int32_t dtype) {
  if (op != PG_SUM)
    return dtype;
  return is_float(dtype) ? PG_FLOAT64 : PG_INT64;
}

void require_op(int32_t op) {
  if (op < 0 || op > PG_MAX)
    throw InternalError("reduction " + std::to_string(op));
}

void require_kernel(int32_t op, int32_t dtype) {
  if (!kernels().reduce[op == PG_MEAN ? static_cast<int32_t>(PG_SUM) : op][dtype])
    throw UnsupportedError(std::string(names[op]) + " of " + dtype_name(dtype) + " arrays");
}

[[noreturn]] void nothing_to_reduce(int32_t op) {
  throw ArgumentError(std::string(names[op]) + " of no elements does not exist");
}

void reduce(pg_array *out, int32_t *collect, int32_t op, const pg_array &a, int32_t axis) {
  require_alive(a);
  require_op(op);
  require_kernel(op, a._dtype);
  if (axis < 0 || axis >= a._ndim)
    throw ArgumentError("axis " + std::to_string(axis + 1) + " is out of range for an array of " +
                        std::to_string(a._ndim) + " dimensions");
  const int64_t n = a._shape[axis], stride = a._strides[axis];
  pg_array rest = a; // one slice across the axis
  rest._ndim = a._ndim - 1;
  std::copy(a._shape + axis + 1, a._shape + a._ndim, rest._shape + axis);
  std::copy(a._strides + axis + 1, a._strides + a._ndim, rest._strides + axis);
  Shape shape;
  shape.ndim = rest._ndim;
  rest._size = 1;
  for (int i = 0; i < rest._ndim; ++i)
    rest._size *= shape.lengths[i] = rest._shape[i];
  if (n == 0 && rest._size > 0 && (op == PG_MIN || op == PG_MAX))
    nothing_to_reduce(op);

  const int32_t kernel_op = op == PG_MEAN ? static_cast<int32_t>(PG_SUM) : op;
  const int32_t raw = kernel_result(kernel_op, a._dtype);
  Array results = create(raw, {shape.lengths, static_cast<std::size_t>(shape.ndim)}, false, collect);
  const Walk<2> walk(shape, {&rest, results.get()});
  const ReduceKernel one = kernels().reduce[kernel_op][a._dtype];
  const ColumnKernel columns = kernels().reduce_columns[kernel_op][a._dtype];
  // Adjacent columns are reduced together, which reads memory in order; not if the reduced axis is itself adjacent.
  const bool by_columns =
      walk.inner_stride(0) == 1 && walk.inner_stride(1) == 1 && walk.inner() > 1 && std::abs(stride) != 1;
  walk.each(1, [&](const auto &at) {
    if (by_columns) {
      columns(n, walk.inner(), at[0], stride, at[1]);
      return;
    }
    for (int64_t i = 0; i < walk.inner(); ++i)
      one(n, at[0] + i * walk.inner_stride(0) * walk.bytes[0], stride,
          at[1] + i * walk.inner_stride(1) * walk.bytes[1]);
  });

  const int32_t final_dtype = a._dtype == PG_FLOAT32 ? PG_FLOAT32 : op == PG_MEAN ? PG_FLOAT64 : raw;
  if (op == PG_MEAN) {
    if (raw == PG_INT64)
      results = copy(*results, PG_FLOAT64, collect);
    for (int64_t i = 0; i < results->_size; ++i)
      results.data<double>()[i] /= static_cast<double>(n);
  }
  if (results->_dtype != final_dtype)
    results = copy(*results, final_dtype, collect);
  *out = results.detach();
}

// Reduces everything to one element of dtype kernel_result(op, a._dtype). Partial results of up to 4096 runs are kept
// and reduced pairwise in turn.
void reduce_all(int32_t op, const pg_array &a, void *result) {
  Shape shape;
  shape.ndim = a._ndim;
  std::copy_n(a._shape, a._ndim, shape.lengths);
  const Walk<1> walk(shape, {&a});
  const int32_t raw = kernel_result(op, a._dtype);
  const std::size_t size = element_size(raw), most = 4096;
  const ReduceKernel kernel = kernels().reduce[op][a._dtype], combine = kernels().reduce[op][raw];
  std::vector<std::byte> partial(size * (walk.ndim == 2 && walk.outer() == 1 ? 1 : most));
  std::size_t count = 0;
  walk.each(1, [&](const auto &at) {
    if (count == most) {
      combine(static_cast<int64_t>(count), partial.data(), 1, partial.data());
      count = 1;
    }
    kernel(walk.inner(), at[0], walk.inner_stride(0), partial.data() + size * count++);
  });
  combine(static_cast<int64_t>(count), partial.data(), 1, result);
}

} // namespace
} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_reduce(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, int32_t axis) {
  return guard([&] { reduce(out, collect, op, *a, axis); });
}

int32_t pg_array_reduce_all(int32_t op, const pg_array *a, double *value, int64_t *integer, int32_t *dtype) {
  return guard([&] {
    require_alive(*a);
    require_op(op);
    require_kernel(op, a->_dtype);
    if (a->_size == 0) {
      if (op == PG_MIN || op == PG_MAX)
        nothing_to_reduce(op);
      *integer = 0;
      *value = op == PG_MEAN ? std::numeric_limits<double>::quiet_NaN() : 0;
      *dtype = op == PG_MEAN || is_float(a->_dtype) ? PG_FLOAT64 : PG_INT64;
      return;
    }
    const int32_t kernel_op = op == PG_MEAN ? static_cast<int32_t>(PG_SUM) : op;
    const int32_t raw = kernel_result(kernel_op, a->_dtype);
    alignas(8) std::byte element[8];
    reduce_all(kernel_op, *a, element);
    *dtype = raw;
    if (is_float(raw)) {
      kernels().cast[raw][PG_FLOAT64](1, element, 1, value, 1);
      if (op == PG_MEAN)
        *value /= static_cast<double>(a->_size);
      return;
    }
    kernels().cast[raw][PG_INT64](1, element, 1, integer, 1);
    if (op == PG_MEAN) {
      *value = static_cast<double>(*integer) / static_cast<double>(a->_size);
      *dtype = PG_FLOAT64;
    }
  });
}
}
