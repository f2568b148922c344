#include "parallel/races.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <unordered_map>

namespace perigee::parallel {
namespace {

// Threads whose order is not known at once. Beyond it, ids are used again by others: some races are missed then.
constexpr uint32_t most_threads = 1024;
constexpr uint32_t nobody = ~uint32_t(0);
constexpr size_t page_bytes = 4096;

struct Last {
  uint32_t thread = nobody;
  uint32_t clock = 0;
  uint32_t where = 0;
  bool atomic = false;
};

// One granule of memory: an element, or a part of one.
struct Cell {
  Last write;
  Last read;               // of the one thread that has read since, or
  std::vector<Last> reads; // of several
};

struct Page {
  size_t granule; // bytes
  std::vector<Cell> cells;
};

struct Detector {
  std::mutex mutex;
  std::vector<VectorClock *> threads; // by id: the clock of one that runs; NULL: it has ended
  std::vector<uint32_t> ends;         // by id: the last clock of one that has ended
  std::vector<std::string> names;     // by id
  uint32_t next_victim = 1;
  std::unordered_map<uintptr_t, Page> pages;
  std::unordered_map<std::string, uint32_t> places; // "file:line" -> number
  std::vector<std::string> place_names;
  std::unordered_map<uintptr_t, VectorClock> elements; // clocks of atomic operations, by address
  std::map<uint64_t, Race> races;                      // by number
  uint64_t last_race = 0;
  std::unordered_map<std::string, uint64_t> known;
};

Detector &detector() {
  static auto *one = new Detector; // never destroyed: worker threads may outlast static objects
  return *one;
}

std::atomic<int> checking{0};

uint32_t at(const VectorClock &clock, uint32_t id) {
  return id < clock.size() ? clock[id] : 0;
}
void raise(VectorClock &clock, uint32_t id, uint32_t value) {
  if (id >= clock.size())
    clock.resize(id + 1);
  clock[id] = std::max(clock[id], value);
}
void join(VectorClock &into, const VectorClock &from) {
  for (uint32_t id = 0; id < from.size(); ++id)
    if (from[id])
      raise(into, id, from[id]);
}

uint32_t number_of(Detector &d, const std::string &where) {
  const auto [entry, added] = d.places.emplace(where, static_cast<uint32_t>(d.place_names.size()));
  if (added)
    d.place_names.push_back(where);
  return entry->second;
}

// An id for a thread that knows `clock`: one that has ended, all of which it knows, or a new one.
uint32_t take_id(Detector &d, const VectorClock &clock) {
  for (uint32_t id = 0; id < d.threads.size(); ++id)
    if (!d.threads[id] && at(clock, id) >= d.ends[id])
      return id;
  if (d.threads.size() < most_threads) {
    d.threads.push_back(nullptr);
    d.ends.push_back(0);
    d.names.emplace_back();
    return static_cast<uint32_t>(d.threads.size() - 1);
  }
  for (uint32_t tries = 0; tries < most_threads; ++tries) {
    d.next_victim = (d.next_victim + 1) % most_threads;
    if (!d.threads[d.next_victim])
      return d.next_victim;
  }
  d.threads.push_back(nullptr); // so many run at once
  d.ends.push_back(0);
  d.names.emplace_back();
  return static_cast<uint32_t>(d.threads.size() - 1);
}

// The cells of [address, address + size), in a page whose granule divides them. Ranges do not cross pages: elements are
// aligned to their size, or to half of it.
template <class Body> void for_cells(Detector &d, uintptr_t address, size_t size, Body &&body) {
  const uintptr_t base = address / page_bytes * page_bytes;
  auto entry = d.pages.find(base);
  if (entry == d.pages.end()) {
    entry = d.pages.emplace(base, Page{size, {}}).first;
    entry->second.cells.resize(page_bytes / size);
  }
  Page &page = entry->second;
  if (size < page.granule) { // now seen as smaller elements: each has the history of the larger one
    std::vector<Cell> cells(page_bytes / size);
    for (size_t i = 0; i < cells.size(); ++i)
      cells[i] = page.cells[i * size / page.granule];
    page.cells = std::move(cells);
    page.granule = size;
  }
  for (size_t offset = address - base; offset < address - base + size && offset < page_bytes; offset += page.granule)
    body(page.cells[offset / page.granule]);
}

void report(Detector &d, RaceThread &thread, const Last &first, Access first_kind, Access kind, uint32_t where) {
  if (first.atomic)
    first_kind = Access::atomic;
  // The same two lines are the same race, whoever came first.
  const std::string a = d.place_names[first.where] + "\n" + std::to_string(int(first_kind));
  const std::string b = d.place_names[where] + "\n" + std::to_string(int(kind));
  const auto [entry, added] =
      d.known.emplace((a < b ? a + "\n" + b : b + "\n" + a) + "\n" + std::to_string(thread.pool), d.last_race + 1);
  const uint64_t number = entry->second;
  if (added) {
    d.races[++d.last_race] = {d.place_names[first.where],
                              d.names[first.thread],
                              d.place_names[where],
                              thread.name,
                              first_kind,
                              kind,
                              "",
                              1,
                              thread.pool};
    thread.unnamed.push_back(number);
  } else {
    ++d.races[number].count;
  }
  if (std::find(thread.found.begin(), thread.found.end(), number) == thread.found.end())
    thread.found.push_back(number);
}

void check(Detector &d, RaceThread &thread, Cell &cell, Access access, uint32_t where) {
  const uint32_t now = thread.clock[thread.id];
  auto conflicts = [&](const Last &last) {
    return last.thread != nobody && last.thread != thread.id && last.clock > at(thread.clock, last.thread) &&
           !(last.atomic && access == Access::atomic);
  };
  auto note = [&](const Last &last, Access kind) { report(d, thread, last, kind, access, where); };
  if (conflicts(cell.write))
    note(cell.write, Access::write);
  const Last mine{thread.id, now, where, access == Access::atomic};
  if (access == Access::read) {
    if (!cell.reads.empty()) {
      std::erase_if(cell.reads, [&](const Last &last) {
        return last.thread == thread.id || last.clock <= at(thread.clock, last.thread);
      });
      cell.reads.push_back(mine);
    } else if (cell.read.thread == nobody || cell.read.thread == thread.id ||
               cell.read.clock <= at(thread.clock, cell.read.thread)) {
      cell.read = mine;
    } else {
      cell.reads = {cell.read, mine};
      cell.read = {};
    }
    return;
  }
  if (conflicts(cell.read))
    note(cell.read, Access::read);
  for (const Last &last : cell.reads)
    if (conflicts(last))
      note(last, Access::read);
  cell.read = {};
  cell.reads.clear();
  cell.write = mine;
}

void access_locked(Detector &d, RaceThread &thread, const void *address, size_t size, Access access,
                   const std::string &where) {
  const uint32_t place = number_of(d, where);
  for_cells(d, reinterpret_cast<uintptr_t>(address), size, [&](Cell &cell) { check(d, thread, cell, access, place); });
}

} // namespace

std::unique_ptr<RaceThread> race_begin(std::string name, const VectorClock &parent, uint64_t pool) {
  auto thread = std::make_unique<RaceThread>();
  thread->name = std::move(name);
  thread->pool = pool;
  thread->clock = parent;
  Detector &d = detector();
  std::lock_guard guard(d.mutex);
  thread->id = take_id(d, parent);
  raise(thread->clock, thread->id, d.ends[thread->id] + 1);
  d.threads[thread->id] = &thread->clock;
  d.names[thread->id] = thread->name;
  return thread;
}

void race_end(RaceThread &thread, VectorClock &clock) {
  Detector &d = detector();
  std::lock_guard guard(d.mutex);
  join(clock, thread.clock);
  d.ends[thread.id] = thread.clock[thread.id];
  d.threads[thread.id] = nullptr;
}

void race_release(RaceThread *thread, VectorClock &clock) {
  if (!thread)
    return;
  std::lock_guard guard(detector().mutex);
  join(clock, thread->clock);
  ++thread->clock[thread->id];
}

void race_acquire(RaceThread *thread, const VectorClock &clock) {
  if (!thread)
    return;
  std::lock_guard guard(detector().mutex);
  join(thread->clock, clock);
}

VectorClock race_now(RaceThread &thread) {
  VectorClock clock;
  race_release(&thread, clock);
  return clock;
}

void race_merge(VectorClock &into, const VectorClock &from) {
  std::lock_guard guard(detector().mutex);
  join(into, from);
}

void race_access(RaceThread &thread, const void *address, size_t size, Access access, const std::string &where) {
  Detector &d = detector();
  std::lock_guard guard(d.mutex);
  access_locked(d, thread, address, size, access, where);
}

void race_atomic(RaceThread &thread, const void *address, size_t size, const std::string &where) {
  Detector &d = detector();
  std::lock_guard guard(d.mutex);
  VectorClock &clock = d.elements[reinterpret_cast<uintptr_t>(address)];
  join(thread.clock, clock);
  access_locked(d, thread, address, size, Access::atomic, where);
  join(clock, thread.clock);
  ++thread.clock[thread.id];
}

std::vector<Race> races_found(uint64_t pool) {
  std::lock_guard guard(detector().mutex);
  std::vector<Race> races;
  for (const auto &[number, race] : detector().races)
    if (race.pool == pool)
      races.push_back(race);
  return races;
}
void race_name(RaceThread &thread, const std::string &element) {
  std::lock_guard guard(detector().mutex);
  for (const uint64_t number : thread.unnamed)
    detector().races[number].element = element;
  thread.unnamed.clear();
}

bool race_checking() noexcept {
  return checking.load(std::memory_order_relaxed) > 0;
}
void race_open() {
  checking.fetch_add(1);
}
void race_close(uint64_t pool) {
  Detector &d = detector();
  std::lock_guard guard(d.mutex);
  std::erase_if(d.races, [pool](const auto &entry) { return entry.second.pool == pool; });
  std::erase_if(d.known, [&](const auto &entry) { return !d.races.contains(entry.second); });
  if (checking.fetch_sub(1) == 1) { // nobody can be in conflict with what is known here
    d.pages.clear();
    d.elements.clear();
  }
}

void race_forget(const void *memory, int64_t bytes) {
  Detector &d = detector();
  std::lock_guard guard(d.mutex);
  if (d.pages.empty())
    return;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory), end = begin + static_cast<uintptr_t>(bytes);
  for (uintptr_t base = begin / page_bytes * page_bytes; base < end; base += page_bytes) {
    const auto entry = d.pages.find(base);
    if (entry == d.pages.end())
      continue;
    Page &page = entry->second;
    if (base >= begin && base + page_bytes <= end) {
      d.pages.erase(entry);
      continue;
    }
    for (size_t i = 0; i < page.cells.size(); ++i)
      if (base + i * page.granule >= begin && base + i * page.granule < end)
        page.cells[i] = {};
  }
  std::erase_if(d.elements, [&](const auto &element) { return element.first >= begin && element.first < end; });
}

std::string describe(const Race &race) {
  auto verb = [](Access access) {
    return access == Access::read ? "read" : access == Access::write ? "written" : "changed atomically";
  };
  const std::string what = race.element.empty() ? "an element" : race.element;
  return what + " is " + verb(race.first) + " at " + race.first_where + " (" + race.first_worker + ") and " +
         verb(race.second) + " at " + race.second_where + " (" + race.second_worker + ") with nothing to order the two";
}

std::string describe_found(const RaceThread &thread) {
  std::string text;
  Detector &d = detector();
  std::lock_guard guard(d.mutex);
  for (const uint64_t number : thread.found)
    text += (text.empty() ? "race: " : "\n  race: ") + describe(d.races[number]);
  return text + "\n  lock both with one mutex, use atomic operations, or give every task elements of its own";
}

} // namespace perigee::parallel
