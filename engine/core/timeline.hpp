// The timeline: what happened when, on every thread of the process. Anything in the engine may write to it, from any
// thread; while none is recorded that costs the test of a variable. profiler_ops.lua starts it and writes it to a file.
#pragma once

#include "core/abi.hpp"
#include "core/operations.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace perigee::core::timeline {

struct Event {
  const char *name, *category; // constants, or texts of keep()
  int64_t begin, end;          // nanoseconds of CLOCK_MONOTONIC
  char phase; // as in Chrome's trace format: 'X' a span, 'i' an instant, 'C' a counter (`end` has the bits of its
              // value, a double), 's' and 'f' the two ends of an arrow (`end` is its number)
};

struct Thread {
  std::string name;
  std::vector<Event> events;
};

extern std::atomic<bool> on;
inline bool recording() {
  return on.load(std::memory_order_relaxed);
}

// Of the calling thread, while one is recorded. Spans of a script nest: end() ends the innermost that begin() began.
void add(const Event &event);
void begin(const char *name, const char *category);
void end();
// A text that lives as long as the process: another thread may write it into a recording that is yet to come.
const char *keep(const std::string &text);
// How the calling thread is called in timelines from now on.
void name_thread(const std::string &name);
const std::string &thread_name(); // "" for one without

// An arrow from the span that runs here now to one elsewhere, of which finish_arrow() tells: a message on its way.
// Returns its number, 0 where nothing is recorded.
int64_t start_arrow(const char *name, const char *category);
void finish_arrow(const char *name, const char *category, int64_t number);

// Spans that are begun while one lives end with it at the latest: an error leaves them open.
class Nesting {
 public:
  Nesting();
  ~Nesting();
  Nesting(const Nesting &) = delete;

 private:
  size_t open_ = 0;
  uint64_t recording_ = 0; // 0: none
};

class Span {
 public:
  Span(const char *name, const char *category)
      : name_(name), category_(category), begin_(recording() ? monotonic_nanoseconds() : 0) {}
  ~Span() {
    if (begin_ && recording())
      add({name_, category_, begin_, monotonic_nanoseconds(), 'X'});
  }
  Span(const Span &) = delete;
  Span &operator=(const Span &) = delete;

 private:
  const char *name_, *category_;
  int64_t begin_;
};

// Records from now on, at most so many events; the calling thread is "main" unless it has a name. Throws ArgumentError
// where one is being recorded.
void start(size_t most_events);
struct Recording {
  std::vector<Thread> threads; // that did something, in the order in which they began to
  int64_t dropped = 0;         // events for which there was no room
};
// Ends it; spans that are open end now.
Recording stop();

} // namespace perigee::core::timeline
