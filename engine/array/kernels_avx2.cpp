// Kernels for x86-64 machines with AVX2.
#include "array/kernels.hpp"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2")

namespace perigee::array {
namespace avx2 {
#include "array/kernels.inc"
}

const Kernels &avx2_kernels() {
  static const Kernels table = avx2::make("avx2");
  return table;
}

} // namespace perigee::array

#pragma GCC pop_options
#endif
