// Arrays for C++: an owning handle over the ABI's pg_array, creation, borrowed memory, copies. The operations are the
// functions of array_abi.h.
#pragma once

#include "core/abi.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>

namespace perigee::array {

inline constexpr int max_dimensions = 8;

inline constexpr int dtype_count = PG_COMPLEX128 + 1;

/// Bytes of one element, 0 for what is not a dtype.
constexpr std::size_t element_size(int32_t dtype) {
  switch (dtype) {
  case PG_BOOL:
  case PG_INT8:
  case PG_UINT8:
    return 1;
  case PG_INT16:
  case PG_UINT16:
    return 2;
  case PG_INT32:
  case PG_UINT32:
  case PG_FLOAT32:
    return 4;
  case PG_INT64:
  case PG_UINT64:
  case PG_FLOAT64:
  case PG_COMPLEX64:
    return 8;
  case PG_COMPLEX128:
    return 16;
  default:
    return 0;
  }
}
constexpr bool is_float(int32_t dtype) {
  return dtype == PG_FLOAT32 || dtype == PG_FLOAT64;
}
constexpr bool is_complex(int32_t dtype) {
  return dtype == PG_COMPLEX64 || dtype == PG_COMPLEX128;
}

/// "float64" and so on; "unknown" for what is not a dtype.
constexpr const char *dtype_name(int32_t dtype) {
  constexpr const char *names[] = {"bool",  "uint8",  "int32",  "int64",  "float32",   "float64",   "int8",
                                   "int16", "uint16", "uint32", "uint64", "complex64", "complex128"};
  return dtype >= 0 && dtype < dtype_count ? names[dtype] : "unknown";
}
/// "(2, 3)"
std::string shape_text(const pg_array &a);
/// The dtype in which two arrays of these dtypes meet (NumPy 2's rules).
int32_t promote(int32_t a, int32_t b);
/// True if elements lie in memory in row-major order without gaps.
bool is_contiguous(const pg_array &a);

/// Adds or drops one reference to the block, atomically; blocks are shared between Lua states. NULL is allowed.
void retain(pg_block *block);
void release(pg_block *block);

/// An owning descriptor: one reference to the block. Move-only; share() makes another of the same memory.
class Array {
 public:
  Array() = default;
  /// Takes over the reference that `descriptor` holds.
  static Array adopt(const pg_array &descriptor) {
    Array result;
    result.descriptor_ = descriptor;
    return result;
  }
  Array(Array &&other) noexcept : descriptor_(std::exchange(other.descriptor_, pg_array{})) {}
  Array &operator=(Array &&other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Array() { pg_array_release(&descriptor_); }

  const pg_array &operator*() const { return descriptor_; }
  const pg_array *operator->() const { return &descriptor_; }
  pg_array *get() { return &descriptor_; }
  const pg_array *get() const { return &descriptor_; }
  /// Hands the reference to the caller.
  pg_array detach() { return std::exchange(descriptor_, pg_array{}); }
  template <class T> T *data() const { return static_cast<T *>(descriptor_._data); }

 private:
  pg_array descriptor_{};
};

/// A new row-major array; zeroed, or with undefined contents. Throws ArgumentError for a bad dtype or shape,
/// MemoryError at the memory limit. *collect is set as in array_abi.h; it may be null.
Array create(int32_t dtype, std::span<const int64_t> shape, bool zero = true, int32_t *collect = nullptr);
/// An array over memory that someone else owns, row-major. release(memory, context) is called once, when the last
/// array that uses it is gone; it may be null. Borrowed memory does not count against the memory limit.
Array borrow(void *memory, int32_t dtype, std::span<const int64_t> shape, void (*release)(void *, void *),
             void *context, bool readonly = false);
/// Another descriptor of the same memory.
Array share(const pg_array &a);
/// A row-major copy (of a, even if it is row-major already), converted to dtype if it is not -1.
Array copy(const pg_array &a, int32_t dtype = -1, int32_t *collect = nullptr);
/// a itself, shared, if it is row-major; else a row-major copy.
Array contiguous(const pg_array &a);

// Tells those who watch operations what the running one does: bytes of all arrays, and `flops` for each element of the
// largest.
inline void describe_operation(const char *name, double flops, std::initializer_list<const pg_array *> arrays) {
  if (!operations_watched())
    return;
  double bytes = 0, elements = 0;
  const pg_array *typed = *arrays.begin();
  for (const pg_array *a : arrays) {
    const auto size = static_cast<double>(a->_size);
    bytes += size * static_cast<double>(element_size(a->_dtype));
    elements = size > elements ? size : elements;
  }
  pg_operation_describe(name, dtype_name(typed->_dtype), bytes, flops * elements);
}

} // namespace perigee::array
