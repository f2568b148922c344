#include "array/select.hpp"
#include "core/isa.hpp"

#include <cstring>
#include <utility>

namespace perigee::array {
namespace {

int64_t count(const uint8_t *mask, int64_t n) {
  int64_t total = 0, i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t word;
    std::memcpy(&word, mask + i, 8);
    total += static_cast<int64_t>((word * 0x0101010101010101u) >> 56); // the sum of its bytes
  }
  for (; i < n; ++i)
    total += mask[i];
  return total;
}

template <class T> void compress(const void *from, const uint8_t *mask, int64_t n, void *to, int64_t count) {
  const T *in = static_cast<const T *>(from);
  T *out = static_cast<T *>(to), *const end = out + count;
  int64_t i = 0;
  while (i < n && out < end) { // out < end: one past the last must not be written
    uint64_t word = 0;
    if (i + 8 <= n && end - out >= 8) {
      std::memcpy(&word, mask + i, 8);
      if (word == 0) {
        i += 8;
        continue;
      }
      for (int k = 0; k < 8; ++k) { // no branch: masks are often as random as coins
        *out = in[i + k];
        out += mask[i + k];
      }
      i += 8;
    } else {
      if (mask[i])
        *out++ = in[i];
      ++i;
    }
  }
}

template <class T> void fill(void *to, const uint8_t *mask, int64_t n, const void *value) {
  T *out = static_cast<T *>(to);
  T v;
  std::memcpy(static_cast<void *>(&v), value, sizeof v);
  for (int64_t i = 0; i < n; ++i)
    out[i] = mask[i] ? v : out[i];
}

} // namespace

SelectKernels baseline_select() {
  using Pair = std::pair<uint64_t, uint64_t>;
  return {count,
          {compress<uint8_t>, compress<uint16_t>, compress<uint32_t>, compress<uint64_t>, compress<Pair>},
          {fill<uint8_t>, fill<uint16_t>, fill<uint32_t>, fill<uint64_t>, fill<Pair>}};
}

const SelectKernels &select_kernels() {
  static const SelectKernels table = [] {
    SelectKernels t = baseline_select();
#if defined(__x86_64__)
    if (isa() >= Isa::avx2)
      use_select_avx2(t);
    if (isa() >= Isa::avx512)
      use_select_avx512(t);
#endif
    return t;
  }();
  return table;
}

} // namespace perigee::array
