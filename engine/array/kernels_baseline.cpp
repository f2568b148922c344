// Kernels for every machine of the architecture, and the choice among all of them.
#include "array/kernels.hpp"

namespace perigee::array {
namespace baseline {
#include "array/kernels.inc"
}

const Kernels &baseline_kernels() {
  static const Kernels table = baseline::make("baseline");
  return table;
}

const Kernels &kernels() {
  static const Kernels &best = []() -> const Kernels & {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
      return avx512_kernels();
    if (__builtin_cpu_supports("avx2"))
      return avx2_kernels();
#endif
    return baseline_kernels();
  }();
  return best;
}

} // namespace perigee::array
