// Atomic numbers, and atomic operations on elements of arrays: one function for all, since what a call through the FFI
// and the operation itself take hides the choice of the dtype.
#include "array/array.hpp"
#include "core/status.hpp"
#include "parallel/remote.hpp"
#include "parallel/waiting.hpp"

#include <type_traits>

namespace perigee::parallel {
namespace {

class Atomic final : public Shared {
 public:
  Atomic(pg_shared_kind kind, double value) : Shared(kind) {
    if (kind == PG_SHARED_ATOMIC)
      number->integer = static_cast<int64_t>(value);
    else
      number->real = value;
  }
  const Word *word() const override { return &*number; }
  const OwnWord number;
};

// Calls body(reference to element i).
template <class Body> auto with_element(void *data, int32_t dtype, int64_t i, Body &&body) {
  switch (dtype) {
  case PG_FLOAT64:
    return body(static_cast<double *>(data)[i]);
  case PG_FLOAT32:
    return body(static_cast<float *>(data)[i]);
  case PG_INT64:
    return body(static_cast<int64_t *>(data)[i]);
  case PG_INT32:
    return body(static_cast<int32_t *>(data)[i]);
  case PG_UINT64:
    return body(static_cast<uint64_t *>(data)[i]);
  case PG_UINT32:
    return body(static_cast<uint32_t *>(data)[i]);
  case PG_INT16:
    return body(static_cast<int16_t *>(data)[i]);
  case PG_UINT16:
    return body(static_cast<uint16_t *>(data)[i]);
  case PG_INT8:
    return body(static_cast<int8_t *>(data)[i]);
  default:
    return body(static_cast<uint8_t *>(data)[i]);
  }
}

// Replaces the element by change(element) unless that is the same; returns what was there.
template <class T, class Change> T update(std::atomic_ref<T> element, Change change) {
  T before = element.load();
  for (;;) {
    const T after = change(before);
    if (after == before || element.compare_exchange_weak(before, after))
      return before;
  }
}

template <class T> T apply(T &place, int32_t op, T value) {
  std::atomic_ref<T> element(place);
  switch (op) {
  case PG_ATOMIC_STORE:
    element.store(value);
    return value;
  case PG_ATOMIC_ADD:
    return element.fetch_add(value);
  case PG_ATOMIC_SUB:
    return element.fetch_sub(value);
  case PG_ATOMIC_MIN: // NaN wins, as in array.minimum
    return update(element, [value](T x) { return value < x || value != value ? value : x; });
  case PG_ATOMIC_MAX:
    return update(element, [value](T x) { return value > x || value != value ? value : x; });
  case PG_ATOMIC_EXCHANGE:
    return element.exchange(value);
  default:
    return element.load();
  }
}

// Tells the race detector: before the operation what it makes known, after it what it learns, so that nothing is learnt
// late.
struct Ordered {
  Ordered(Participant *me, VectorClock &clock, bool writes, bool reads) : me(me), clock(clock), reads(reads) {
    if (me && writes)
      precedes(*me, clock);
  }
  ~Ordered() {
    if (me && reads)
      follows(*me, clock);
  }
  Ordered(const Ordered &) = delete;
  Participant *me;
  VectorClock &clock;
  bool reads;
};

// 2^53 + 1 would be rounded to 2^53, which Lua takes for exact.
double rounded_away(int64_t v) {
  constexpr int64_t exact = int64_t(1) << 53;
  return static_cast<double>(v == exact + 1 ? v + 1 : v == -exact - 1 ? v - 1 : v);
}

// An operation on an atomic number of this kind.
double apply(Word &word, int32_t kind, int32_t op, double value) {
  return kind == PG_SHARED_ATOMIC ? rounded_away(apply(word.integer, op, static_cast<int64_t>(value)))
                                  : apply(word.real, op, value);
}

} // namespace
} // namespace perigee::parallel

using namespace perigee;
using namespace perigee::parallel;

extern "C" {

int32_t pg_atomic_create(pg_shared *out, int32_t kind, double value) {
  return guard([&] { hand_over(out, Ref(new Atomic(static_cast<pg_shared_kind>(kind), value))); });
}

double pg_atomic_number(void *object, pg_participant *me, int32_t op, double value) {
  if (is_remote(object)) {
    const auto &remote = *static_cast<Remote *>(static_cast<Shared *>(object));
    return remote.shared_word ? apply(*remote.shared_word, remote.kind, op, value)
                              : ask_remote(object, me, {RemoteOp::atomic, double(op), value});
  }
  auto &atomic = *static_cast<Atomic *>(static_cast<Shared *>(object));
  const Ordered ordered(me, atomic.clock, op != PG_ATOMIC_LOAD, op != PG_ATOMIC_STORE);
  return apply(*atomic.number, atomic.kind, op, value);
}

int32_t pg_atomic_number_compare_exchange(void *object, pg_participant *me, double *expected, double desired) {
  auto exchange = [&](Word &word, int32_t kind) {
    return pg_atomic_compare_exchange(&word, kind == PG_SHARED_ATOMIC ? PG_INT64 : PG_FLOAT64, 0, expected, desired);
  };
  if (is_remote(object)) {
    const auto &remote = *static_cast<Remote *>(static_cast<Shared *>(object));
    if (remote.shared_word)
      return exchange(*remote.shared_word, remote.kind);
    double same = 0;
    call_remote(object, me, {RemoteOp::atomic_compare_exchange, *expected, desired}, &same, expected);
    return same != 0;
  }
  auto &atomic = *static_cast<Atomic *>(static_cast<Shared *>(object));
  const Ordered ordered(me, atomic.clock, true, true);
  return exchange(*atomic.number, atomic.kind);
}

double pg_atomic_apply(void *data, int32_t dtype, int64_t i, int32_t op, double value) {
  return with_element(data, dtype, i, [&](auto &element) {
    return static_cast<double>(apply(element, op, static_cast<std::remove_reference_t<decltype(element)>>(value)));
  });
}

int32_t pg_atomic_compare_exchange(void *data, int32_t dtype, int64_t i, double *expected, double desired) {
  return with_element(data, dtype, i, [&](auto &place) -> int32_t {
    using T = std::remove_reference_t<decltype(place)>;
    std::atomic_ref<T> element(place);
    // By value: 0 and -0 are equal, and no NaN equals anything, as == has it.
    T before = element.load();
    while (before == static_cast<T>(*expected))
      if (element.compare_exchange_weak(before, static_cast<T>(desired)))
        return 1;
    *expected = static_cast<double>(before);
    return 0;
  });
}
}
