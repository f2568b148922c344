// A queue of values between Lua states: numbers as they are, all else as messages.
#pragma once

#include "parallel/transport.hpp"
#include "parallel/waiting.hpp"

#include <deque>
#include <memory>

struct lua_State;

namespace perigee::parallel {

class Queue final : public Sync {
 public:
  explicit Queue(int64_t capacity) : Sync(PG_SHARED_QUEUE), capacity(capacity) {}

  struct Item {
    double number = 0;
    std::unique_ptr<Message> message; // NULL: the number
    int64_t arrow = 0;                // of the timeline
  };
  // False when time was up, and then `item` is still the caller's. Throws when the queue is closed.
  bool put(Participant &me, double timeout, Item &item);
  enum Got : int32_t { time_up = 0, got = 1, closed = 2 };
  Got get(Participant &me, double timeout, Item &item);
  // No more puts; what is there can still be taken.
  void close();
  bool is_closed() const { return closed_.load(); }
  int64_t size() const { return size_.load(); }
  std::string waited_for() const override;

  const int64_t capacity; // 0: any number

 private:
  std::deque<Item> items_;
  std::atomic<int64_t> size_{0};
  std::atomic<bool> closed_{false};
};

// Adds to the table at the top of the stack what parallel_queue.lua needs of the state: values to and from messages.
void open_queue(lua_State *L);

} // namespace perigee::parallel
