// Kernels for x86-64 machines with AVX512.
#include "array/kernels.hpp"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,prefer-vector-width=512")

namespace perigee::array {
namespace avx512 {
#include "array/kernels.inc"
}

const Kernels &avx512_kernels() {
  static const Kernels table = avx512::make("avx512");
  return table;
}

} // namespace perigee::array

#pragma GCC pop_options
#endif
