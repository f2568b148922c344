// The choice of kernels at run time.
#include "array/kernels.hpp"
#include "core/isa.hpp"

namespace perigee::array {

// One function for each file that engine/CMakeLists.txt makes of kernels.cpp.in.
#define PG_FILL(ISA, GROUP) void fill_##ISA##_##GROUP(Kernels &)
PG_FILL(baseline, arithmetic);
PG_FILL(baseline, compare);
PG_FILL(baseline, unary);
PG_FILL(baseline, ternary);
PG_FILL(baseline, matmul);
PG_FILL(baseline, cast);
PG_FILL(baseline, integer);
PG_FILL(baseline, statistics);
#if defined(__x86_64__)
PG_FILL(avx2, arithmetic);
PG_FILL(avx2, compare);
PG_FILL(avx2, unary);
PG_FILL(avx2, ternary);
PG_FILL(avx2, matmul);
PG_FILL(avx2, cast);
PG_FILL(avx2, integer);
PG_FILL(avx2, statistics);
PG_FILL(avx512, arithmetic);
PG_FILL(avx512, compare);
PG_FILL(avx512, unary);
PG_FILL(avx512, ternary);
PG_FILL(avx512, cast);
PG_FILL(avx512, integer);
PG_FILL(avx512, statistics);
PG_FILL(avx512, matmul);
#endif
#undef PG_FILL

const Kernels &baseline_kernels() {
  static const Kernels table = [] {
    Kernels k{};
    k.name = "baseline";
    fill_baseline_arithmetic(k);
    fill_baseline_compare(k);
    fill_baseline_unary(k);
    fill_baseline_ternary(k);
    fill_baseline_matmul(k);
    fill_baseline_cast(k);
    fill_baseline_integer(k);
    fill_baseline_statistics(k);
    return k;
  }();
  return table;
}

#if defined(__x86_64__)
// Each table starts as the one below it: groups that gain nothing are not compiled again.
const Kernels &avx2_kernels() {
  static const Kernels table = [] {
    Kernels k = baseline_kernels();
    k.name = "avx2";
    fill_avx2_arithmetic(k);
    fill_avx2_compare(k);
    fill_avx2_unary(k);
    fill_avx2_ternary(k);
    fill_avx2_matmul(k);
    fill_avx2_cast(k);
    fill_avx2_integer(k);
    fill_avx2_statistics(k);
    return k;
  }();
  return table;
}

const Kernels &avx512_kernels() {
  static const Kernels table = [] {
    Kernels k = avx2_kernels();
    k.name = "avx512";
    fill_avx512_arithmetic(k);
    fill_avx512_compare(k);
    fill_avx512_unary(k);
    fill_avx512_ternary(k);
    fill_avx512_cast(k);
    fill_avx512_integer(k);
    fill_avx512_statistics(k);
    fill_avx512_matmul(k);
    return k;
  }();
  return table;
}
#endif

const Kernels &kernels() {
  static const Kernels &best = []() -> const Kernels & {
#if defined(__x86_64__)
    if (isa() == Isa::avx512)
      return avx512_kernels();
    if (isa() == Isa::avx2)
      return avx2_kernels();
#endif
    return baseline_kernels();
  }();
  return best;
}

} // namespace perigee::array
