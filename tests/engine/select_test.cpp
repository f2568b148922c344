// The kernels of boolean masks on every instruction set against plain loops: odd lengths, misaligned arrays and masks,
// sentinels around what is written.
#include "array/select.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

using namespace perigee::array;

namespace {

std::vector<std::pair<std::string, SelectKernels>> tables() {
  std::vector<std::pair<std::string, SelectKernels>> all{{"baseline", baseline_select()}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) {
    all.emplace_back("avx2", all.back().second);
    use_select_avx2(all.back().second);
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    all.emplace_back("avx512", all.back().second);
    use_select_avx512(all.back().second);
  }
#endif
  return all;
}

constexpr std::size_t margin = 256; // bytes of sentinels on each side
constexpr uint8_t sentinel = 0xa5;

struct Guarded { // bytes between sentinels, from an address that is `odd` bytes past a multiple of 64
  explicit Guarded(std::size_t size, std::size_t odd) : bytes(size + 2 * margin + 128, sentinel), size(size) {
    const auto at = reinterpret_cast<uintptr_t>(bytes.data()) + margin;
    begin = bytes.data() + margin + (64 - at % 64) % 64 + odd;
  }
  bool intact() const {
    const uint8_t *first = bytes.data(), *last = first + bytes.size();
    return std::all_of(first, static_cast<const uint8_t *>(begin), [](uint8_t b) { return b == sentinel; }) &&
           std::all_of(static_cast<const uint8_t *>(begin) + size, last, [](uint8_t b) { return b == sentinel; });
  }
  std::vector<uint8_t> bytes;
  std::size_t size;
  uint8_t *begin;
};

std::vector<int64_t> lengths() {
  std::vector<int64_t> all;
  for (int64_t n = 0; n <= 70; ++n)
    all.push_back(n);
  all.insert(all.end(), {95, 96, 97, 127, 128, 129, 191, 255, 256, 257, 1000, 4099});
  return all;
}

} // namespace

TEST_CASE("mask kernels agree with plain loops on every instruction set", "[array][select]") {
  std::mt19937_64 random(2026);
  for (const auto &[name, table] : tables()) {
    INFO(name);
    for (std::size_t log = 0; log < 5; ++log) {
      const std::size_t size = std::size_t{1} << log;
      for (const int64_t n : lengths())
        for (const int density : {0, 5, 50, 95, 100}) {
          const std::size_t odd = random() % 8 * std::min<std::size_t>(size, 8), mask_odd = random() % 9;
          Guarded from(static_cast<std::size_t>(n) * size, odd), mask(static_cast<std::size_t>(n), mask_odd);
          std::vector<uint8_t> expected;
          int64_t count = 0;
          for (std::size_t i = 0; i < from.size; ++i)
            from.begin[i] = static_cast<uint8_t>(random());
          for (int64_t i = 0; i < n; ++i) {
            mask.begin[i] = static_cast<int>(random() % 100) < density;
            if (mask.begin[i]) {
              ++count;
              expected.insert(expected.end(), from.begin + static_cast<std::size_t>(i) * size,
                              from.begin + static_cast<std::size_t>(i + 1) * size);
            }
          }
          INFO("element size " << size << ", " << n << " elements, " << count << " selected");
          REQUIRE(table.count(mask.begin, n) == count);
          Guarded to(expected.size(), random() % 8 * std::min<std::size_t>(size, 8));
          table.compress[log](from.begin, mask.begin, n, to.begin, count);
          REQUIRE((expected.empty() || std::memcmp(to.begin, expected.data(), expected.size()) == 0));
          REQUIRE(to.intact());

          Guarded value(size, 0);
          for (std::size_t i = 0; i < size; ++i)
            value.begin[i] = static_cast<uint8_t>(i + 1);
          std::vector<uint8_t> filled(from.begin, from.begin + from.size);
          for (int64_t i = 0; i < n; ++i)
            if (mask.begin[i])
              std::memcpy(filled.data() + static_cast<std::size_t>(i) * size, value.begin, size);
          table.fill[log](from.begin, mask.begin, n, value.begin);
          REQUIRE((filled.empty() || std::memcmp(from.begin, filled.data(), filled.size()) == 0));
          REQUIRE(from.intact());
          REQUIRE(mask.intact());
        }
    }
  }
}
