// Operations on every element: arithmetic, comparisons, functions, conversion, assignment.
#include "array/iterate.hpp"
#include "array/kernels.hpp"

namespace perigee::array {
namespace {

constexpr int64_t chunk = 512; // elements converted at a time: three buffers stay in the first-level cache

struct Buffer {
  alignas(64) std::byte bytes[chunk * 8];
};

// bool < integers < floats: NumPy's "same kind" rule for writing into an existing array.
int kind(int32_t dtype) {
  return dtype == PG_BOOL ? 0 : is_float(dtype) ? 2 : 1;
}

void require_writable(const pg_array &a) {
  require_alive(a);
  if (a._flags & PG_ARRAY_READONLY)
    throw ArgumentError("this array is read-only; write to a copy of it (a:copy())");
}

void require_holds(int32_t from, int32_t to) {
  if (kind(from) > kind(to))
    throw ArgumentError(std::string(dtype_name(from)) + " values cannot be written into an array of dtype " +
                        dtype_name(to) + "; convert them first with astype(\"" + dtype_name(to) + "\")");
}

[[noreturn]] void does_not_fit(int32_t from, int32_t to) {
  throw ArgumentError(std::string("converting ") + dtype_name(from) + " to " + dtype_name(to) +
                      ": a value is NaN or outside the range of " + dtype_name(to));
}

// The bytes that an array's elements span.
std::pair<const char *, const char *> extent(const pg_array &a) {
  const char *low = static_cast<const char *>(a._data), *high = low;
  const auto size = static_cast<int64_t>(element_size(a._dtype));
  for (int i = 0; i < a._ndim; ++i) {
    const int64_t reach = (a._shape[i] - 1) * a._strides[i] * size;
    (reach < 0 ? low : high) += reach;
  }
  return {low, high + size};
}

// True if writing `out` element by element could change elements of `in` that are still to be read.
bool clashes(const pg_array &out, const pg_array &in) {
  if (out._size == 0 || in._size == 0)
    return false;
  const auto [out_low, out_high] = extent(out);
  const auto [in_low, in_high] = extent(in);
  if (in_high <= out_low || out_high <= in_low)
    return false;
  bool same = out._data == in._data && out._ndim == in._ndim && out._dtype == in._dtype;
  for (int i = 0; same && i < out._ndim; ++i)
    same = out._shape[i] == in._shape[i] && out._strides[i] == in._strides[i];
  return !same;
}

bool convert(const pg_array &to, const pg_array &from) { // true if a value did not fit
  Shape shape;
  shape.ndim = to._ndim;
  std::copy_n(to._shape, to._ndim, shape.lengths);
  const Walk<2> walk(shape, {&to, &from});
  const CastKernel cast = kernels().cast[from._dtype][to._dtype];
  if (!cast)
    throw UnsupportedError(std::string("conversion of ") + dtype_name(from._dtype) + " to " + dtype_name(to._dtype));
  bool bad = false;
  walk.each(
      1, [&](const auto &at) { bad |= cast(walk.inner(), at[1], walk.inner_stride(1), at[0], walk.inner_stride(0)); });
  return bad;
}

// Makes *out a new array of this shape, or checks the one that is there.
void prepare(pg_array *out, int32_t *collect, int32_t dtype, const Shape &shape) {
  if (!out->_block) {
    *out = create(dtype, {shape.lengths, static_cast<std::size_t>(shape.ndim)}, false, collect).detach();
    return;
  }
  require_writable(*out);
  bool same = out->_ndim == shape.ndim;
  for (int i = 0; same && i < shape.ndim; ++i)
    same = out->_shape[i] == shape.lengths[i];
  if (!same) {
    pg_array result{};
    result._ndim = shape.ndim;
    std::copy_n(shape.lengths, shape.ndim, result._shape);
    throw ArgumentError("a result of shape " + shape_text(result) + " cannot be written into an array of shape " +
                        shape_text(*out));
  }
  require_holds(dtype, out->_dtype);
}

// Runs a kernel over inputs and output (the last array), converting where their dtypes are not the kernel's.
template <int N>
void run(LoopKernel kernel, const Shape &shape, const std::array<const pg_array *, N> &arrays,
         const std::array<int32_t, N> &dtypes) {
  const Walk<N> walk(shape, arrays);
  bool direct = true;
  for (int n = 0; n < N; ++n)
    direct &= arrays[n]->_dtype == dtypes[n];
  Loop loop{};
  if (direct) {
    loop.outer = walk.outer();
    loop.inner = walk.inner();
    for (int n = 0; n < N; ++n) {
      loop.outer_stride[n] = walk.outer_stride(n);
      loop.inner_stride[n] = walk.inner_stride(n);
    }
    walk.each(2, [&](const auto &at) {
      std::copy_n(at.begin(), N, loop.data);
      kernel(loop);
    });
    return;
  }
  Buffer buffers[N];
  loop.outer = 1;
  bool bad = false;
  walk.each(1, [&](const auto &at) {
    for (int64_t begin = 0; begin < walk.inner(); begin += chunk) {
      loop.inner = std::min(chunk, walk.inner() - begin);
      for (int n = 0; n < N; ++n) {
        char *here = at[n] + begin * walk.inner_stride(n) * walk.bytes[n];
        if (arrays[n]->_dtype == dtypes[n]) {
          loop.data[n] = here;
          loop.inner_stride[n] = walk.inner_stride(n);
          continue;
        }
        loop.data[n] = buffers[n].bytes;
        loop.inner_stride[n] = walk.inner_stride(n) == 0 ? 0 : 1;
        if (n < N - 1)
          bad |= kernels().cast[arrays[n]->_dtype][dtypes[n]](walk.inner_stride(n) == 0 ? 1 : loop.inner, here,
                                                              walk.inner_stride(n), loop.data[n], 1);
      }
      kernel(loop);
      if (arrays[N - 1]->_dtype != dtypes[N - 1])
        bad |= kernels().cast[dtypes[N - 1]][arrays[N - 1]->_dtype](
            loop.inner, loop.data[N - 1], 1, at[N - 1] + begin * walk.inner_stride(N - 1) * walk.bytes[N - 1],
            walk.inner_stride(N - 1));
    }
  });
  if (bad)
    does_not_fit(dtypes[N - 1], arrays[N - 1]->_dtype);
}

constexpr const char *binary_names[] = {"add",     "subtract", "multiply", "divide", "power", "remainder", "minimum",
                                        "maximum", "eq",       "ne",       "lt",     "le",    "gt",        "ge"};
constexpr const char *unary_names[] = {"negative", "abs", "square", "floor", "ceil", "sqrt", "cbrt",
                                       "exp",      "log", "sin",    "cos",   "tan",  "tanh"};

[[noreturn]] void no_such_operation(const char *name, int32_t dtype) {
  throw ArgumentError(std::string(name) + " is not defined for " + dtype_name(dtype) +
                      " arrays; convert with astype(\"int32\") or astype(\"float64\") first");
}

bool is_two(const pg_array &scalar) {
  double value = 0;
  kernels().cast[scalar._dtype][PG_FLOAT64](1, scalar._data, 1, &value, 1);
  return value == 2;
}

void binary(pg_array *out, int32_t *collect, int32_t op, const pg_array &a, const pg_array &b) {
  require_alive(a);
  require_alive(b);
  if (op < 0 || op > PG_GE)
    throw InternalError("binary operation " + std::to_string(op));
  int32_t dtype = promote(a._dtype, b._dtype);
  if (op == PG_DIVIDE && !is_float(dtype))
    dtype = PG_FLOAT64;
  const LoopKernel kernel = kernels().binary[op][dtype];
  if (!kernel)
    no_such_operation(binary_names[op], dtype);
  if (op == PG_POWER && !is_float(dtype) && b._size > 0) {
    double unused;
    int64_t lowest;
    int32_t type;
    if (pg_array_reduce_all(PG_MIN, &b, &unused, &lowest, &type) == PG_OK && lowest < 0)
      throw ArgumentError("integers cannot be raised to negative integer powers (here " + std::to_string(lowest) +
                          "); convert with astype(\"float64\") first");
  }
  // x^2 is by far the most common power, and a multiplication takes a fiftieth of the time.
  if (op == PG_POWER && b._ndim == 0 && is_two(b) && a._dtype == dtype)
    return binary(out, collect, PG_MULTIPLY, a, a);
  const Shape shape = broadcast(a, b);
  const int32_t result = op >= PG_EQ ? PG_BOOL : dtype;
  prepare(out, collect, result, shape);
  Array copy_a, copy_b;
  const pg_array *pa = &a, *pb = &b;
  if (clashes(*out, a))
    pa = (copy_a = copy(a, -1, collect)).get();
  if (clashes(*out, b))
    pb = (copy_b = copy(b, -1, collect)).get();
  run<3>(kernel, shape, {pa, pb, out}, {dtype, dtype, result});
}

void unary(pg_array *out, int32_t *collect, int32_t op, const pg_array &a) {
  require_alive(a);
  if (op < 0 || op > PG_TANH)
    throw InternalError("unary operation " + std::to_string(op));
  const int32_t dtype = op >= PG_SQRT && !is_float(a._dtype) ? static_cast<int32_t>(PG_FLOAT64) : a._dtype;
  const LoopKernel kernel = kernels().unary[op][dtype];
  if (!kernel)
    no_such_operation(unary_names[op], dtype);
  Shape shape;
  shape.ndim = a._ndim;
  std::copy_n(a._shape, a._ndim, shape.lengths);
  prepare(out, collect, dtype, shape);
  Array copy_a;
  const pg_array *pa = &a;
  if (clashes(*out, a))
    pa = (copy_a = copy(a, -1, collect)).get();
  run<2>(kernel, shape, {pa, out}, {dtype, dtype});
}

} // namespace

Array copy(const pg_array &a, int32_t dtype, int32_t *collect) {
  require_alive(a);
  Array result = create(dtype < 0 ? a._dtype : dtype, {a._shape, static_cast<std::size_t>(a._ndim)}, false, collect);
  if (convert(*result, a))
    does_not_fit(a._dtype, dtype);
  return result;
}

} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_astype(pg_array *out, int32_t *collect, const pg_array *a, int32_t dtype) {
  return guard([&] { *out = copy(*a, dtype, collect).detach(); });
}

