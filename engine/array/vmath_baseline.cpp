// Vector mathematics for the baseline of x86-64.
#include "array/vmath.hpp"

#if defined(__x86_64__)

namespace perigee::array::vmath {
namespace baseline {
#define PG_MVEC_DOUBLE bN2
#define PG_MVEC_FLOAT bN4
typedef double Doubles __attribute__((vector_size(16)));
typedef float Floats __attribute__((vector_size(16)));
#include "array/vmath.inc"
static void replace(Functions &) {}
} // namespace baseline

const Functions &baseline_functions() {
  static const Functions table = baseline::make("baseline");
  return table;
}

} // namespace perigee::array::vmath

#endif
