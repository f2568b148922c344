// Reductions for x86-64 machines with AVX2.
#include "array/reduce_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx2")

namespace perigee::array {
namespace reduce_avx2 {
#define PERIGEE_VECTOR 32
#include "array/reduce_kernels.inc"
} // namespace reduce_avx2

const ReduceKernels &avx2_reduce_kernels() {
  static const ReduceKernels table = reduce_avx2::make("avx2");
  return table;
}

} // namespace perigee::array

#pragma GCC pop_options
#endif
