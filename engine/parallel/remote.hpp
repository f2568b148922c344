// Shared objects of another process: locks, meeting points, atomic numbers and queues stay in the process that made
// them. Where a worker process is sent one, it holds a Remote, and each operation on it is a call to its parent, which
// performs it on the worker's own thread there, as the same participant. So one that ends with a lock held has
// abandoned it.
#pragma once

#include "parallel/transport.hpp"
#include "parallel/waiting.hpp"
#include "parallel/word.hpp"

#include <functional>
#include <string>

namespace perigee::parallel {

/// The operations of sync_abi.h, but for those that make objects.
enum class RemoteOp : int32_t {
  mutex_try,
  mutex_lock,
  mutex_unlock,
  mutex_unlocked, // it is, by the worker itself
  mutex_state,
  rwlock_lock,
  rwlock_unlock,
  semaphore_acquire,
  semaphore_release,
  semaphore_value,
  barrier_wait,
  barrier_abort,
  barrier_reset,
  barrier_state,
  condition_wait,
  condition_notify,
  condition_mutex,
  event_set,
  event_is_set,
  event_wait,
  latch_count_down,
  latch_wait,
  latch_count,
  local_id,
  atomic,
  atomic_compare_exchange,
  queue_put,
  queue_get,
  queue_close,
  queue_state,
};

struct RemoteCall {
  RemoteOp op;
  double a = 0, b = 0;
  bool parcel = false;    // the participant's parcel goes along
  const char *where = ""; // the script's position, for messages about waits
};
struct RemoteResult {
  int32_t status = 0;
  std::string message; // where the status is not 0
  double value = 0, more = 0;
  bool parcel = false; // the participant's parcel came along
};

class Remote final : public Shared {
 public:
  Remote(pg_shared_kind kind, uint64_t number, const WordPlace &place);
  ~Remote() override;
  const uint64_t number;   // by which the process that has it knows it
  Word *const shared_word; // NULL: none

 private:
  pg_block *const block_; // that the word lies in
};

/// How this process makes calls to its parent: set while it is a worker process.
struct RemoteSide {
  std::function<RemoteResult(const Remote &, const RemoteCall &, Participant *)> call;
  std::function<Ref<>(uint64_t number, int32_t kind, const WordPlace &place)> object;
  std::function<void(uint64_t number)> drop;
};
void set_remote_side(RemoteSide *side);

/// Makes the call. The status is for the ABI, with a message where it is not 0.
int32_t call_remote(void *object, Participant *me, RemoteCall call, double *value = nullptr, double *more = nullptr);
/// The same for functions that return the value itself.
double ask_remote(void *object, Participant *me, RemoteCall call);
/// The same for functions that give what the call returned by a pointer.
template <class T>
int32_t remote(T *out, void *object, Participant *me, const RemoteCall &call, double *more = nullptr) {
  double value = 0;
  const int32_t status = call_remote(object, me, call, &value, more);
  *out = static_cast<T>(value);
  return status;
}
inline bool is_remote(void *object) {
  return static_cast<const Shared *>(object)->remote;
}
/// The object with a number that a call has returned.
void hand_over_remote(pg_shared *out, double number, int32_t kind);

/// In the process that has the object: performs a call.
RemoteResult perform(void *object, const RemoteCall &call, Participant &me);

} // namespace perigee::parallel
