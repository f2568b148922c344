// Random numbers on x86-64 machines with AVX-512: eight Philox blocks a vector, four vectors at a time.
#include "random/kernels.hpp"

#include <bit>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,prefer-vector-width=512")

namespace perigee::random {
namespace avx512 {

// As in kernels_avx2.cpp.
struct State {
  __m512i c0, c1, c2, c3;
};

inline void round(State &s, __m512i k0, __m512i k1) {
  const __m512i p0 = _mm512_mul_epu32(s.c0, _mm512_set1_epi64(0xD2511F53));
  const __m512i p1 = _mm512_mul_epu32(s.c2, _mm512_set1_epi64(0xCD9E8D57));
  s.c0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), s.c1, k0, 0x96); // exclusive or of three
  s.c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), s.c3, k1, 0x96);
  s.c1 = p1;
  s.c3 = p0;
}

inline void store(const State &s, uint64_t *words) {
  const __m512i low = _mm512_mask_blend_epi32(0xaaaa, s.c0, _mm512_slli_epi64(s.c1, 32));
  const __m512i high = _mm512_mask_blend_epi32(0xaaaa, s.c2, _mm512_slli_epi64(s.c3, 32));
  _mm512_storeu_si512(words, _mm512_permutex2var_epi64(low, _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), high));
  _mm512_storeu_si512(words + 8, _mm512_permutex2var_epi64(low, _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4), high));
}

void bits(const pg_random &g, Purpose purpose, uint64_t first, int64_t blocks, uint64_t *words) {
  const __m512i n0 = _mm512_set1_epi64(g._nonce[0]), n1 = _mm512_set1_epi64(g._nonce[1]);
  const __m512i marked = _mm512_set1_epi64(static_cast<uint32_t>(purpose));
  const auto start = [&](uint64_t index) {
    const __m512i c =
        _mm512_add_epi64(_mm512_set1_epi64(static_cast<int64_t>(index)), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
    return State{c, _mm512_or_si512(_mm512_srli_epi64(c, 32), marked), n0, n1};
  };
  int64_t i = 0;
  while (i < blocks) {
    const uint64_t at = first + static_cast<uint64_t>(i);
    State s = start(at), t = start(at + 8), u = start(at + 16), v = start(at + 24);
    uint32_t k0 = g._key[0], k1 = g._key[1];
    for (int r = 0; r < 10; ++r) {
      const __m512i v0 = _mm512_set1_epi64(k0), v1 = _mm512_set1_epi64(k1);
      round(s, v0, v1);
      round(t, v0, v1);
      round(u, v0, v1);
      round(v, v0, v1);
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    if (i + 32 <= blocks) {
      store(s, words + 2 * i);
      store(t, words + 2 * i + 16);
      store(u, words + 2 * i + 32);
      store(v, words + 2 * i + 48);
    } else {
      uint64_t rest[64];
      store(s, rest);
      store(t, rest + 16);
      store(u, rest + 32);
      store(v, rest + 48);
      for (int64_t k = 0; k < 2 * (blocks - i); ++k)
        words[2 * i + k] = rest[k];
    }
    i += 32;
  }
}

#include "random/kernels.inc"
} // namespace avx512

const Kernels &avx512_kernels() {
  static const Kernels table = avx512::make("avx512");
  return table;
}

} // namespace perigee::random

#pragma GCC pop_options
#endif
