// The loops over random numbers. One source (kernels.inc) is compiled for several instruction sets, of which the best
// that this machine has is chosen once, at run time. All of them give the same bits: conversions are exact or rounded
// once, and the logarithm and the sine are fixed sequences of additions, multiplications and divisions.
#pragma once

#include "core/abi.hpp"

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {
#include "random/random_abi.h"
}
#pragma GCC visibility pop

namespace perigee::random {

/// The top two bits of the counter's lower half say what a block is for, so that no two purposes share bits. (Were a
/// normal to use both halves of a block of which a uniform had taken one, the two would depend on each other.)
enum class Purpose : uint32_t { uniform = 0, normal = 1u << 30, retry = 2u << 30, stream = 3u << 30 };

struct Kernels {
  const char *name;
  /// The Philox blocks `first` to first + blocks - 1 as two words each.
  void (*bits)(const pg_random &g, Purpose purpose, uint64_t first, int64_t blocks, uint64_t *words);
  /// words -> [low, low + width), nothing above `last`. float32 keeps the upper 24 bits, and nothing below `start`.
  void (*uniform)(int64_t n, const uint64_t *words, double *out, double low, double width, double last);
  void (*uniform_float)(int64_t n, const uint64_t *words, float *out, double low, double width, float start,
                        float last);
  /// Pairs of words -> pairs of normals (Box-Muller).
  void (*normal)(int64_t pairs, const uint64_t *words, double *out, double mean, double deviation);
  void (*exponential)(int64_t n, const uint64_t *words, double *out, double scale);
  /// Words -> low plus an integer below span, by multiplication. Returns whether any draw may be one that an unbiased
  /// method rejects; then none counts.
  bool (*integers)(int64_t n, const uint64_t *words, int64_t *out, int64_t low, uint32_t span);
  /// Gammas of scale 1 from a normal and a uniform number each where the squeeze accepts, else -1 (Marsaglia and
  /// Tsang's d and c).
  void (*gamma)(int64_t n, const double *normals, const double *uniforms, double *out, double d, double c);
  void (*narrow)(int64_t n, const double *from, float *to);
};

/// The kernels for this machine.
const Kernels &kernels();

const Kernels &baseline_kernels();
#if defined(__x86_64__)
const Kernels &avx2_kernels();
const Kernels &avx512_kernels();
#endif

} // namespace perigee::random
