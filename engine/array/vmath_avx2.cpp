// Vector mathematics for x86-64 machines with AVX2.
#include "array/vmath.hpp"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")

namespace perigee::array::vmath {
namespace avx2 {
#define PG_MVEC_DOUBLE dN4
#define PG_MVEC_FLOAT dN8
typedef double Doubles __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(32)));
#include "array/vmath.inc"
static void replace(Functions &) {}
} // namespace avx2

const Functions &avx2_functions() {
  static const Functions table =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2::make("avx2") : Functions{"none", {}, {}};
  return table;
}

} // namespace perigee::array::vmath

#pragma GCC pop_options
#endif
