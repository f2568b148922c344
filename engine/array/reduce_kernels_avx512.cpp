// Reductions for x86-64 machines with AVX-512.
#include "array/reduce_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,prefer-vector-width=512")

namespace perigee::array {
namespace reduce_avx512 {
#define PERIGEE_VECTOR 64
#include "array/reduce_kernels.inc"
} // namespace reduce_avx512

const ReduceKernels &avx512_reduce_kernels() {
  static const ReduceKernels table = reduce_avx512::make("avx512");
  return table;
}

} // namespace perigee::array

#pragma GCC pop_options
#endif
