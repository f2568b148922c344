#include "linalg/small_product.hpp"

#include "core/isa.hpp"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
// GCC 12 warns of its own _mm512_undefined_pd().
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

namespace perigee::linalg {
namespace {

// A tile of c stays in registers: `rows` times `vectors` sums, beside one row of b and one element of a. The last
// vector of a row may be cut; what is beyond it is neither read nor written.
constexpr int most_vectors = 4;

template <class T>
using Tile = void (*)(int64_t k, const T *a, int64_t a_row, int64_t a_column, const T *b, int64_t leading, T *c,
                      int64_t n, int cut);

// Two halves take as long as a vector, where the processor has 512 bits at a time; a row of 50 ends with one.
#define PERIGEE_TARGET __attribute__((target("avx512f,avx512vl,fma")))
namespace avx512 {
constexpr int tile_rows = 6, bytes = 64;
PERIGEE_TARGET inline __m256d half_of(__m512d x) {
  return _mm512_castpd512_pd256(x);
}
PERIGEE_TARGET inline __m256 half_of(__m512 x) {
  return _mm512_castps512_ps256(x);
}
template <class Part, class Vector> PERIGEE_TARGET inline Part part(Vector x) {
  if constexpr (std::is_same_v<Part, Vector>)
    return x;
  else
    return half_of(x);
}
PERIGEE_TARGET inline __m512d load(const double *p) {
  return _mm512_loadu_pd(p);
}
PERIGEE_TARGET inline __m512 load(const float *p) {
  return _mm512_loadu_ps(p);
}
inline uint32_t mask(int n) {
  return (uint32_t{1} << n) - 1;
}
PERIGEE_TARGET inline void load(__m512d &to, const double *p, int n) {
  to = _mm512_maskz_loadu_pd(static_cast<__mmask8>(mask(n)), p);
}
PERIGEE_TARGET inline void load(__m256d &to, const double *p, int n) {
  to = _mm256_maskz_loadu_pd(static_cast<__mmask8>(mask(n)), p);
}
PERIGEE_TARGET inline void load(__m512 &to, const float *p, int n) {
  to = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask(n)), p);
}
PERIGEE_TARGET inline void load(__m256 &to, const float *p, int n) {
  to = _mm256_maskz_loadu_ps(static_cast<__mmask8>(mask(n)), p);
}
PERIGEE_TARGET inline void store(double *p, __m512d x) {
  _mm512_storeu_pd(p, x);
}
PERIGEE_TARGET inline void store(float *p, __m512 x) {
  _mm512_storeu_ps(p, x);
}
PERIGEE_TARGET inline void store(double *p, __m512d x, int n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(mask(n)), x);
}
PERIGEE_TARGET inline void store(double *p, __m256d x, int n) {
  _mm256_mask_storeu_pd(p, static_cast<__mmask8>(mask(n)), x);
}
PERIGEE_TARGET inline void store(float *p, __m512 x, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(mask(n)), x);
}
PERIGEE_TARGET inline void store(float *p, __m256 x, int n) {
  _mm256_mask_storeu_ps(p, static_cast<__mmask8>(mask(n)), x);
}
PERIGEE_TARGET inline __m512d all(double x) {
  return _mm512_set1_pd(x);
}
PERIGEE_TARGET inline __m512 all(float x) {
  return _mm512_set1_ps(x);
}
PERIGEE_TARGET inline __m512d fma(__m512d x, __m512d y, __m512d z) {
  return _mm512_fmadd_pd(x, y, z);
}
PERIGEE_TARGET inline __m512 fma(__m512 x, __m512 y, __m512 z) {
  return _mm512_fmadd_ps(x, y, z);
}
PERIGEE_TARGET inline __m256d fma(__m256d x, __m256d y, __m256d z) {
  return _mm256_fmadd_pd(x, y, z);
}
PERIGEE_TARGET inline __m256 fma(__m256 x, __m256 y, __m256 z) {
  return _mm256_fmadd_ps(x, y, z);
}
#include "linalg/small_product.inc"
} // namespace avx512
#undef PERIGEE_TARGET

