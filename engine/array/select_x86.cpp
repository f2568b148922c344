// Masks with AVX2 (permutation tables) and AVX-512 (vpcompress).
#if defined(__x86_64__)
#include "array/select.hpp"

#include <immintrin.h>

namespace perigee::array {
namespace {

#define AVX2 __attribute__((target("avx2,popcnt,bmi,bmi2")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,popcnt,bmi,bmi2")))

// ---------------------------------------------------------------------------------------------------------- AVX2 ----

// For each of 256 masks of 8 elements: the positions of those selected, first to last, a byte each.
struct Table {
  alignas(64) uint64_t entry[256];
  constexpr Table() : entry() {
    for (int m = 0; m < 256; ++m) {
      int k = 0;
      for (int i = 0; i < 8; ++i)
        if (m >> i & 1)
          entry[m] |= static_cast<uint64_t>(i) << (8 * k++);
    }
  }
};
constexpr Table table8;

// For each of 16 masks of four 8-byte elements: the positions of their halves.
struct Table4 {
  alignas(64) uint64_t entry[16];
  constexpr Table4() : entry() {
    for (int m = 0; m < 16; ++m) {
      int k = 0;
      for (int i = 0; i < 4; ++i)
        if (m >> i & 1) {
          entry[m] |= static_cast<uint64_t>(2 * i) << (8 * k++);
          entry[m] |= static_cast<uint64_t>(2 * i + 1) << (8 * k++);
        }
    }
  }
};
constexpr Table4 table4;

AVX2 inline uint32_t bits32(const uint8_t *mask) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(mask));
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_slli_epi16(bytes, 7)));
}

AVX2 int64_t count_avx2(const uint8_t *mask, int64_t n) {
  int64_t total = 0, i = 0;
  __m256i sum = _mm256_setzero_si256();
  for (; i + 32 <= n; i += 32)
    sum = _mm256_add_epi64(
        sum, _mm256_sad_epu8(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(mask + i)), _mm256_setzero_si256()));
  alignas(32) int64_t parts[4];
  _mm256_store_si256(reinterpret_cast<__m256i *>(parts), sum);
  total = parts[0] + parts[1] + parts[2] + parts[3];
  for (; i < n; ++i)
    total += mask[i];
  return total;
}

AVX2 void compress4_avx2(const void *from, const uint8_t *mask, int64_t n, void *to, int64_t count) {
  const auto *in = static_cast<const uint32_t *>(from);
  auto *out = static_cast<uint32_t *>(to), *const end = out + count;
  int64_t i = 0;
  for (; i + 32 <= n && end - out >= 32; i += 32) { // whole vectors are stored: there must be room for them
    uint32_t bits = bits32(mask + i);
    if (bits == 0)
      continue;
    for (int k = 0; k < 32; k += 8, bits >>= 8) {
      const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(table8.entry[bits & 255])));
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(in + i + k));
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm256_permutevar8x32_epi32(v, order));
      out += _mm_popcnt_u32(bits & 255);
    }
  }
  for (; i < n && out < end; ++i)
    if (mask[i])
      *out++ = in[i];
}

AVX2 void compress8_avx2(const void *from, const uint8_t *mask, int64_t n, void *to, int64_t count) {
  const auto *in = static_cast<const uint64_t *>(from);
  auto *out = static_cast<uint64_t *>(to), *const end = out + count;
  int64_t i = 0;
  for (; i + 32 <= n && end - out >= 32; i += 32) {
    uint32_t bits = bits32(mask + i);
    if (bits == 0)
      continue;
    for (int k = 0; k < 32; k += 4, bits >>= 4) {
      const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(table4.entry[bits & 15])));
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(in + i + k));
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm256_permutevar8x32_epi32(v, order));
      out += _mm_popcnt_u32(bits & 15);
    }
  }
  for (; i < n && out < end; ++i)
    if (mask[i])
      *out++ = in[i];
}

// -------------------------------------------------------------------------------------------------------- AVX-512 ----

AVX512 inline uint64_t bits64(const uint8_t *mask) {
  const __m512i bytes = _mm512_loadu_si512(mask);
  return _mm512_test_epi8_mask(bytes, bytes);
}
AVX512 inline uint64_t bits64(const uint8_t *mask, uint64_t lanes) {
  const __m512i bytes = _mm512_maskz_loadu_epi8(lanes, mask);
  return _mm512_test_epi8_mask(bytes, bytes);
}

AVX512 int64_t count_avx512(const uint8_t *mask, int64_t n) {
  int64_t total = 0, i = 0;
  for (; i + 64 <= n; i += 64)
    total += __builtin_popcountll(bits64(mask + i));
  if (i < n)
    total += __builtin_popcountll(bits64(mask + i, ~0ull >> (64 - (n - i))));
  return total;
}