int32_t pg_array_assign(const pg_array *a, const pg_array *b) {
  return guard([&] {
    require_writable(*a);
    require_alive(*b);
    require_holds(b->_dtype, a->_dtype);
    bool fits = b->_ndim <= a->_ndim;
    for (int i = 0; fits && i < b->_ndim; ++i)
      fits = b->_shape[i] == 1 || b->_shape[i] == a->_shape[i + a->_ndim - b->_ndim];
    if (!fits)
      throw ArgumentError("an array of shape " + shape_text(*b) + " cannot be written into one of shape " +
                          shape_text(*a));
    Array copied;
    if (clashes(*a, *b))
      b = (copied = copy(*b)).get();
    if (perigee::array::convert(*a, *b))
      does_not_fit(b->_dtype, a->_dtype);
  });
}

int32_t pg_array_binary(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, const pg_array *b) {
  return guard([&] { perigee::array::binary(out, collect, op, *a, *b); });
}

int32_t pg_array_unary(pg_array *out, int32_t *collect, int32_t op, const pg_array *a) {
  return guard([&] { perigee::array::unary(out, collect, op, *a); });
}

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
        cast_a(n, at[0] + begin * walk.inner_stride(0) * walk.bytes[0], walk.inner_stride(0), buffer_a.bytes, 1);
        cast_b(n, at[1] + begin * walk.inner_stride(1) * walk.bytes[1], walk.inner_stride(1), buffer_b.bytes, 1);
        equal({1, n, {buffer_a.bytes, buffer_b.bytes, buffer_out.bytes}, {}, {1, 1, 1}});
        const auto *same = reinterpret_cast<const uint8_t *>(buffer_out.bytes);
        for (int64_t i = 0; i < n; ++i) {
          bool fine = same[i] != 0;
          if (!fine && equal_nan && dtype == PG_FLOAT64) {
            const double x = reinterpret_cast<const double *>(buffer_a.bytes)[i];
            const double y = reinterpret_cast<const double *>(buffer_b.bytes)[i];
            fine = x != x && y != y;
          } else if (!fine && equal_nan && dtype == PG_FLOAT32) {
            const float x = reinterpret_cast<const float *>(buffer_a.bytes)[i];
            const float y = reinterpret_cast<const float *>(buffer_b.bytes)[i];
            fine = x != x && y != y;
          }
          all &= fine;
        }
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
    const CastKernel cast_a = kernels().cast[a->_dtype][PG_FLOAT64], cast_b = kernels().cast[b->_dtype][PG_FLOAT64];
    const Walk<2> walk(broadcast(*a, *b), {a, b});
    double x[chunk], y[chunk];
    bool all = true;
    walk.each(1, [&](const auto &at) {
      for (int64_t begin = 0; all && begin < walk.inner(); begin += chunk) {
        const int64_t n = std::min(chunk, walk.inner() - begin);
        cast_a(n, at[0] + begin * walk.inner_stride(0) * walk.bytes[0], walk.inner_stride(0), x, 1);
        cast_b(n, at[1] + begin * walk.inner_stride(1) * walk.bytes[1], walk.inner_stride(1), y, 1);
        for (int64_t i = 0; i < n; ++i) {
          const bool finite = std::abs(y[i]) <= 1.7976931348623157e308;
          all &= x[i] == y[i] || (finite && std::abs(x[i] - y[i]) <= atol + rtol * std::abs(y[i])) ||
                 (equal_nan && x[i] != x[i] && y[i] != y[i]);
        }
      }
    });
    *result = all;
  });
}
}
