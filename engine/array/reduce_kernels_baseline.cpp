// Reductions for every machine of the architecture, and the choice among all of them.
#include "array/reduce_kernels.hpp"
#include "core/isa.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace perigee::array {
namespace reduce_baseline {
#define PERIGEE_VECTOR 16
#include "array/reduce_kernels.inc"
} // namespace reduce_baseline

const ReduceKernels &baseline_reduce_kernels() {
  static const ReduceKernels table = reduce_baseline::make("baseline");
  return table;
}

const ReduceKernels &reduce_kernels() {
  static const ReduceKernels &best = []() -> const ReduceKernels & {
#if defined(__x86_64__)
    if (isa() >= Isa::avx512)
      return avx512_reduce_kernels();
    if (isa() >= Isa::avx2)
      return avx2_reduce_kernels();
#endif
    return baseline_reduce_kernels();
  }();
  return best;
}

int32_t raw_dtype(Reduce op, int32_t dtype) {
  switch (op) {
  case Reduce::minimum:
  case Reduce::maximum:
  case Reduce::nan_minimum:
  case Reduce::nan_maximum:
    return dtype;
  case Reduce::count:
  case Reduce::nan_count:
    return PG_INT64;
  case Reduce::deviation:
  case Reduce::nan_deviation:
  case Reduce::real_sum:
    return PG_FLOAT64;
  default:
    break;
  }
  switch (dtype) {
  case PG_UINT8:
  case PG_UINT16:
  case PG_UINT32:
  case PG_UINT64:
    return PG_UINT64;
  case PG_FLOAT32:
  case PG_FLOAT64:
    return PG_FLOAT64;
  case PG_COMPLEX64:
  case PG_COMPLEX128:
    return PG_COMPLEX128;
  default:
    return PG_INT64;
  }
}

} // namespace perigee::array
