#include "core/memory.hpp"

#include "core/allocation.hpp"
#include "core/status.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>

namespace perigee::core {
namespace {

// Collect when arrays hold so much more than after the last collection: LuaJIT's collector sees only the 168-byte
// struct of an array, so a loop of 100 MB temporaries would otherwise never be collected. The floor keeps programs with
// small arrays from collecting all the time: a collection takes some 0.1 ns for each byte of the Lua heap (30 us for
// the 270 KiB of a small script) and operations fill some 10 GB/s, so at 22 times the heap it costs a twentieth. More
// is no better: garbage larger than the caches makes every new array a cache miss. a + b of 100000 elements takes 25 us
// into the same memory each time, 26 by turns into 4 MB, 29 into 8, 57 into 16 (beside a second-level cache of 1 MiB, a
// third of 32). What is released by hand or by LuaJIT's own collections does not count.
constexpr int64_t least_floor = 4 << 20, most_floor = 64 << 20, floor_per_heap = 12;
// Looking for dead arrays without a collection takes some 0.06 ns for each byte that is looked at: 2 to 20 us. It is
// done sooner, so that results go on being made in memory that the caches hold: on a busy machine a - b of 100000
// elements took 33 us with 1 MB, 38 with 2, 44 with 4. What an operation makes new is still in use beside what it
// replaces, so that a look at each new array finds too little, and a collection follows: with 768 KB it took 84 us.
constexpr int64_t least_reclaimed = 1 << 20, reclaimed_per_byte = 8, fewest_new = 2;

// Arrays that only garbage refers to are found by a collection alone.
constexpr int64_t most_unproved = 32 << 20;

struct Account {
  std::atomic<int64_t> id{0}; // 0: free
  std::atomic<int64_t> lua{0}, outside{0};
  std::atomic<int64_t> collected{0}; // `outside` after garbage was last looked for, or less
  std::atomic<int64_t> proved{0};    // after the last collection proper, or less
  std::atomic<bool> refused{false};
  std::atomic<int64_t> floor{least_floor};
  std::atomic<int64_t> made{0};   // pieces taken since garbage was last looked for
  std::atomic<int64_t> unaged{0}; // bytes taken since memory was last aged
  int64_t limit = 0;
};

// Slots are recycled but never freed, so that a late release can look at its slot; the id (slot plus a serial number)
// tells whether the account is still the same. 4096 VMs at once is far more than threads of one process.
constexpr int64_t slots = 4096;
std::array<std::atomic<Account *>, slots> table;
std::mutex table_mutex;
int64_t serial = 0;

thread_local int64_t current = 0;
thread_local MemoryObserver *observer = nullptr;

Account *find(int64_t id) {
  if (id <= 0)
    return nullptr;
  Account *account = table[id % slots].load(std::memory_order_acquire);
  return account && account->id.load(std::memory_order_acquire) == id ? account : nullptr;
}

} // namespace

int64_t open_account(int64_t limit) {
  std::lock_guard lock(table_mutex);
  for (int64_t slot = 1; slot < slots; ++slot) {
    Account *account = table[slot].load();
    if (account && account->id.load() != 0)
      continue;
    if (!account) {
      account = new Account; // kept for the life of the process, see above
      table[slot].store(account, std::memory_order_release);
    }
    account->lua = account->outside = account->collected = account->proved = account->made = account->unaged = 0;
    account->refused = false;
    account->floor = least_floor;
    account->limit = limit;
    int64_t id = ++serial * slots + slot;
    account->id.store(id, std::memory_order_release);
    return id;
  }
  throw UnsupportedError("more than 4095 VMs in one process; destroy some first");
}

void close_account(int64_t id) {
  if (Account *account = find(id))
    account->id.store(0, std::memory_order_release);
}

bool account_lua(int64_t id, int64_t delta, bool limited) {
  Account *account = find(id);
  if (!account)
    return true;
  if (limited && delta > 0 && account->limit > 0 &&
      account->lua.load(std::memory_order_relaxed) + account->outside.load(std::memory_order_relaxed) + delta >
          account->limit) {
    account->refused = true;
    return false;
  }
  // Only the VM's own thread changes its Lua heap: a plain store is cheaper than a locked add on this hot path.
  account->lua.store(account->lua.load(std::memory_order_relaxed) + delta, std::memory_order_relaxed);
  return true;
}

int64_t account_total(int64_t id) {
  Account *account = find(id);
  return account ? account->lua + account->outside : 0;
}

int64_t account_outside(int64_t id) {
  Account *account = find(id);
  return account ? account->outside.load() : 0;
}

bool account_was_refused(int64_t id, bool clear) {
  Account *account = find(id);
  if (!account)
    return false;
  return clear ? account->refused.exchange(false) : account->refused.load();
}

int64_t account_growth() {
  Account *account = find(current);
  return account ? account->outside - account->collected : 0;
}

bool account_unproved() {
  Account *account = find(current);
  return account && account->outside - account->proved >
                        (account->limit > 0 ? std::min(most_unproved, account->limit / 4) : most_unproved);
}

void note_reclaimed(int64_t looked_at) {
  if (Account *account = find(current)) {
    if (account->unaged >= least_floor) {
      account->unaged = 0;
      age_memory();
    }
    account->collected = account->outside.load();
    account->floor = std::clamp(looked_at * reclaimed_per_byte, least_reclaimed, most_floor);
    account->made = 0;
  }
}

void observe_memory(MemoryObserver *who) {
  observer = who;
}

MemoryObserver *memory_observer() {
  return observer;
}

AccountScope::AccountScope(int64_t id) : previous_(current) {
  current = id;
}
AccountScope::~AccountScope() {
  current = previous_;
}

} // namespace perigee::core

