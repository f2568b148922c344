#include "parallel/remote.hpp"

#include "core/status.hpp"
#include "parallel/sync.hpp"

namespace perigee::parallel {
namespace {

RemoteSide *remote_side = nullptr;

} // namespace

void set_remote_side(RemoteSide *side) {
  remote_side = side;
}

Remote::Remote(pg_shared_kind what, uint64_t known_as, const WordPlace &place)
    : Shared(what, true), number(known_as),
      shared_word(place.block ? reinterpret_cast<Word *>(static_cast<std::byte *>(place.block->memory) + place.offset)
                              : nullptr),
      block_(place.block) {
  if (block_)
    array::retain(block_);
}

Remote::~Remote() {
  if (remote_side)
    remote_side->drop(number);
  if (block_)
    array::release(block_);
}

int32_t call_remote(void *object, Participant *me, RemoteCall call, double *value, double *more) {
  int32_t status = 0;
  const int32_t outer = guard([&] {
    if (!remote_side)
      throw InternalError("this object belongs to another process");
    const auto &remote = static_cast<const Remote &>(*static_cast<Shared *>(object));
    call.where = me ? me->where : "";
    const RemoteResult result = remote_side->call(remote, call, me);
    status = result.status;
    if (status != 0)
      set_last_error(static_cast<pg_status>(status), result.message.c_str());
    if (value)
      *value = result.value;
    if (more)
      *more = result.more;
  });
  return outer != 0 ? outer : status;
}

double ask_remote(void *object, Participant *me, RemoteCall call) {
  double value = 0;
  call_remote(object, me, call, &value);
  return value;
}

void hand_over_remote(pg_shared *out, double number, int32_t kind) {
  hand_over(out, remote_side->object(static_cast<uint64_t>(number), kind, {}));
}

RemoteResult perform(void *object, const RemoteCall &call, Participant &me) {
  RemoteResult result;
  const auto count = static_cast<int64_t>(call.a);
  const auto which = static_cast<int32_t>(call.a);
  int32_t done = 0;
  auto timed = [&](int32_t status) {
    result.status = status;
    result.value = done;
  };
  switch (call.op) {
  case RemoteOp::mutex_try:
    result.value = pg_mutex_try(object, &me);
    break;
  case RemoteOp::mutex_lock:
    timed(pg_mutex_lock(object, &me, call.a, &done));
    break;
  case RemoteOp::mutex_unlock:
    result.status = pg_mutex_unlock(object, &me);
    break;
  case RemoteOp::mutex_unlocked:
    static_cast<Mutex *>(static_cast<Shared *>(object))->unlocked();
    break;
  case RemoteOp::mutex_state:
    result.value = pg_mutex_state(object, &me);
    break;
  case RemoteOp::rwlock_lock:
    timed(pg_rwlock_lock(object, &me, call.b != 0, call.a, &done));
    break;
  case RemoteOp::rwlock_unlock:
    result.status = pg_rwlock_unlock(object, &me, call.b != 0);
    break;
  case RemoteOp::semaphore_acquire:
    timed(pg_semaphore_acquire(object, &me, call.a, &done));
    break;
  case RemoteOp::semaphore_release:
    result.status = pg_semaphore_release(object, &me, count);
    break;
  case RemoteOp::semaphore_value:
    result.value = static_cast<double>(pg_semaphore_value(object));
    break;
  case RemoteOp::barrier_wait: {
    int64_t place = 0;
    result.status = pg_barrier_wait(object, &me, call.a, &place);
    result.value = static_cast<double>(place);
    break;
  }
  case RemoteOp::barrier_abort:
    pg_barrier_abort(object);
    break;
  case RemoteOp::barrier_reset:
    pg_barrier_reset(object);
    break;
  case RemoteOp::barrier_state:
    result.value = static_cast<double>(pg_barrier_state(object, which));
    break;
  case RemoteOp::condition_wait:
    timed(pg_condition_wait(object, &me, call.a, &done));
    break;
  case RemoteOp::condition_notify:
    result.status = pg_condition_notify(object, &me, count);
    break;
  case RemoteOp::condition_mutex:
    break; // its number is for who knows the numbers
  case RemoteOp::event_set:
    pg_event_set(object, &me, which);
    break;
  case RemoteOp::event_is_set:
    result.value = pg_event_is_set(object, &me);
    break;
  case RemoteOp::event_wait:
    timed(pg_event_wait(object, &me, call.a, &done));
    break;
  case RemoteOp::latch_count_down:
    result.status = pg_latch_count_down(object, &me, count);
    break;
  case RemoteOp::latch_wait:
    timed(pg_latch_wait(object, &me, call.a, &done));
    break;
  case RemoteOp::latch_count:
    result.value = static_cast<double>(pg_latch_count(object));
    break;
  case RemoteOp::local_id:
    result.value = static_cast<double>(pg_local_id(object));
    break;
  case RemoteOp::atomic:
    result.value = pg_atomic_number(object, &me, which, call.b);
    break;
  case RemoteOp::atomic_compare_exchange:
    result.more = call.a;
    result.value = pg_atomic_number_compare_exchange(object, &me, &result.more, call.b);
    break;
  case RemoteOp::queue_put:
    timed(pg_queue_put(object, &me, call.a, call.b, call.parcel, &done));
    break;
  case RemoteOp::queue_get:
    timed(pg_queue_get(object, &me, call.a, &result.more, &done));
    result.parcel = result.status == 0 && done == 3;
    break;
  case RemoteOp::queue_close:
    pg_queue_close(object);
    break;
  case RemoteOp::queue_state:
    result.value = static_cast<double>(pg_queue_state(object, which));
    break;
  }
  if (result.status != 0)
    result.message = pg_last_message();
  return result;
}

} // namespace perigee::parallel
