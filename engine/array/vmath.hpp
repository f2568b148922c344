// Vector mathematics: the functions of math.h over adjacent elements, by glibc's libmvec (made from Intel's SVML; at
// most 4 ulp off, most within 1) and by kernels of our own where those are faster. The instruction set is chosen at run
// time. libmvec is loaded at the first use, which saves half a millisecond of every start; where it is missing there
// are no functions here, and libm's serve.
#pragma once

#include <cstdint>

namespace perigee::array::vmath {

/// f(n, x, y): y[i] = f(x[i]); y may be x itself. Any alignment.
template <class T> using Unary = void (*)(int64_t n, const T *x, T *y);
/// f(n, x, y, z): z[i] = f(x[i], y[i]); z may be x or y.
template <class T> using Binary = void (*)(int64_t n, const T *x, const T *y, T *z);

template <class T> struct Table {
  Unary<T> exp, exp2, expm1, log, log2, log10, log1p, sin, cos, tan, asin, acos, atan, sinh, cosh, tanh, asinh, acosh,
      atanh, cbrt, erf, erfc;
  Binary<T> pow, atan2, hypot;
};

struct Functions {
  const char *name; // "avx512", "avx2", "baseline", or "none": all null
  Table<float> float32;
  Table<double> float64;
};

/// The fastest functions of this machine.
const Functions &functions();

/// Those of one instruction set, for tests; all null where this machine lacks it.
const Functions &baseline_functions();
const Functions &avx2_functions();
const Functions &avx512_functions();

/// A function of libmvec by its name ("_ZGVdN4v_exp"); null where there is none.
void *find(const char *symbol);

} // namespace perigee::array::vmath
