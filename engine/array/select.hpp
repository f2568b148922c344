// The inner loops of boolean masks, for the best instruction set this machine has.
#pragma once

#include "array/array.hpp"

namespace perigee::array {

struct SelectKernels {
  /// How many of n mask bytes (0 or 1) are 1.
  int64_t (*count)(const uint8_t *mask, int64_t n);
  /// Copies the elements of `from` whose mask byte is 1, one after the other; there are `count` of them, and nothing
  /// beyond is written. By log2 of the element's size.
  void (*compress[5])(const void *from, const uint8_t *mask, int64_t n, void *to, int64_t count);
  /// Writes `value` to the elements whose mask byte is 1. By log2 of the element's size.
  void (*fill[5])(void *to, const uint8_t *mask, int64_t n, const void *value);
};

/// The best for this machine.
const SelectKernels &select_kernels();
/// For any machine.
SelectKernels baseline_select();

#if defined(__x86_64__)
/// These replace entries of the table.
void use_select_avx2(SelectKernels &table);
void use_select_avx512(SelectKernels &table);
#endif

} // namespace perigee::array
