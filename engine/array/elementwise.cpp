// Operations on every element: arithmetic, comparisons, functions, conversion, assignment. Comparison of arrays as a
// whole, and within tolerances, is in equality.cpp.
#include "array/dispatch.hpp"
#include "array/iterate.hpp"
#include "array/kernels.hpp"
#include "array/manipulate.hpp"
#include "array/stream.hpp"

#include <atomic>
#include <cmath>
#include <cstring>
#include <iterator>

namespace perigee::array {
namespace {

constexpr int64_t chunk = 512; // elements converted at a time: three buffers stay in the first-level cache

struct Buffer {
  alignas(64) std::byte bytes[chunk * 16];
};

// bool < integers < floats < complex: NumPy's "same kind" rule for writing into an existing array, but that signed and
// unsigned integers are one kind here: what does not fit is noticed.
int kind(int32_t dtype) {
  return dtype == PG_BOOL ? 0 : is_complex(dtype) ? 3 : is_float(dtype) ? 2 : 1;
}

void require_writable(const pg_array &a) {
  require_alive(a);
  if (a._flags & PG_ARRAY_READONLY)
    throw ArgumentError("this array is read-only; write to a copy of it (a:copy())");
}

void require_holds(int32_t from, int32_t to) {
  if (is_complex(from) && !is_complex(to))
    throw ArgumentError(std::string(dtype_name(from)) + " values cannot be written into an array of dtype " +
                        dtype_name(to) + "; take their real part (a:real()) or magnitude (a:abs()) first");
  if (kind(from) > kind(to))
    throw ArgumentError(std::string(dtype_name(from)) + " values cannot be written into an array of dtype " +
                        dtype_name(to) + "; convert them first (astype(\"" + dtype_name(to) + "\")) or write into a " +
                        dtype_name(from) + " array");
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
  if (to._dtype == from._dtype) {
    move_elements(to, from);
    return false;
  }
  Shape shape;
  shape.ndim = to._ndim;
  std::copy_n(to._shape, to._ndim, shape.lengths);
  const Walk<2> walk(shape, {&to, &from});
  const CastKernel cast = kernels().cast[from._dtype][to._dtype];
  if (!cast)
    throw ArgumentError(std::string("complex numbers cannot be converted to ") + dtype_name(to._dtype) +
                        "; take their real part (a:real()) or magnitude (a:abs()) first");
  std::atomic<bool> bad = false;
  walk.blocks(cheap, [&](const auto &at, int64_t outer, int64_t inner) {
    bool unfit = false;
    for (int64_t o = 0; o < outer; ++o)
      unfit |= cast(inner, at[1] + o * walk.outer_stride(1) * walk.bytes[1], walk.inner_stride(1),
                    at[0] + o * walk.outer_stride(0) * walk.bytes[0], walk.inner_stride(0));
    if (unfit)
      bad.store(true, std::memory_order_relaxed);
  });
  return bad;
}

// Makes *out a new array of this shape, or checks the one that is there.
void prepare(pg_array *out, int32_t *collect, int32_t dtype, const Shape &shape) {
  if (!out->_block) {
    create_at(*out, dtype, {shape.lengths, static_cast<std::size_t>(shape.ndim)}, false, collect);
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

// What computes elements: a loop for any strides, or a function over adjacent elements.
struct Kernel {
  LoopKernel loop = nullptr;
  void (*function)() = nullptr;
  int32_t from = 0, to = 0; // dtypes of operands and result
  int operands = 0;
  explicit operator bool() const { return loop || function; }
  bool adjacent() const { return !loop; }

  template <class T, class R> void apply(const Loop &l) const {
    for (int64_t o = 0; o < l.outer; ++o) {
      const T *x = static_cast<const T *>(l.data[0]) + o * l.outer_stride[0];
      if (operands == 1)
        reinterpret_cast<void (*)(int64_t, const T *, R *)>(function)(
            l.inner, x, static_cast<R *>(l.data[1]) + o * l.outer_stride[1]);
      else if constexpr (std::is_same_v<T, R>)
        reinterpret_cast<void (*)(int64_t, const T *, const T *, T *)>(function)(
            l.inner, x, static_cast<const T *>(l.data[1]) + o * l.outer_stride[1],
            static_cast<T *>(l.data[2]) + o * l.outer_stride[2]);
    }
  }
  void operator()(const Loop &l) const {
    if (loop)
      return loop(l);
    switch (from) {
    case PG_FLOAT32:
      return apply<float, float>(l);
    case PG_FLOAT64:
      return apply<double, double>(l);
    case PG_COMPLEX64:
      return is_complex(to) ? apply<std::complex<float>, std::complex<float>>(l) : apply<std::complex<float>, float>(l);
    case PG_COMPLEX128:
      return is_complex(to) ? apply<std::complex<double>, std::complex<double>>(l)
                            : apply<std::complex<double>, double>(l);
    }
  }
};

// A kernel over inputs and output (the last array), through buffers where dtypes are not the kernel's, where elements
// are not adjacent and the kernel needs them so, and where the output passes the caches.
template <int N> struct Run {
  const Kernel &kernel;
  const std::array<const pg_array *, N> &arrays;
  const std::array<int32_t, N> &dtypes; // the kernel's
  const Walk<N> walk;
  bool buffered[N], direct = true, streams;

  Run(const Kernel &kernel, const Shape &shape, const std::array<const pg_array *, N> &arrays,
      const std::array<int32_t, N> &dtypes)
      : kernel(kernel), arrays(arrays), dtypes(dtypes), walk(shape, arrays) {
    const pg_array &out = *arrays[N - 1];
    streams = walk.outer() == 1 && walk.ndim == 2 && walk.inner_stride(N - 1) == 1 && out._dtype == dtypes[N - 1] &&
              walk.inner() * walk.bytes[N - 1] >= stream_threshold() &&
              reinterpret_cast<uintptr_t>(out._data) % 64 == 0;
    for (int n = 0; n < N; ++n) {
      buffered[n] = arrays[n]->_dtype != dtypes[n] || (kernel.adjacent() && walk.inner_stride(n) != 1);
      streams = streams && (n == N - 1 || arrays[n]->_data != out._data);
    }
    buffered[N - 1] |= streams;
    for (bool each : buffered)
      direct &= !each;
  }

  // True if a value did not fit the output.
  bool block(const std::array<char *, N> &at, int64_t outer, int64_t inner) const {
    Loop loop{};
    loop.outer = outer;
    loop.inner = inner;
    if (direct) {
      for (int n = 0; n < N; ++n) {
        loop.data[n] = at[n];
        loop.outer_stride[n] = walk.outer_stride(n);
        loop.inner_stride[n] = walk.inner_stride(n);
      }
      kernel(loop);
      return false;
    }
    Buffer buffers[N];
    bool bad = false;
    loop.outer = 1;
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t begin = 0; begin < inner; begin += chunk) {
        loop.inner = std::min(chunk, inner - begin);
        char *here[N];
        for (int n = 0; n < N; ++n) {
          const int64_t stride = walk.inner_stride(n);
          here[n] = at[n] + (o * walk.outer_stride(n) + begin * stride) * walk.bytes[n];
          if (!buffered[n]) {
            loop.data[n] = here[n];
            loop.inner_stride[n] = stride;
            continue;
          }
          const bool once = stride == 0 && !kernel.adjacent();
          loop.data[n] = buffers[n].bytes;
          loop.inner_stride[n] = once ? 0 : 1;
          if (n < N - 1 && (stride != 0 || begin == 0))
            bad |=
                kernels().cast[arrays[n]->_dtype][dtypes[n]](once ? 1 : loop.inner, here[n], stride, loop.data[n], 1);
        }
        kernel(loop);
        constexpr int last = N - 1;
        if (streams)
          stream(here[last], loop.data[last], loop.inner * walk.bytes[last]);
        else if (buffered[last])
          bad |= kernels().cast[dtypes[last]][arrays[last]->_dtype](loop.inner, loop.data[last], 1, here[last],
                                                                    walk.inner_stride(last));
      }
    if (streams)
      stream_end();
    return bad;
  }
};

template <int N>
void run(const Kernel &kernel, const Shape &shape, const std::array<const pg_array *, N> &arrays,
         const std::array<int32_t, N> &dtypes) {
  const Run<N> job(kernel, shape, arrays, dtypes);
  std::atomic<bool> bad = false;
  job.walk.blocks(kernel.adjacent() ? costly : cheap, [&](const auto &at, int64_t outer, int64_t inner) {
    if (job.block(at, outer, inner))
      bad.store(true, std::memory_order_relaxed);
  });
  if (bad)
    does_not_fit(dtypes[N - 1], arrays[N - 1]->_dtype);
}

// The short way for few elements into a new array: inputs of the kernel's dtype that are vectors of one length,
// row-major arrays of one shape, or single elements. False if this is not that. (The general way takes twice the time
// that a kernel takes for 1000 elements.)
template <int N>
bool run_small(const Kernel &kernel, pg_array *out, int32_t *collect, const std::array<const pg_array *, N> &inputs,
               int32_t dtype, int32_t result) {
  if (out->_block)
    return false;
  const pg_array *main = inputs[0];
  for (const pg_array *input : inputs)
    if (input->_ndim > main->_ndim || (input->_ndim == main->_ndim && input->_size > main->_size))
      main = input;
  const int64_t n = main->_size;
  if (n == 0 || n >= (kernel.adjacent() ? costly : cheap).least)
    return false;
  Loop loop;
  loop.outer = 1;
  loop.inner = n;
  for (int i = 0; i < N; ++i) {
    const pg_array &a = *inputs[static_cast<std::size_t>(i)];
    int64_t stride = 0;
    if (a._dtype != dtype)
      return false;
    if (a._size != 1) {
      bool same = a._ndim == main->_ndim;
      for (int axis = 0; same && axis < a._ndim; ++axis)
        same = a._shape[axis] == main->_shape[axis];
      if (!same || (a._ndim > 1 && !is_contiguous(a)))
        return false;
      stride = a._ndim == 1 ? a._strides[0] : 1;
    }
    if (kernel.adjacent() && stride != 1)
      return false;
    loop.data[i] = a._data;
    loop.inner_stride[i] = stride;
    loop.outer_stride[i] = 0;
  }
  create_at(*out, result, {main->_shape, static_cast<std::size_t>(main->_ndim)}, false, collect);
  loop.data[N] = out->_data;
  loop.inner_stride[N] = 1;
  loop.outer_stride[N] = 0;
  kernel(loop);
  return true;
}

constexpr const char *binary_names[] = {"add",          "subtract",
                                        "multiply",     "divide",
                                        "power",        "remainder",
                                        "minimum",      "maximum",
                                        "eq",           "ne",
                                        "lt",           "le",
                                        "gt",           "ge",
                                        "floor_divide", "fmod",
                                        "fmin",         "fmax",
                                        "atan2",        "hypot",
                                        "copysign",     "nextafter",
                                        "logaddexp",    "ldexp",
                                        "logical_and",  "logical_or",
                                        "logical_xor",  "bitwise_and",
                                        "bitwise_or",   "bitwise_xor",
                                        "left_shift",   "right_shift",
                                        "gcd",          "lcm",
                                        "heaviside",    "logaddexp2",
                                        "fdim",         "ieee_remainder"};
constexpr const char *unary_names[] = {
    "negative",   "abs",     "square",   "floor",    "ceil",  "sqrt",  "cbrt",  "exp",   "log",         "sin",
    "cos",        "tan",     "tanh",     "exp2",     "expm1", "log2",  "log10", "log1p", "asin",        "acos",
    "atan",       "sinh",    "cosh",     "asinh",    "acosh", "atanh", "erf",   "erfc",  "gamma",       "lgamma",
    "reciprocal", "degrees", "radians",  "positive", "sign",  "trunc", "round", "conj",  "bitwise_not", "logical_not",
    "isnan",      "isinf",   "isfinite", "signbit",  "angle", "logb"};
constexpr const char *ternary_names[] = {"where", "clip", "fma"};
static_assert(std::size(binary_names) == binary_count && std::size(unary_names) == unary_count &&
              std::size(ternary_names) == ternary_count);

[[noreturn]] void no_such_operation(const char *name, int32_t dtype) {
  const char *instead = "; convert with astype(\"int32\") or astype(\"float64\") first";
  if (is_complex(dtype))
    instead = "; take a:real(), a:imag() or a:abs() first";
  else if (is_float(dtype))
    instead = "; convert with astype(\"int64\") first";
  throw ArgumentError(std::string(name) + " is not defined for " + dtype_name(dtype) + " arrays" + instead);
}

bool is_two(const pg_array &scalar) {
  if (is_complex(scalar._dtype))
    return false;
  double value = 0;
  kernels().cast[scalar._dtype][PG_FLOAT64](1, scalar._data, 1, &value, 1);
  return value == 2;
}

bool is_signed(int32_t dtype) {
  return dtype == PG_INT8 || dtype == PG_INT16 || dtype == PG_INT32 || dtype == PG_INT64;
}

void require_no_negative_power(const pg_array &b) {
  if (!is_signed(b._dtype))
    return;
  Shape shape;
  shape.ndim = b._ndim;
  std::copy_n(b._shape, b._ndim, shape.lengths);
  const Walk<1> walk(shape, {&b});
  visit(b._dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_signed_v<T> && std::is_integral_v<T>) {
      T lowest = 0;
      walk.each(1, [&](const auto &at) {
        const T *x = reinterpret_cast<const T *>(at[0]);
        for (int64_t i = 0; i < walk.inner(); ++i)
          lowest = std::min(lowest, x[i * walk.inner_stride(0)]);
      });
      if (lowest < 0)
        throw ArgumentError("integers cannot be raised to negative integer powers (here " + std::to_string(lowest) +
                            "); convert with astype(\"float64\") first");
    }
  });
}

template <class F> Kernel function_kernel(F f, int32_t dtype, int operands) {
  return {nullptr, reinterpret_cast<void (*)()>(f), dtype, dtype, operands};
}

// The dtype in which `op` works on operands that meet in `dtype`.
int32_t working_dtype(int32_t op, int32_t dtype) {
  switch (op) {
  case PG_DIVIDE:
  case PG_ATAN2:
  case PG_HYPOT:
  case PG_COPYSIGN:
  case PG_NEXTAFTER:
  case PG_LOGADDEXP:
  case PG_LDEXP:
  case PG_HEAVISIDE:
  case PG_LOGADDEXP2:
  case PG_FDIM:
  case PG_IEEE_REMAINDER:
    return kind(dtype) < 2 ? static_cast<int32_t>(PG_FLOAT64) : dtype;
  case PG_LOGICAL_AND:
  case PG_LOGICAL_OR:
  case PG_LOGICAL_XOR:
    return PG_BOOL;
  case PG_POWER:
  case PG_REMAINDER:
  case PG_FLOOR_DIVIDE:
  case PG_FMOD:
  case PG_LEFT_SHIFT:
  case PG_RIGHT_SHIFT:
    return dtype == PG_BOOL ? static_cast<int32_t>(PG_INT8) : dtype;
  }
  return dtype;
}

Kernel binary_kernel(int32_t op, int32_t dtype) {
  if (const LoopKernel loop = kernels().binary[op][dtype])
    return {loop, nullptr, dtype, dtype, 2};
  const Functions &f = functions();
  switch (dtype) {
  case PG_FLOAT32:
    return function_kernel(f.float32.binary[op], dtype, 2);
  case PG_FLOAT64:
    return function_kernel(f.float64.binary[op], dtype, 2);
  case PG_COMPLEX64:
    return function_kernel(f.complex64.binary[op], dtype, 2);
  case PG_COMPLEX128:
    return function_kernel(f.complex128.binary[op], dtype, 2);
  }
  return {};
}

bool gives_bool(int32_t op) {
  return op >= PG_EQ && op <= PG_GE;
}

void binary(pg_array *out, int32_t *collect, int32_t op, const pg_array &a, const pg_array &b);

// Compares uint64 with signed integers, which meet in float64, exactly: as uint64 where those are not negative.
void compare_signs(pg_array *out, int32_t *collect, int32_t op, const pg_array &a, const pg_array &b) {
  const bool first = a._dtype != PG_UINT64; // is signed
  const Array wide = copy(first ? a : b, PG_INT64, collect);
  pg_array bits = *wide;
  bits._dtype = PG_UINT64;
  Array equal_signs, negative;
  binary(equal_signs.get(), collect, op, first ? bits : a, first ? b : bits);
  int64_t nothing = 0;
  pg_array zero{};
  zero._data = &nothing;
  zero._size = 1;
  zero._dtype = PG_INT64;
  binary(negative.get(), collect, PG_LT, *wide, zero);
  const bool holds = op == PG_NE || (op != PG_EQ && first); // where the signed one is negative
  binary(out, collect, holds ? PG_BITWISE_OR : PG_GT, *equal_signs, *negative);
}

void binary(pg_array *out, int32_t *collect, int32_t op, const pg_array &a, const pg_array &b) {
  require_alive(a);
  require_alive(b);
  if (op < 0 || op >= binary_count)
    throw InternalError("binary operation " + std::to_string(op));
  if (op == PG_GT || op == PG_GE)
    return binary(out, collect, op == PG_GT ? PG_LT : PG_LE, b, a);
  const int32_t dtype = working_dtype(op, promote(a._dtype, b._dtype));
  if (gives_bool(op) && dtype == PG_FLOAT64 && kind(a._dtype) == 1 && kind(b._dtype) == 1)
    return compare_signs(out, collect, op, a, b);
  const Kernel kernel = binary_kernel(op, dtype);
  if (!kernel)
    no_such_operation(binary_names[op], dtype);
  if (op == PG_POWER && b._size > 0 && kind(dtype) == 1)
    require_no_negative_power(b);
  // x^2 is by far the most common power, and a multiplication takes a fiftieth of the time.
  if (op == PG_POWER && b._ndim == 0 && is_two(b) && a._dtype == dtype)
    return binary(out, collect, PG_MULTIPLY, a, a);
  const int32_t result = gives_bool(op) ? static_cast<int32_t>(PG_BOOL) : dtype;
  if (run_small<2>(kernel, out, collect, {&a, &b}, dtype, result))
    return;
  const Shape shape = broadcast(a, b);
  prepare(out, collect, result, shape);
  Array copy_a, copy_b;
  const pg_array *pa = &a, *pb = &b;
  if (clashes(*out, a))
    pa = (copy_a = copy(a, -1, collect)).get();
  if (clashes(*out, b))
    pb = (copy_b = copy(b, -1, collect)).get();
  run<3>(kernel, shape, {pa, pb, out}, {dtype, dtype, result});
}

// The dtype that `op` works in.
int32_t unary_working_dtype(int32_t op, int32_t dtype) {
  if (((op >= PG_SQRT && op <= PG_RADIANS) || op == PG_ANGLE || op == PG_LOGB) && kind(dtype) < 2)
    return PG_FLOAT64;
  if (op == PG_LOGICAL_NOT)
    return PG_BOOL;
  if (op >= PG_ISNAN && op <= PG_SIGNBIT && kind(dtype) < 2)
    return PG_FLOAT64; // keeps signs, and no integer is NaN or infinite
  if (op == PG_SQUARE && dtype == PG_BOOL)
    return PG_INT8;
  return dtype;
}

Kernel unary_kernel(int32_t op, int32_t dtype) {
  const int32_t result = op >= PG_LOGICAL_NOT && op <= PG_SIGNBIT ? static_cast<int32_t>(PG_BOOL) : dtype;
  if (const LoopKernel loop = kernels().unary[op][dtype])
    return {loop, nullptr, dtype, result, 1};
  const Functions &f = functions();
  switch (dtype) {
  case PG_FLOAT32:
    return function_kernel(f.float32.unary[op], dtype, 1);
  case PG_FLOAT64:
    return function_kernel(f.float64.unary[op], dtype, 1);
  case PG_COMPLEX64:
    if (f.magnitude64[op])
      return {nullptr, reinterpret_cast<void (*)()>(f.magnitude64[op]), dtype, PG_FLOAT32, 1};
    return function_kernel(f.complex64.unary[op], dtype, 1);
  case PG_COMPLEX128:
    if (f.magnitude128[op])
      return {nullptr, reinterpret_cast<void (*)()>(f.magnitude128[op]), dtype, PG_FLOAT64, 1};
    return function_kernel(f.complex128.unary[op], dtype, 1);
  }
  return {};
}

void unary(pg_array *out, int32_t *collect, int32_t op, const pg_array &a) {
  require_alive(a);
  if (op < 0 || op >= unary_count)
    throw InternalError("unary operation " + std::to_string(op));
  const int32_t dtype = unary_working_dtype(op, a._dtype);
  const Kernel kernel = unary_kernel(op, dtype);
  if (!kernel)
    no_such_operation(unary_names[op], dtype);
  if (run_small<1>(kernel, out, collect, {&a}, dtype, kernel.to))
    return;
  Shape shape;
  shape.ndim = a._ndim;
  std::copy_n(a._shape, a._ndim, shape.lengths);
  prepare(out, collect, kernel.to, shape);
  Array copy_a;
  const pg_array *pa = &a;
  if (clashes(*out, a))
    pa = (copy_a = copy(a, -1, collect)).get();
  run<2>(kernel, shape, {pa, out}, {dtype, kernel.to});
}

// A descriptor of this shape without memory, for broadcast().
pg_array outline(const Shape &shape) {
  pg_array a{};
  a._ndim = shape.ndim;
  std::copy_n(shape.lengths, shape.ndim, a._shape);
  return a;
}

void ternary(pg_array *out, int32_t *collect, int32_t op, const std::array<const pg_array *, 3> &inputs) {
  for (const pg_array *input : inputs)
    require_alive(*input);
  if (op < 0 || op >= ternary_count)
    throw InternalError("ternary operation " + std::to_string(op));
  const auto [a, b, c] = inputs;
  int32_t dtype = promote(b->_dtype, c->_dtype);
  if (op != PG_WHERE)
    dtype = promote(a->_dtype, dtype);
  if (op == PG_FMA && kind(dtype) < 2)
    dtype = PG_FLOAT64;
  const LoopKernel loop = kernels().ternary[op][dtype];
  if (!loop)
    no_such_operation(ternary_names[op], dtype);
  const Shape shape = broadcast(*a, outline(broadcast(*b, *c)));
  prepare(out, collect, dtype, shape);
  Array copies[3];
  std::array<const pg_array *, 4> arrays{a, b, c, out};
  for (std::size_t i = 0; i < 3; ++i)
    if (clashes(*out, *inputs[i]))
      arrays[i] = (copies[i] = copy(*inputs[i], -1, collect)).get();
  run<4>({loop, nullptr, dtype, dtype, 3}, shape, arrays,
         {op == PG_WHERE ? static_cast<int32_t>(PG_BOOL) : dtype, dtype, dtype, dtype});
}

// Writes the elements that `to` cannot hold as C's conversions do where they are defined.
void wrap(const pg_array &to, const pg_array &from) {
  if (!is_float(from._dtype))
    return; // integers were cut by the kernel already
  Shape shape;
  shape.ndim = to._ndim;
  std::copy_n(to._shape, to._ndim, shape.lengths);
  const Walk<2> walk(shape, {&to, &from});
  const bool narrow = from._dtype == PG_FLOAT32;
  walk.each(1, [&](const auto &at) {
    for (int64_t i = 0; i < walk.inner(); ++i) {
      const char *p = at[1] + i * walk.inner_stride(1) * walk.bytes[1];
      const double x = narrow ? *reinterpret_cast<const float *>(p) : *reinterpret_cast<const double *>(p);
      uint64_t bits = 0;
      if (x >= 0 && x < 18446744073709551616.0)
        bits = static_cast<uint64_t>(x);
      else if (x < 0 && x >= -9223372036854775808.0)
        bits = static_cast<uint64_t>(static_cast<int64_t>(x));
      std::memcpy(at[0] + i * walk.inner_stride(0) * walk.bytes[0], &bits, static_cast<std::size_t>(walk.bytes[0]));
    }
  });
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

// Per element, for those who watch operations. Functions as exp count as 20: a polynomial of degree 10 or so.
static double flops_of_unary(int32_t op) {
  return (op >= PG_CBRT && op <= PG_LGAMMA) || op == PG_ANGLE ? 20 : 1;
}

static double flops_of_binary(int32_t op) {
  return op == PG_POWER || op == PG_ATAN2 || op == PG_HYPOT || op == PG_LOGADDEXP || op == PG_LOGADDEXP2 ? 20 : 1;
}

extern "C" {

int32_t pg_array_astype(pg_array *out, int32_t *collect, const pg_array *a, int32_t dtype) {
  return guard([&] {
    *out = copy(*a, dtype, collect).detach();
    describe_operation("astype", 0, {out, a});
  });
}

int32_t pg_array_astype_wrap(pg_array *out, int32_t *collect, const pg_array *a, int32_t dtype) {
  return guard([&] {
    require_alive(*a);
    Array result = create(dtype, {a->_shape, static_cast<std::size_t>(a->_ndim)}, false, collect);
    if (perigee::array::convert(*result, *a))
      wrap(*result, *a);
    *out = result.detach();
  });
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
    describe_operation("assign", 0, {a, b});
    if (perigee::array::convert(*a, *b))
      does_not_fit(b->_dtype, a->_dtype);
  });
}

int32_t pg_array_binary(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, const pg_array *b) {
  return guard([&] {
    perigee::array::binary(out, collect, op, *a, *b);
    describe_operation(binary_names[op], flops_of_binary(op), {out, a, b});
  });
}

int32_t pg_array_unary(pg_array *out, int32_t *collect, int32_t op, const pg_array *a) {
  return guard([&] {
    perigee::array::unary(out, collect, op, *a);
    describe_operation(unary_names[op], flops_of_unary(op), {out, a});
  });
}

int32_t pg_array_ternary(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, const pg_array *b,
                         const pg_array *c) {
  return guard([&] {
    perigee::array::ternary(out, collect, op, {a, b, c});
    describe_operation(ternary_names[op], 1, {out, a, b, c});
  });
}
}
