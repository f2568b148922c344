#include "parallel/gil.hpp"
#include "parallel/waiting.hpp"

#include <lua.hpp>

namespace perigee::parallel {
namespace {

// Instructions between two looks: some 10 us of interpreted code.
constexpr int look_every = 500;

Gil *own() {
  const Participant *me = ThreadParticipant::current();
  return me ? me->gil : nullptr;
}

} // namespace

void Gil::take(std::unique_lock<std::mutex> &lock) {
  while (held_) {
    const int64_t before = switches_;
    if (freed_.wait_for(lock, interval_) == std::cv_status::timeout && held_ && switches_ == before)
      wanted_ = true;
  }
  held_ = true;
  wanted_ = false;
  ++switches_;
  taken_.notify_all();
}

void Gil::acquire() {
  std::unique_lock lock(mutex_);
  take(lock);
}

void Gil::release() {
  std::lock_guard lock(mutex_);
  held_ = false;
  freed_.notify_one();
}

void Gil::give_way() {
  std::unique_lock lock(mutex_);
  const int64_t before = switches_;
  held_ = false;
  freed_.notify_one();
  // Until another one has it: else this thread, which is awake, would mostly be the one to take it again.
  taken_.wait(lock, [&] { return switches_ != before; });
  take(lock);
}

void install_gil(lua_State *L) {
  lua_sethook(
      L,
      [](lua_State *, lua_Debug *) {
        if (Gil *gil = own())
          gil->offer();
      },
      LUA_MASKCOUNT, look_every);
}

} // namespace perigee::parallel

using namespace perigee::parallel;

extern "C" {

void pg_gil_release(void) {
  if (Gil *gil = own())
    gil->release();
}
void pg_gil_acquire(void) {
  if (Gil *gil = own())
    gil->acquire();
}
}
