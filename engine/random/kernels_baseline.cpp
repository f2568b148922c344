// Random numbers on every machine of the architecture, and the choice among all kernels.
#include "core/isa.hpp"
#include "random/kernels.hpp"
#include "random/random.hpp"

#include <bit>
#include <cmath>

namespace perigee::random {
namespace baseline {

void bits(const pg_random &g, Purpose purpose, uint64_t first, int64_t blocks, uint64_t *words) {
  for (int64_t i = 0; i < blocks; ++i) {
    const Block b = block(g, purpose, first + static_cast<uint64_t>(i));
    words[2 * i] = half(b, 0);
    words[2 * i + 1] = half(b, 1);
  }
}

#include "random/kernels.inc"
} // namespace baseline

const Kernels &baseline_kernels() {
  static const Kernels table = baseline::make("baseline");
  return table;
}

const Kernels &kernels() {
  static const Kernels &best = []() -> const Kernels & {
#if defined(__x86_64__)
    if (isa() >= Isa::avx512)
      return avx512_kernels();
    if (isa() >= Isa::avx2)
      return avx2_kernels();
#endif
    return baseline_kernels();
  }();
  return best;
}

} // namespace perigee::random
