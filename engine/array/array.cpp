// Blocks (reference-counted memory), descriptors, and what else does not touch elements.
#include "array/array.hpp"

#include "array/manipulate.hpp"
#include "core/abi.hpp"
#include "core/allocation.hpp"
#include "core/memory.hpp"
#include "core/plugin_support.hpp"
#include "core/status.hpp"
#include "parallel/races.hpp"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace perigee::array {
namespace {

constexpr int64_t alignment = 64; // a cache line, and the widest vector register

// Block headers live here for the life of the process: a row reads its block's generation long after the memory went.
// A header is used again for other blocks, never for anything else. Each thread keeps some, which saves the lock.
class HeaderPool {
 public:
  pg_block *take() {
    if (own_count > 0)
      return own[--own_count];
    std::lock_guard lock(mutex_);
    if (free_.empty()) {
#if defined(PERIGEE_SANITIZED)
      constexpr std::size_t chunk = 1; // so that a leak checker tells a lost one from the others
#else
      constexpr std::size_t chunk = 512;
#endif
      capacity_ += chunk;
      if (free_.capacity() < capacity_)
        free_.reserve(2 * capacity_); // so that give() never allocates
      auto *headers = new pg_block[chunk]();
      for (std::size_t i = chunk; i-- > 0;)
        free_.push_back(headers + i);
    }
    pg_block *block = free_.back();
    free_.pop_back();
    return block;
  }
  void give(pg_block *block) noexcept {
    if (own_count < own_size && end.armed && !ended) {
      own[own_count++] = block;
      return;
    }
    std::lock_guard lock(mutex_);
    free_.push_back(block);
  }

 private:
  // Plain data, so that arrays may be freed at any time, also after a thread's destructors have run.
  static constexpr int own_size = 32;
  static thread_local pg_block *own[own_size];
  static thread_local int own_count;
  static thread_local bool ended;
  // Gives back what an ending thread has kept.
  struct End {
    bool armed = true;
    ~End();
  };
  static thread_local End end;

  std::mutex mutex_;
  std::vector<pg_block *> free_;
  std::size_t capacity_ = 0;
};

thread_local pg_block *HeaderPool::own[own_size];
thread_local int HeaderPool::own_count = 0;
thread_local bool HeaderPool::ended = false;
thread_local HeaderPool::End HeaderPool::end;

HeaderPool &pool() {
  static auto *instance = new HeaderPool; // never destroyed: arrays may be freed while the process exits
  return *instance;
}

HeaderPool::End::~End() {
  ended = true;
  while (own_count > 0)
    pool().give(own[--own_count]);
}

pg_block *new_block() {
  pg_block *block = pool().take();
  block->memory = block->context = nullptr;
  block->bytes = block->owner = 0;
  block->release = nullptr;
  std::atomic_ref(block->references).store(1, std::memory_order_relaxed);
  return block;
}

pg_block *allocate(int64_t bytes, bool zero, int32_t *collect) {
  pg_block *block = new_block();
  int32_t wanted = 0;
  if (int32_t status = pg_memory_reserve(bytes, &wanted); status != PG_OK) {
    pool().give(block);
    throw Error(static_cast<pg_status>(status), pg_last_message());
  }
  if (wanted && collect)
    *collect = 1;
  count_allocation(bytes);
  block->bytes = bytes;
  block->owner = pg_memory_owner();
  const core::Memory memory = core::take_memory(bytes, zero);
  if (!memory.data) {
    pool().give(block);
    pg_memory_release(bytes, pg_memory_owner());
    throw MemoryError("this machine has no memory left for an array of " + std::to_string(bytes) + " bytes");
  }
  block->memory = memory.data;
  block->context = reinterpret_cast<void *>(memory.capacity);
  if (auto *observer = core::memory_observer())
    observer->on_block(block, bytes);
  return block;
}

// How many elements an array has; checks dtype and shape.
int64_t count(int32_t dtype, std::span<const int64_t> shape) {
  const auto size = static_cast<int64_t>(element_size(dtype));
  if (size == 0)
    throw ArgumentError(std::to_string(dtype) + " is not a dtype");
  if (shape.size() > max_dimensions)
    throw ArgumentError("an array has at most 8 dimensions, not " + std::to_string(shape.size()));
  int64_t elements = 1, reach = 1; // with empty axes as 1: strides of empty arrays are such, too
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] < 0)
      throw ArgumentError("axis " + std::to_string(i + 1) + " cannot have the length " + std::to_string(shape[i]));
    if (__builtin_mul_overflow(reach, std::max<int64_t>(shape[i], 1), &reach) || reach > INT64_MAX / size - alignment)
      throw ArgumentError("an array of this shape would have more than 2^63 bytes");
    elements *= shape[i];
  }
  return elements;
}

