// Vector mathematics for x86-64 machines with AVX-512.
#include "array/vmath.hpp"

#if defined(__x86_64__)
#pragma GCC diagnostic ignored "-Wuninitialized" // GCC 12 reports its own intrinsics (its bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,prefer-vector-width=512")

namespace perigee::array::vmath {
namespace avx512 {
#define PG_MVEC_DOUBLE eN8
#define PG_MVEC_FLOAT eN16
typedef __m512d Doubles;
typedef __m512 Floats;
#include "array/vmath.inc"
#include "array/vmath_own.inc"

static void replace(Functions &f) {
  f.float32.sin = apply<sin_float, Floats, float, true, sine_own<sin_float, false>>;
  f.float32.cos = apply<cos_float, Floats, float, true, sine_own<cos_float, true>>;
  f.float32.tanh = apply<tanh_float, Floats, float, true, tanh_own<Floats>>;
  f.float64.tanh = apply<tanh_double, Doubles, double, true, tanh_own<Doubles>>;
  f.float64.log = apply<log_double, Doubles, double, true, partly_own<log_double, logarithm>>;
  f.float64.sinh = apply<sinh_double, Doubles, double, true, partly_own<sinh_double, hyperbolic_sine>>;
  f.float32.pow = apply<pow_float, Floats, float, true, pow_own<pow_float, Floats, __mmask16>>;
  f.float64.pow = apply<pow_double, Doubles, double, true, pow_own<pow_double, Doubles, __mmask8>>;
}
} // namespace avx512

const Functions &avx512_functions() {
  static const Functions table = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")
                                     ? avx512::make("avx512")
                                     : Functions{"none", {}, {}};
  return table;
}

} // namespace perigee::array::vmath

#pragma GCC pop_options
#endif
