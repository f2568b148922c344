// Elements that come from elsewhere: a file, another process. Not every byte is an element.
//
// LuaJIT reads elements without a look at NaNs (lj_cconv_tv_ct says so), and a NaN with chosen bits is a forged object:
// a string or a table at an address that the bits say. Arithmetic keeps a NaN's bits, and a change of sign makes a
// forged object of one that was none; so only the NaNs that processors themselves make may come in.
#pragma once

#include "array.hpp"

#include <bit>
#include <limits>

namespace perigee::array {
namespace foreign {

// Whether any of 64 values is NaN. Vectors written out and unrolled: three times as fast as what GCC makes of a loop.
template <class Float> bool any_nan(const Float *values) {
  using Vector [[gnu::vector_size(16), gnu::aligned(alignof(Float)), gnu::may_alias]] = Float;
  using Words [[gnu::vector_size(16)]] = int64_t;
  constexpr int vectors = 64 * sizeof(Float) / 16;
  const auto *at = reinterpret_cast<const Vector *>(values);
  auto nans = at[0] != at[0];
#pragma GCC unroll 32
  for (int i = 1; i < vectors; ++i)
    nans |= at[i] != at[i];
  const Words words = reinterpret_cast<Words>(nans);
  return (words[0] | words[1]) != 0;
}

template <class Float> void clean(Float *values, int64_t n) {
  for (int64_t i = 0; i < n; i += 64) {
    const int64_t end = i + 64 <= n ? i + 64 : n;
    if (end - i == 64 && !any_nan(values + i))
      continue;
    for (int64_t k = i; k < end; ++k)
      if (!(values[k] == values[k]))
        values[k] = std::numeric_limits<Float>::quiet_NaN();
  }
}

template <class Word, class Float> bool is_clean(const Float *values, int64_t n) {
  constexpr Word magnitude = Word(~Word(0)) >> 1,
                 plain = std::bit_cast<Word>(std::numeric_limits<Float>::quiet_NaN()) & magnitude;
  for (int64_t i = 0; i < n; i += 64) {
    const int64_t end = i + 64 <= n ? i + 64 : n;
    if (end - i == 64 && !any_nan(values + i))
      continue;
    for (int64_t k = i; k < end; ++k)
      if (!(values[k] == values[k]) && (std::bit_cast<Word>(values[k]) & magnitude) != plain)
        return false;
  }
  return true;
}

} // namespace foreign

/// Makes elements of n of dtype that came from elsewhere: NaNs become the plain one, and every true is 1.
inline void clean_elements(void *data, int32_t dtype, int64_t n) {
  if (is_complex(dtype))
    n *= 2;
  if (dtype == PG_FLOAT64 || dtype == PG_COMPLEX128)
    foreign::clean(static_cast<double *>(data), n);
  else if (dtype == PG_FLOAT32 || dtype == PG_COMPLEX64)
    foreign::clean(static_cast<float *>(data), n);
  else if (dtype == PG_BOOL)
    for (auto *at = static_cast<uint8_t *>(data), *end = at + n; at < end; ++at)
      *at = *at != 0;
}

/// Whether they may be used as they are: NaNs are plain (of either sign), and booleans 0 or 1.
inline bool elements_are_clean(const void *data, int32_t dtype, int64_t n) {
  if (is_complex(dtype))
    n *= 2;
  if (dtype == PG_FLOAT64 || dtype == PG_COMPLEX128)
    return foreign::is_clean<uint64_t>(static_cast<const double *>(data), n);
  if (dtype == PG_FLOAT32 || dtype == PG_COMPLEX64)
    return foreign::is_clean<uint32_t>(static_cast<const float *>(data), n);
  if (dtype == PG_BOOL)
    for (const auto *at = static_cast<const uint8_t *>(data), *end = at + n; at < end; ++at)
      if (*at > 1)
        return false;
  return true;
}

} // namespace perigee::array
