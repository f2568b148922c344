// Highway's vqsort of 32-bit keys, compiled here with one change: AVX-512's instruction that compresses a vector into
// memory takes over a hundred cycles on AMD's Zen 4 (26 ns an element, where this takes 4), so the vector is compressed
// into a register and that is stored. Wider and narrower keys do not use the instruction; Highway's own library sorts
// them.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "vqsort/keys32.cpp"
#include "hwy/foreach_target.h" // includes this file once for each target

#if defined(__x86_64__)
#undef _mm512_mask_compressstoreu_ps
#undef _mm512_mask_compressstoreu_epi32
#define _mm512_mask_compressstoreu_ps(p, m, v)                                                                         \
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << __builtin_popcount(m)) - 1), _mm512_maskz_compress_ps(m, v))
#define _mm512_mask_compressstoreu_epi32(p, m, v)                                                                      \
  _mm512_mask_storeu_epi32(p, static_cast<__mmask16>((1u << __builtin_popcount(m)) - 1),                               \
                           _mm512_maskz_compress_epi32(m, v))
#endif
// clang-format off
#include "hwy/contrib/sort/vqsort-inl.h"
#include "hwy/contrib/sort/traits-inl.h"
// clang-format on

#include "vqsort/vqsort.hpp"

HWY_BEFORE_NAMESPACE();
namespace perigee::vqsort {
namespace HWY_NAMESPACE {
template <class T> void sort_keys(T *keys, std::size_t n) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::SortTag<T> tag;
  const hn::detail::SharedTraits<hn::detail::TraitsLane<hn::detail::OrderAscending<T>>> traits;
  hn::Sort(tag, traits, keys, n, static_cast<T *>(nullptr));
}
void sort_int32(int32_t *keys, std::size_t n) {
  sort_keys(keys, n);
}
void sort_uint32(uint32_t *keys, std::size_t n) {
  sort_keys(keys, n);
}
} // namespace HWY_NAMESPACE
} // namespace perigee::vqsort
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace perigee::vqsort {
HWY_EXPORT(sort_int32);
HWY_EXPORT(sort_uint32);
void sort_keys32(int32_t *keys, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sort_int32)(keys, n);
}
void sort_keys32(uint32_t *keys, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(sort_uint32)(keys, n);
}
} // namespace perigee::vqsort
#endif
