// Random numbers on x86-64 machines with AVX2: four Philox blocks a vector, two vectors at a time.
#include "random/kernels.hpp"

#include <bit>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2")

namespace perigee::random {
namespace avx2 {

// Each 64-bit lane holds one 32-bit word of a block in its lower half; the upper half is ignored by the multiplication
// and may hold anything.
struct State {
  __m256i c0, c1, c2, c3;
};

inline void round(State &s, __m256i k0, __m256i k1) {
  const __m256i p0 = _mm256_mul_epu32(s.c0, _mm256_set1_epi64x(0xD2511F53));
  const __m256i p1 = _mm256_mul_epu32(s.c2, _mm256_set1_epi64x(0xCD9E8D57));
  s.c0 = _mm256_xor_si256(_mm256_srli_epi64(p1, 32), _mm256_xor_si256(s.c1, k0));
  s.c2 = _mm256_xor_si256(_mm256_srli_epi64(p0, 32), _mm256_xor_si256(s.c3, k1));
  s.c1 = p1;
  s.c3 = p0;
}

inline void store(const State &s, uint64_t *words) {
  const __m256i low = _mm256_blend_epi32(s.c0, _mm256_slli_epi64(s.c1, 32), 0xaa);
  const __m256i high = _mm256_blend_epi32(s.c2, _mm256_slli_epi64(s.c3, 32), 0xaa);
  const __m256i a = _mm256_unpacklo_epi64(low, high), b = _mm256_unpackhi_epi64(low, high);
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(words), _mm256_permute2x128_si256(a, b, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(words + 4), _mm256_permute2x128_si256(a, b, 0x31));
}

void bits(const pg_random &g, Purpose purpose, uint64_t first, int64_t blocks, uint64_t *words) {
  const __m256i n0 = _mm256_set1_epi64x(g._nonce[0]), n1 = _mm256_set1_epi64x(g._nonce[1]);
  const __m256i marked = _mm256_set1_epi64x(static_cast<uint32_t>(purpose));
  const auto start = [&](uint64_t index) {
    const __m256i c = _mm256_add_epi64(_mm256_set1_epi64x(static_cast<int64_t>(index)), _mm256_set_epi64x(3, 2, 1, 0));
    return State{c, _mm256_or_si256(_mm256_srli_epi64(c, 32), marked), n0, n1};
  };
  int64_t i = 0;
  while (i < blocks) {
    State s = start(first + static_cast<uint64_t>(i)), t = start(first + static_cast<uint64_t>(i) + 4);
    uint32_t k0 = g._key[0], k1 = g._key[1];
    for (int r = 0; r < 10; ++r) {
      const __m256i v0 = _mm256_set1_epi64x(k0), v1 = _mm256_set1_epi64x(k1);
      round(s, v0, v1);
      round(t, v0, v1);
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    if (i + 8 <= blocks) {
      store(s, words + 2 * i);
      store(t, words + 2 * i + 8);
    } else {
      uint64_t rest[16];
      store(s, rest);
      store(t, rest + 8);
      for (int64_t k = 0; k < 2 * (blocks - i); ++k)
        words[2 * i + k] = rest[k];
    }
    i += 8;
  }
}

#include "random/kernels.inc"
} // namespace avx2

const Kernels &avx2_kernels() {
  static const Kernels table = avx2::make("avx2");
  return table;
}

} // namespace perigee::random

#pragma GCC pop_options
#endif
