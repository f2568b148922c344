// Memory of arrays that is kept for reuse: alignment, zeroing, bounds, and that it is given back.
#include "core/allocation.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

using namespace perigee::core;

namespace {
bool all_zero(const void *data, int64_t bytes) {
  const auto *p = static_cast<const unsigned char *>(data);
  return std::all_of(p, p + bytes, [](unsigned char x) { return x == 0; });
}
} // namespace

TEST_CASE("every size gives aligned memory of at least that size, also from what was kept", "[allocation]") {
  std::vector<int64_t> sizes = {0, 1, 63, 64, 65, 511, 512, 513, 4095, 4097, 100000, small_piece - 1, small_piece};
  for (int64_t size : {small_piece + 1, int64_t{1} << 20, (int64_t{4} << 20) + 8, int64_t{9} << 20})
    sizes.push_back(size);
  for (int round = 0; round < 3; ++round)
    for (int64_t size : sizes) {
      const Memory memory = take_memory(size, round == 2);
      REQUIRE(memory.data);
      REQUIRE(memory.capacity >= size);
      CHECK(reinterpret_cast<uintptr_t>(memory.data) % 64 == 0);
      CHECK(memory.capacity <= size + size / 2 + 4096); // no more wasted than that
      if (round == 2)
        CHECK(all_zero(memory.data, size));
      std::memset(memory.data, 0xff, static_cast<std::size_t>(memory.capacity)); // all of it is ours
      give_memory(memory.data, memory.capacity);
    }
  trim_memory();
  CHECK(kept_memory() == 0);
}

TEST_CASE("pieces in use at the same time do not overlap", "[allocation]") {
  std::vector<Memory> used;
  for (int i = 0; i < 400; ++i) {
    const int64_t size = (i * 7919) % 300000;
    used.push_back(take_memory(size, false));
    std::memset(used.back().data, i % 251, static_cast<std::size_t>(used.back().capacity));
    if (i % 3 == 2) { // every third goes back at once and is used again
      give_memory(used[used.size() - 2].data, used[used.size() - 2].capacity);
      used.erase(used.end() - 2);
    }
  }
  std::vector<std::pair<uintptr_t, uintptr_t>> spans;
  for (const Memory &m : used)
    spans.emplace_back(reinterpret_cast<uintptr_t>(m.data),
                       reinterpret_cast<uintptr_t>(m.data) + uintptr_t(m.capacity));
  std::sort(spans.begin(), spans.end());
  for (std::size_t i = 1; i < spans.size(); ++i)
    CHECK(spans[i - 1].second <= spans[i].first);
  for (const Memory &m : used)
    give_memory(m.data, m.capacity);
  trim_memory();
}

#if !defined(PERIGEE_SANITIZED)
TEST_CASE("large pieces end with a huge page where little of it is lost", "[allocation]") {
  constexpr int64_t huge = 2 << 20;
  for (const auto &[bytes, capacity] : {std::pair<int64_t, int64_t>{8000000, 4 * huge},
                                        {4 * huge, 4 * huge},
                                        {2 * huge + 4096, 2 * huge + 4096},
                                        {3 * huge - huge / 2, 3 * huge}}) {
    trim_memory();
    const Memory memory = take_memory(bytes, false);
    CHECK(memory.capacity == capacity);
    CHECK(reinterpret_cast<uintptr_t>(memory.data) % huge == 0);
    give_memory(memory.data, memory.capacity);
  }
  trim_memory();
}

TEST_CASE("pieces of sizes that are out of use give way to those in use", "[allocation]") {
  trim_memory();
  std::vector<Memory> used;
  for (int64_t bytes = 0; bytes <= small_kept; bytes += used.back().capacity)
    used.push_back(take_memory(100000, false));
  for (const Memory &m : used)
    give_memory(m.data, m.capacity);
  CHECK(kept_memory() > small_kept - used.back().capacity);
  for (const int64_t size : {8000, 100, 250000}) {
    const Memory first = take_memory(size, false);
    give_memory(first.data, first.capacity);
    CHECK(kept_memory() <= small_kept);
    const Memory again = take_memory(size, false);
    CHECK(again.data == first.data);
    give_memory(again.data, again.capacity);
  }
  trim_memory();
  CHECK(kept_memory() == 0);
}

TEST_CASE("a large piece is used again at once, and not for a much smaller one", "[allocation]") {
  trim_memory();
  const Memory first = take_memory(8 << 20, false);
  give_memory(first.data, first.capacity);
  CHECK(kept_memory() == first.capacity);
  const Memory smaller = take_memory(1 << 20, false);
  CHECK(smaller.data != first.data);
  give_memory(smaller.data, smaller.capacity);
  trim_memory();
  const Memory second = take_memory(8 << 20, false);
  give_memory(second.data, second.capacity);
  const Memory third = take_memory(8 << 20, true);
  CHECK(third.data == second.data);
  give_memory(third.data, third.capacity);
  trim_memory();
}

TEST_CASE("what is kept is bounded, ages, and never adds to the most that was in use", "[allocation]") {
  trim_memory();
  std::vector<Memory> used;
  for (int i = 0; i < 1000; ++i)
    used.push_back(take_memory(100000, false)); // 100 MB of small pieces
  for (const Memory &m : used)
    give_memory(m.data, m.capacity);
  CHECK(kept_memory() <= small_kept);
  trim_memory();
  // 64 MiB were in use; another size makes as much of them go as it takes.
  std::vector<Memory> large;
  for (int i = 0; i < 8; ++i)
    large.push_back(take_memory(8 << 20, false));
  for (const Memory &m : large)
    give_memory(m.data, m.capacity);
  CHECK(kept_memory() == 64 << 20);
  const Memory other = take_memory(20 << 20, false);
  CHECK(kept_memory() <= 44 << 20);
  for (int i = 0; i < 3; ++i)
    age_memory();
  CHECK(kept_memory() == 0);
  give_memory(other.data, other.capacity);
  trim_memory();
}
#endif

TEST_CASE("memory may be given back by another thread than took it", "[allocation]") {
  std::vector<Memory> used;
  for (int i = 0; i < 50; ++i)
    used.push_back(take_memory(1000 * i, true));
  std::thread([&] {
    for (const Memory &m : used)
      give_memory(m.data, m.capacity);
  }).join();
  trim_memory();
}