// Makes of an empty descriptor a row-major one of a block.
void describe(pg_array &a, int32_t dtype, std::span<const int64_t> shape, int64_t elements, pg_block *block) {
  a._data = block->memory;
  a._block = block;
  a._size = elements;
  a._dtype = dtype;
  a._ndim = static_cast<int32_t>(shape.size());
  for (std::size_t i = shape.size(), stride = 1; i-- > 0;) {
    a._shape[i] = shape[i];
    a._strides[i] = static_cast<int64_t>(stride);
    stride *= static_cast<std::size_t>(std::max<int64_t>(shape[i], 1));
  }
}

} // namespace

int32_t promote(int32_t a, int32_t b) {
  // What kind of number, and in how many bits of it.
  enum Kind { boolean, unsigned_integer, signed_integer, floating, complex };
  struct Type {
    Kind kind;
    int bits;
  };
  static constexpr Type types[dtype_count] = {{boolean, 1},           {unsigned_integer, 8},  {signed_integer, 32},
                                              {signed_integer, 64},   {floating, 32},         {floating, 64},
                                              {signed_integer, 8},    {signed_integer, 16},   {unsigned_integer, 16},
                                              {unsigned_integer, 32}, {unsigned_integer, 64}, {complex, 32},
                                              {complex, 64}};
  Type x = types[a], y = types[b];
  if (a == b)
    return a;
  if (x.kind > y.kind || (x.kind == y.kind && x.bits > y.bits)) {
    std::swap(x, y);
    std::swap(a, b);
  }
  if (x.kind == y.kind || x.kind == boolean)
    return b;
  if (y.kind == signed_integer) { // holds an unsigned type of less than its own width
    if (x.bits < y.bits)
      return b;
    return x.bits == 8 ? PG_INT16 : x.bits == 16 ? PG_INT32 : x.bits == 32 ? PG_INT64 : PG_FLOAT64;
  }
  // A float of 32 bits holds integers of up to 16 bits, and that is what it meets as itself.
  const bool wide = y.bits == 64 || (x.kind == floating ? x.bits == 64 : x.bits > 16);
  if (y.kind == floating)
    return wide ? PG_FLOAT64 : PG_FLOAT32;
  return wide ? PG_COMPLEX128 : PG_COMPLEX64;
}

void retain(pg_block *block) {
  if (block)
    std::atomic_ref(block->references).fetch_add(1, std::memory_order_relaxed);
}

