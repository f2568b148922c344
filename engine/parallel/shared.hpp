// Objects that several Lua states of a process share: atomics, locks, queues, futures. C++ and messages between states
// hold them by Ref, Lua by a pg_shared (parallel_abi.h); the last reference to go, on whatever thread, destroys them.
#pragma once

#include "core/abi.hpp"

#include <atomic>
#include <utility>
#include <vector>

#pragma GCC visibility push(default)
extern "C" {
#include "parallel/parallel_abi.h"
}
#pragma GCC visibility pop

namespace perigee::parallel {

struct Word;

// "mutex", for messages.
const char *kind_name(int32_t kind);

class Shared {
 public:
  explicit Shared(pg_shared_kind kind, bool remote = false) : kind(kind), remote(remote) {}
  Shared(const Shared &) = delete;
  virtual ~Shared() = default;

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete this;
  }

  // What worker processes may use directly, NULL for nothing.
  virtual const Word *word() const { return nullptr; }

  const pg_shared_kind kind;
  const bool remote; // it is in another process (remote.hpp)
  // What happens before whoever synchronises with this object (races.hpp); empty unless a worker that is checked did.
  std::vector<uint32_t> clock;

 private:
  std::atomic<int64_t> references_{1}; // a new object belongs to whoever made it
};

// One reference, owned. `Ref(new T(...))` takes the first one over.
template <class T = Shared> class Ref {
 public:
  Ref() = default;
  explicit Ref(T *owned) : object_(owned) {}
  Ref(const Ref &other) : object_(other.object_) {
    if (object_)
      object_->retain();
  }
  Ref(Ref &&other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref &operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_)
      object_->release();
  }
  // One more reference to an object that somebody else keeps alive meanwhile.
  static Ref share(T *object) {
    if (object)
      object->retain();
    return Ref(object);
  }

  T *get() const { return object_; }
  T *operator->() const { return object_; }
  T &operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  // Gives the reference to the caller.
  T *detach() { return std::exchange(object_, nullptr); }

 private:
  T *object_ = nullptr;
};

// Gives the reference to a struct of a Lua state, which must be empty.
template <class T> void hand_over(pg_shared *out, Ref<T> object) {
  out->_kind = object->kind;
  out->_object = static_cast<Shared *>(object.detach());
}

} // namespace perigee::parallel
