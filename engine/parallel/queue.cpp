#include "parallel/queue.hpp"
#include "core/timeline.hpp"
#include "parallel/remote.hpp"
#include "parallel/transport_lua.hpp"

namespace perigee::parallel {

bool Queue::put(Participant &me, double timeout, Item &item) {
  return wait(
      me, timeout, [&] { return closed_ || capacity == 0 || size_ < capacity; },
      [&] {
        if (closed_)
          throw ArgumentError("put: the queue was closed");
        item.arrow = core::timeline::start_arrow("message", "queue");
        items_.push_back(std::move(item));
        ++size_;
        precedes(me, clock);
        changed();
      });
}

Queue::Got Queue::get(Participant &me, double timeout, Item &item) {
  Got result = time_up;
  wait(
      me, timeout, [&] { return closed_ || size_ > 0; },
      [&] {
        result = closed;
        if (items_.empty())
          return;
        item = std::move(items_.front());
        items_.pop_front();
        --size_;
        core::timeline::finish_arrow("message", "queue", item.arrow);
        follows(me, clock);
        changed();
        result = got;
      });
  return result;
}

void Queue::close() {
  std::lock_guard guard(mutex_);
  closed_ = true;
  changed();
}

std::string Queue::waited_for() const {
  return capacity > 0 && size() >= capacity ? "room in a queue of " + std::to_string(capacity) : "something in a queue";
}

namespace {

Participant &participant_at(lua_State *L, int index) {
  return **static_cast<Participant *const *>(lua_topointer(L, index));
}

// pack(me, value): keeps the value as a message for the next pg_queue_put. True, or nil and why not.
int pack(lua_State *L) {
  Participant &me = participant_at(L, 1);
  lua_settop(L, 2);
  Transport &transport = Transport::of(L);
  me.parcel = std::make_unique<Message>();
  if (transport.encode(L, 2, *me.parcel)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  me.parcel.reset();
  lua_pushnil(L);
  lua_pushlstring(L, transport.reason.data(), transport.reason.size());
  return 2;
}

// unpack(me): the value of the message that pg_queue_get has left.
int unpack(lua_State *L) {
  Participant &me = participant_at(L, 1);
  const int count = Transport::of(L).decode(L, *me.parcel);
  me.parcel.reset();
  return count;
}

Queue &as_queue(void *object) {
  return *static_cast<Queue *>(static_cast<Shared *>(object));
}

} // namespace

void open_queue(lua_State *L) {
  lua_pushcfunction(L, pack);
  lua_setfield(L, -2, "pack");
  lua_pushcfunction(L, unpack);
  lua_setfield(L, -2, "unpack");
}

} // namespace perigee::parallel

using namespace perigee;
using namespace perigee::parallel;

extern "C" {

int32_t pg_queue_create(pg_shared *out, int64_t capacity) {
  return guard([&] { hand_over(out, Ref(new Queue(capacity))); });
}

int32_t pg_queue_put(void *object, pg_participant *me, double timeout, double number, int32_t parcel, int32_t *done) {
  if (is_remote(object))
    return remote(done, object, me, {RemoteOp::queue_put, timeout, number, parcel != 0});
  return guard([&] {
    Queue::Item item{number, parcel ? std::move(me->parcel) : nullptr, 0};
    *done = as_queue(object).put(*me, timeout, item);
    if (!*done)
      me->parcel = std::move(item.message); // for another attempt
  });
}

int32_t pg_queue_get(void *object, pg_participant *me, double timeout, double *number, int32_t *done) {
  if (is_remote(object))
    return remote(done, object, me, {RemoteOp::queue_get, timeout}, number);
  return guard([&] {
    Queue::Item item;
    *done = as_queue(object).get(*me, timeout, item);
    *number = item.number;
    if (item.message) {
      me->parcel = std::move(item.message);
      *done = 3;
    }
  });
}

void pg_queue_close(void *object) {
  if (is_remote(object))
    return void(ask_remote(object, nullptr, {RemoteOp::queue_close}));
  as_queue(object).close();
}
int64_t pg_queue_state(void *object, int32_t which) {
  if (is_remote(object))
    return static_cast<int64_t>(ask_remote(object, nullptr, {RemoteOp::queue_state, double(which)}));
  const Queue &queue = as_queue(object);
  return which == 0 ? queue.size() : which == 1 ? queue.capacity : queue.is_closed();
}
}
