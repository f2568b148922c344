// Evenly spaced numbers.
#include "array/array.hpp"
#include "core/abi.hpp"
#include "core/status.hpp"
#include "core/threads.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "array/array_space_abi.h"
}
#pragma GCC visibility pop

namespace perigee::array {
namespace {

constexpr int64_t parallel_from = 131072, piece = 65536; // as elementwise operations

// Divided by intervals, not multiplied by their reciprocal: the middle and the like are exact. Two at a time, since a
// division takes as long for both.
template <class T> void linspace(T *out, int64_t begin, int64_t end, double first, double span, double intervals) {
  typedef double Pair __attribute__((vector_size(16)));
  Pair at = {static_cast<double>(begin), static_cast<double>(begin + 1)};
  int64_t i = begin;
  for (; i + 2 <= end; i += 2, at += 2) {
    const Pair value = first + span * (at / intervals);
    out[i] = static_cast<T>(value[0]);
    out[i + 1] = static_cast<T>(value[1]);
  }
  if (i < end)
    out[i] = static_cast<T>(first + span * (at[0] / intervals));
}

template <class T> void linspace(const pg_array &a, double first, double span, double intervals) {
  const auto part = [&](int64_t begin, int64_t end) {
    linspace(static_cast<T *>(a._data), begin, end, first, span, intervals);
  };
  if (a._size < parallel_from)
    part(0, a._size);
  else
    core::parallel_ranges(a._size, piece, part);
}

} // namespace
} // namespace perigee::array

using namespace perigee;

extern "C" int32_t pg_array_linspace(const pg_array *a, double first, double span, double intervals) {
  return guard([&] {
    if (a->_dtype == PG_FLOAT64)
      array::linspace<double>(*a, first, span, intervals);
    else if (a->_dtype == PG_FLOAT32)
      array::linspace<float>(*a, first, span, intervals);
    else
      throw InternalError("linspace of dtype " + std::to_string(a->_dtype));
  });
}
