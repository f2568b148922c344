// CUDA C++ from the typed form of a kernel: text to be read as well as compiled. No CUDA is needed here.
#pragma once

#include "kernel/ir.hpp"

#include <string>

namespace perigee::kernel {

struct CudaOptions {
  // Offsets in arrays and numbers of threads may be 2^30 and more: they are int64, else int.
  bool wide = false;
  // Of loop and packed entries: so many nested loops that the body begins with are run by the threads of the grid, the
  // innermost along x.
  int spread = 0;
};

struct CudaText {
  std::string text;
  std::string entry; // the kernel's name in it
  // Its parameters in order, a code each and a blank behind: d double, f float, l int64, b bool, z complex128, and
  // A<dtype>,<ndim> an array, S<dtype>,<ndim> one with strides: {pointer, lengths, strides}, these int64 where wide,
  // else int. p: a pointer to where each thread writes what the body returns (of loops that reduce), by its number.
  std::string parameters;
};

CudaText cuda_text(const Module &module, const CudaOptions &options);

} // namespace perigee::kernel