void release(pg_block *block) {
  if (!block)
    return;
  // The last reference is this one: nobody else can change the count, and a locked instruction is saved (twice).
  const std::atomic_ref references(block->references);
  if (references.load(std::memory_order_acquire) != 1 && references.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  references.store(0, std::memory_order_relaxed);
  const std::atomic_ref generation(block->generation);
  generation.store(generation.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  if (parallel::race_checking())
    parallel::race_forget(block->memory, block->bytes);
  if (block->release) {
    block->release(block->memory, block->context);
  } else {
    core::give_memory(block->memory, reinterpret_cast<int64_t>(block->context));
    pg_memory_release(block->bytes, block->owner);
    if (auto *observer = core::memory_observer())
      observer->on_block(block, -block->bytes);
  }
  block->memory = nullptr;
  pool().give(block);
}

void create_at(pg_array &out, int32_t dtype, std::span<const int64_t> shape, bool zero, int32_t *collect) {
  const int64_t elements = count(dtype, shape);
  describe(out, dtype, shape, elements, allocate(elements * static_cast<int64_t>(element_size(dtype)), zero, collect));
}

Array create(int32_t dtype, std::span<const int64_t> shape, bool zero, int32_t *collect) {
  Array result;
  create_at(*result.get(), dtype, shape, zero, collect);
  return result;
}

Array borrow(void *memory, int32_t dtype, std::span<const int64_t> shape, void (*release)(void *, void *),
             void *context, bool readonly) {
  const int64_t elements = count(dtype, shape);
  const std::size_t align = is_complex(dtype) ? element_size(dtype) / 2 : element_size(dtype);
  if (reinterpret_cast<uintptr_t>(memory) % align != 0)
    throw ArgumentError(std::string("memory lent as ") + dtype_name(dtype) + " must be aligned to its element size");
  pg_block *block = new_block();
  block->memory = memory;
  block->bytes = elements * static_cast<int64_t>(element_size(dtype));
  block->context = context;
  block->release = release ? release : +[](void *, void *) {};
  Array result;
  describe(*result.get(), dtype, shape, elements, block);
  result.get()->_flags = readonly ? PG_ARRAY_READONLY : 0;
  return result;
}

Array share(const pg_array &a) {
  retain(a._block);
  Array result = Array::adopt(a);
  result.get()->_flags |= PG_ARRAY_VIEW;
  return result;
}

Array contiguous(const pg_array &a) {
  return is_contiguous(a) ? share(a) : copy(a);
}

} // namespace perigee::array

using namespace perigee;
using namespace perigee::array;

extern "C" {

int32_t pg_array_create(pg_array *out, int32_t *collect, int32_t dtype, int32_t ndim, const int64_t *shape,
                        int32_t zero) {
  return guard([&] {
    if (ndim < 0)
      throw ArgumentError("an array cannot have " + std::to_string(ndim) + " dimensions");
    create_at(*out, dtype, {shape, static_cast<std::size_t>(ndim)}, zero != 0, collect);
  });
}

int32_t pg_array_share(pg_array *out, int32_t *, const pg_array *a) {
  return guard([&] { *out = share(*a).detach(); });
}

int32_t pg_array_from_row(pg_array *out, int32_t *, const pg_row *row) {
  return guard([&] {
    if (std::atomic_ref(row->_block->generation).load(std::memory_order_acquire) != row->_generation)
      throw ArgumentError("the array that this row was taken from is gone; keep the array in a variable while its rows "
                          "are used");
    pg_array a{};
    a._data = row->_data;
    a._block = row->_block;
    a._dtype = row->_dtype;
    a._ndim = row->_ndim;
    a._flags = row->_flags | PG_ARRAY_VIEW;
    const uint64_t shape[] = {row->_shape0, row->_shape1, row->_shape2, row->_shape3, row->_shape4, row->_shape5};
    const int64_t strides[] = {row->_strides0, row->_strides1, row->_strides2,
                               row->_strides3, row->_strides4, row->_strides5};
    a._size = 1;
    for (int i = 0; i < row->_ndim; ++i) {
      a._shape[i] = static_cast<int64_t>(shape[i]);
      a._strides[i] = strides[i];
      a._size *= a._shape[i];
    }
    retain(a._block);
    *out = a;
  });
}

void pg_array_release(pg_array *a) {
  pg_block *block = a->_block;
  const int32_t dtype = a->_dtype, ndim = a->_ndim;
  *a = pg_array{};
  a->_dtype = dtype; // kept, with the rank, for the message that using it gives
  a->_ndim = ndim;
  if (block)
    release(block);
}

int32_t pg_array_borrow(pg_array *out, void *memory, int32_t dtype, int32_t ndim, const int64_t *shape) {
  return guard([&] {
    *out = borrow(memory, dtype, {shape, static_cast<size_t>(ndim)}, nullptr, nullptr).detach();
  });
}
}
