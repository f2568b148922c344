#include "parallel/word.hpp"

#include "parallel/process.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace perigee::parallel {
namespace {

constexpr int64_t slab_bytes = 1 << 16;

// Slabs stay for ever: objects may be let go of while the process exits.
struct Slabs {
  struct Slab {
    std::byte *memory;
    pg_block *block; // NULL: plain memory
  };
  std::mutex mutex;
  std::vector<Slab> all;
  std::vector<Word *> free;

  void add() {
    Slab slab{nullptr, nullptr};
    try {
      Segment *segment = Segment::create_unpaid(slab_bytes);
      slab = {segment->data(), segment->block()};
      segment->release();              // the block holds it
    } catch (const std::exception &) { // no descriptor left, or a sandbox
      slab.memory = static_cast<std::byte *>(std::aligned_alloc(alignof(Word), slab_bytes));
      if (!slab.memory)
        throw std::bad_alloc();
    }
    all.push_back(slab);
    const int64_t count = slab_bytes / static_cast<int64_t>(sizeof(Word));
    free.reserve(free.size() + static_cast<std::size_t>(count));
    for (int64_t i = count; i-- > 0;)
      free.push_back(reinterpret_cast<Word *>(slab.memory) + i);
  }
};

Slabs &slabs() {
  static auto *one = new Slabs;
  return *one;
}

Word *take_word() {
  Slabs &s = slabs();
  const std::lock_guard lock(s.mutex);
  if (s.free.empty())
    s.add();
  Word *word = s.free.back();
  s.free.pop_back();
  return new (word) Word{};
}

} // namespace

void sleep(Word &word, uint32_t turn, std::chrono::nanoseconds time) {
  const timespec limit{static_cast<time_t>(time.count() / 1'000'000'000),
                       static_cast<long>(time.count() % 1'000'000'000)};
  syscall(SYS_futex, &word.turn, FUTEX_WAIT, turn, &limit, nullptr, 0);
}

void wake(Word &word) {
  std::atomic_ref(word.turn).fetch_add(1);
  syscall(SYS_futex, &word.turn, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

OwnWord::OwnWord() : word_(take_word()) {}

OwnWord::~OwnWord() {
  Slabs &s = slabs();
  const std::lock_guard lock(s.mutex);
  s.free.push_back(word_); // there was room for it when it was taken
}

WordPlace place_of(const Word &word) {
  Slabs &s = slabs();
  const std::lock_guard lock(s.mutex);
  const auto *at = reinterpret_cast<const std::byte *>(&word);
  for (const Slabs::Slab &slab : s.all)
    if (at >= slab.memory && at < slab.memory + slab_bytes)
      return {slab.block, at - slab.memory};
  return {};
}

} // namespace perigee::parallel
