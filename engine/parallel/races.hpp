// The race detector of pool{check = "races"}: which accesses to elements of arrays nothing orders.
//
// Each task is a logical thread with a vector clock, whichever worker runs it and however fast: what is found depends
// on what is ordered by submitting, ending and waiting for tasks and by shared objects, and not on what happened to run
// when. (But locks order two tasks as they happen to take them, which may hide a race of theirs elsewhere: run again.)
// For each element there is the last write and the last reads since, as in FastTrack (Flanagan and Freund, PLDI 2009).
#pragma once

#include "parallel/shared.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace perigee::parallel {

// By logical thread: how much of it is known to have happened before.
using VectorClock = std::vector<uint32_t>;

struct RaceThread {
  uint32_t id = 0;
  VectorClock clock;
  std::string name;              // "task 3, worker 2"
  uint64_t pool = 0;             // whose task it is
  std::vector<uint64_t> found;   // numbers of races that it was the second to take part in
  std::vector<uint64_t> unnamed; // those among them whose element has no name yet
};

enum class Access : uint8_t { read, write, atomic };

struct Race {
  std::string first_where, first_worker, second_where, second_worker; // "file:line"
  Access first, second;
  std::string element; // "element [3] of 'total'", filled in by the Lua state that found it
  int64_t count = 1;
  uint64_t pool = 0;
};

// A new logical thread that knows what `parent` does.
std::unique_ptr<RaceThread> race_begin(std::string name, const VectorClock &parent, uint64_t pool = 0);
// The end of one: adds what it knows to `clock`.
void race_end(RaceThread &thread, VectorClock &clock);

// What happened on `thread` so far happens before what follows race_acquire of the same clock.
void race_release(RaceThread *thread, VectorClock &clock);
void race_acquire(RaceThread *thread, const VectorClock &clock);
VectorClock race_now(RaceThread &thread); // for tasks submitted now
void race_merge(VectorClock &into, const VectorClock &from);

// An access to `size` bytes.
void race_access(RaceThread &thread, const void *address, size_t size, Access access, const std::string &where);
// An atomic operation on the element: it happens after all earlier ones there.
void race_atomic(RaceThread &thread, const void *address, size_t size, const std::string &where);

std::vector<Race> races_found(uint64_t pool = 0);
// Names the element of those that the thread has just found.
void race_name(RaceThread &thread, const std::string &element);

// Checking is under way in this process: pools with it are open.
bool race_checking() noexcept;
void race_open();
void race_close(uint64_t pool);
// Memory that is given back holds nothing any more.
void race_forget(const void *memory, int64_t bytes);

// As text: "element [3] of 'total': written at a.lua:3 by worker 1, and at a.lua:3 by worker 2; ..."
std::string describe(const Race &race);
// The races that a thread has found, as an error.
std::string describe_found(const RaceThread &thread);

} // namespace perigee::parallel
