// Words of memory for what is quick in shared objects: who holds a mutex, the value of an atomic number. They lie in a
// memfd that worker processes map as well, so that these need not ask for what nobody else wants at the moment.
#pragma once

#include "array/array.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>

namespace perigee::parallel {

// On a cache line of its own: counters that were made one after the other are counted up by different workers. Only
// used by std::atomic_ref.
struct alignas(64) Word {
  union {
    int64_t integer;
    double real;
    uint64_t owner; // the holder's token, 0: nobody
  };
  int32_t waiting;  // how many wait for the owner to let go, in the process that has the object
  int32_t sleeping; // how many do in others, by sleep()
  uint32_t turn;    // what those sleep on: another one after each wake()
};

// Sleeps until wake(), or the time is up, or a signal comes; not at all if there has been a wake() since `turn` was
// read.
void sleep(Word &word, uint32_t turn, std::chrono::nanoseconds time);
// Wakes one that sleeps, whichever process it is in.
void wake(Word &word);

// A word in use, all of it 0 at first.
class OwnWord {
 public:
  OwnWord();
  ~OwnWord();
  OwnWord(const OwnWord &) = delete;
  Word *operator->() const { return word_; }
  Word &operator*() const { return *word_; }

 private:
  Word *const word_;
};

// Where other processes find a word: a block that lives as long as the process, and how many bytes from its beginning.
// No block where this machine gives no memory that processes can share.
struct WordPlace {
  pg_block *block = nullptr;
  int64_t offset = 0;
};
WordPlace place_of(const Word &word);

} // namespace perigee::parallel