// vpcompress to a register and a plain store: to memory it is microcode on some processors. The store writes a whole
// vector while there is room, and after that only what was selected.
AVX512 void compress4_avx512(const void *from, const uint8_t *mask, int64_t n, void *to, int64_t count) {
  const auto *in = static_cast<const uint32_t *>(from);
  auto *out = static_cast<uint32_t *>(to), *const end = out + count;
  int64_t i = 0;
  for (; i + 64 <= n && end - out >= 64; i += 64) {
    uint64_t bits = bits64(mask + i);
    if (bits == 0)
      continue;
    for (int k = 0; k < 64; k += 16, bits >>= 16) {
      const __mmask16 m = static_cast<__mmask16>(bits);
      _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(m, _mm512_loadu_si512(in + i + k)));
      out += _mm_popcnt_u32(m);
    }
  }
  for (; i < n && out < end; i += 16) {
    const uint64_t lanes = n - i >= 16 ? 0xffff : (1u << (n - i)) - 1;
    const __mmask16 m = static_cast<__mmask16>(bits64(mask + i, lanes));
    const int selected = _mm_popcnt_u32(m);
    const __m512i v = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(lanes), in + i);
    _mm512_mask_storeu_epi32(out, static_cast<__mmask16>((1u << selected) - 1), _mm512_maskz_compress_epi32(m, v));
    out += selected;
  }
}

AVX512 void compress8_avx512(const void *from, const uint8_t *mask, int64_t n, void *to, int64_t count) {
  const auto *in = static_cast<const uint64_t *>(from);
  auto *out = static_cast<uint64_t *>(to), *const end = out + count;
  int64_t i = 0;
  for (; i + 64 <= n && end - out >= 64; i += 64) {
    uint64_t bits = bits64(mask + i);
    if (bits == 0)
      continue;
    for (int k = 0; k < 64; k += 8, bits >>= 8) {
      const __mmask8 m = static_cast<__mmask8>(bits);
      _mm512_storeu_si512(out, _mm512_maskz_compress_epi64(m, _mm512_loadu_si512(in + i + k)));
      out += _mm_popcnt_u32(m);
    }
  }
  for (; i < n && out < end; i += 8) {
    const uint64_t lanes = n - i >= 8 ? 0xff : (1u << (n - i)) - 1;
    const __mmask8 m = static_cast<__mmask8>(bits64(mask + i, lanes));
    const int selected = _mm_popcnt_u32(m);
    const __m512i v = _mm512_maskz_loadu_epi64(static_cast<__mmask8>(lanes), in + i);
    _mm512_mask_storeu_epi64(out, static_cast<__mmask8>((1u << selected) - 1), _mm512_maskz_compress_epi64(m, v));
    out += selected;
  }
}

AVX512 void fill4_avx512(void *to, const uint8_t *mask, int64_t n, const void *value) {
  auto *out = static_cast<uint32_t *>(to);
  const __m512i v = _mm512_set1_epi32(*static_cast<const int32_t *>(value));
  for (int64_t i = 0; i < n; i += 16) {
    const uint64_t lanes = n - i >= 16 ? 0xffff : (1u << (n - i)) - 1;
    _mm512_mask_storeu_epi32(out + i, static_cast<__mmask16>(bits64(mask + i, lanes)), v);
  }
}

AVX512 void fill8_avx512(void *to, const uint8_t *mask, int64_t n, const void *value) {
  auto *out = static_cast<uint64_t *>(to);
  const __m512i v = _mm512_set1_epi64(*static_cast<const int64_t *>(value));
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    uint64_t bits = bits64(mask + i);
    for (int k = 0; bits != 0; k += 8, bits >>= 8)
      _mm512_mask_storeu_epi64(out + i + k, static_cast<__mmask8>(bits), v);
  }
  for (; i < n; i += 8) {
    const uint64_t lanes = n - i >= 8 ? 0xff : (1u << (n - i)) - 1;
    _mm512_mask_storeu_epi64(out + i, static_cast<__mmask8>(bits64(mask + i, lanes)), v);
  }
}

} // namespace

void use_select_avx2(SelectKernels &table) {
  table.count = count_avx2;
  table.compress[2] = compress4_avx2;
  table.compress[3] = compress8_avx2;
}

void use_select_avx512(SelectKernels &table) {
  table.count = count_avx512;
  table.compress[2] = compress4_avx512;
  table.compress[3] = compress8_avx512;
  table.fill[2] = fill4_avx512;
  table.fill[3] = fill8_avx512;
}

} // namespace perigee::array
#endif
