// Accounting of what a VM holds: its Lua heap (through the allocator that VM installs) and memory outside it (arrays).
// Blocks outlive the VM that made them when another VM shares them, so releases name the account by id, not by pointer.
#pragma once

#include <cstdint>

namespace perigee::core {

// Opens an account with a limit in bytes (0: none); returns its id, never 0.
int64_t open_account(int64_t limit);
void close_account(int64_t id);

// Changes the Lua-heap part of an account. Growth beyond the limit is refused with false, where `limited`.
bool account_lua(int64_t id, int64_t delta, bool limited);

// Bytes now held, Lua heap and outside memory together.
int64_t account_total(int64_t id);
int64_t account_outside(int64_t id);
// True once memory was refused on this account since the flag was last cleared.
bool account_was_refused(int64_t id, bool clear);

// Of the calling thread's account: by how much outside memory has grown since garbage was last collected.
int64_t account_growth();
// Whether it has grown so much since the last collection proper that one is due, however much note_reclaimed was told
// of: what only garbage refers to gathers.
bool account_unproved();
// Arrays that nothing refers to were given back without a collection; so many bytes of the Lua heap were looked at.
void note_reclaimed(int64_t looked_at);

// While a memory profile runs on a thread, it is told of each block of array memory taken (bytes > 0) and given back (<
// 0) there.
struct MemoryObserver {
  virtual void on_block(const void *block, int64_t bytes) noexcept = 0;

 protected:
  ~MemoryObserver() = default;
};
void observe_memory(MemoryObserver *observer); // NULL: nobody
MemoryObserver *memory_observer();

// Which account the calling thread's allocations belong to. VM entry points set it with AccountScope.
class AccountScope {
 public:
  explicit AccountScope(int64_t id);
  ~AccountScope();
  AccountScope(const AccountScope &) = delete;

 private:
  int64_t previous_;
};

} // namespace perigee::core