#define PERIGEE_TARGET __attribute__((target("avx2,fma")))
namespace avx2 {
constexpr int tile_rows = 3, bytes = 32;
PERIGEE_TARGET inline __m128d half_of(__m256d x) {
  return _mm256_castpd256_pd128(x);
}
PERIGEE_TARGET inline __m128 half_of(__m256 x) {
  return _mm256_castps256_ps128(x);
}
template <class Part, class Vector> PERIGEE_TARGET inline Part part(Vector x) {
  if constexpr (std::is_same_v<Part, Vector>)
    return x;
  else
    return half_of(x);
}
PERIGEE_TARGET inline __m256i mask64(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
PERIGEE_TARGET inline __m256i mask32(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
PERIGEE_TARGET inline __m256d load(const double *p) {
  return _mm256_loadu_pd(p);
}
PERIGEE_TARGET inline __m256 load(const float *p) {
  return _mm256_loadu_ps(p);
}
PERIGEE_TARGET inline void load(__m256d &to, const double *p, int n) {
  to = _mm256_maskload_pd(p, mask64(n));
}
PERIGEE_TARGET inline void load(__m128d &to, const double *p, int n) {
  to = _mm_maskload_pd(p, _mm256_castsi256_si128(mask64(n)));
}
PERIGEE_TARGET inline void load(__m256 &to, const float *p, int n) {
  to = _mm256_maskload_ps(p, mask32(n));
}
PERIGEE_TARGET inline void load(__m128 &to, const float *p, int n) {
  to = _mm_maskload_ps(p, _mm256_castsi256_si128(mask32(n)));
}
PERIGEE_TARGET inline void store(double *p, __m256d x) {
  _mm256_storeu_pd(p, x);
}
PERIGEE_TARGET inline void store(float *p, __m256 x) {
  _mm256_storeu_ps(p, x);
}
PERIGEE_TARGET inline void store(double *p, __m256d x, int n) {
  _mm256_maskstore_pd(p, mask64(n), x);
}
PERIGEE_TARGET inline void store(double *p, __m128d x, int n) {
  _mm_maskstore_pd(p, _mm256_castsi256_si128(mask64(n)), x);
}
PERIGEE_TARGET inline void store(float *p, __m256 x, int n) {
  _mm256_maskstore_ps(p, mask32(n), x);
}
PERIGEE_TARGET inline void store(float *p, __m128 x, int n) {
  _mm_maskstore_ps(p, _mm256_castsi256_si128(mask32(n)), x);
}
PERIGEE_TARGET inline __m256d all(double x) {
  return _mm256_set1_pd(x);
}
PERIGEE_TARGET inline __m256 all(float x) {
  return _mm256_set1_ps(x);
}
PERIGEE_TARGET inline __m256d fma(__m256d x, __m256d y, __m256d z) {
  return _mm256_fmadd_pd(x, y, z);
}
PERIGEE_TARGET inline __m256 fma(__m256 x, __m256 y, __m256 z) {
  return _mm256_fmadd_ps(x, y, z);
}
PERIGEE_TARGET inline __m128d fma(__m128d x, __m128d y, __m128d z) {
  return _mm_fmadd_pd(x, y, z);
}
PERIGEE_TARGET inline __m128 fma(__m128 x, __m128 y, __m128 z) {
  return _mm_fmadd_ps(x, y, z);
}
#include "linalg/small_product.inc"
} // namespace avx2
#undef PERIGEE_TARGET

// Up to here this is at least as fast as OpenBLAS 0.3.30: 50 x 50 in 5.4 us (there 5.5, with its call 5.8), 20 x 20 in
// three quarters of the time; 64 x 64 takes 1.15 times as long.
constexpr int64_t most_multiplications = 60 * 60 * 60;

template <class T>
bool product(int64_t m, int64_t k, int64_t n, const T *a, int64_t a_row, int64_t a_column, const T *b, int64_t leading,
             T *c) {
  static const Isa best = !__builtin_cpu_supports("fma") ? Isa::baseline : isa();
  if (best == Isa::baseline || m * n > most_multiplications / std::max<int64_t>(k, 1))
    return false;
  (best == Isa::avx512 ? avx512::multiply<T> : avx2::multiply<T>)(m, k, n, a, a_row, a_column, b, leading, c);
  return true;
}

} // namespace
} // namespace perigee::linalg

#else

namespace perigee::linalg {
namespace {
template <class... Anything> bool product(Anything...) {
  return false;
}
} // namespace
} // namespace perigee::linalg

#endif

namespace perigee::linalg {

bool small_product(int64_t m, int64_t k, int64_t n, const double *a, int64_t a_row, int64_t a_column, const double *b,
                   int64_t leading, double *c) {
  return product(m, k, n, a, a_row, a_column, b, leading, c);
}
bool small_product(int64_t m, int64_t k, int64_t n, const float *a, int64_t a_row, int64_t a_column, const float *b,
                   int64_t leading, float *c) {
  return product(m, k, n, a, a_row, a_column, b, leading, c);
}

} // namespace perigee::linalg