using namespace perigee::core;

extern "C" int32_t pg_memory_reserve(int64_t bytes, int32_t *collect) {
  *collect = 0;
  Account *account = find(current);
  if (!account)
    return PG_OK;
  const int64_t outside = account->outside.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  const int64_t total = outside + account->lua.load(std::memory_order_relaxed);
  if (account->limit > 0 && total > account->limit) {
    account->outside.fetch_sub(bytes);
    account->refused = true;
    trim_memory();
    char message[200];
    std::snprintf(message, sizeof message,
                  "memory limit reached: %.1f MiB more would make %.1f MiB, and the limit is %.1f MiB",
                  double(bytes) / (1 << 20), double(total) / (1 << 20), double(account->limit) / (1 << 20));
    return perigee::set_last_error(PG_ERROR_MEMORY, message);
  }
  const int64_t collected = account->collected.load(std::memory_order_relaxed);
  int64_t threshold = account->floor.load(std::memory_order_relaxed); // whatever is held: looking costs by the Lua heap
  if (account->limit > 0)
    threshold = std::min(threshold, account->limit / 4);
  const int64_t made = account->made.load(std::memory_order_relaxed) + 1; // (a lost count does no harm)
  account->made.store(made, std::memory_order_relaxed);
  account->unaged.store(account->unaged.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  const bool several = made >= fewest_new || account->limit > 0 || outside - collected > least_floor;
  if (outside - collected > threshold && several)
    *collect = 1;
  return PG_OK;
}

extern "C" void pg_memory_release(int64_t bytes, int64_t owner) {
  if (Account *account = find(owner)) {
    const int64_t outside = account->outside.fetch_sub(bytes, std::memory_order_relaxed) - bytes;
    for (std::atomic<int64_t> *mark : {&account->collected, &account->proved})
      if (outside < mark->load(std::memory_order_relaxed))
        mark->store(outside, std::memory_order_relaxed);
  }
}

extern "C" int64_t pg_memory_owner(void) {
  return current;
}

extern "C" void pg_memory_collected(int64_t heap) {
  age_memory();
  if (Account *account = find(current)) {
    account->collected = account->proved = account->outside.load();
    account->floor = std::clamp(heap * floor_per_heap, least_floor, most_floor);
    account->made = account->unaged = 0;
  }
}
