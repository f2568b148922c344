// From the typed form of a kernel to LLVM's.
#pragma once

#include "kernel/ir.hpp"

#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <map>
#include <memory>

namespace perigee::llvm_backend {

struct Options {
  bool fastmath = false; // float arithmetic may be reordered, and takes NaN and infinities for impossible
  bool bounds = true;    // indices and conversions are checked
  bool vectorize = true; // loops and straight code may use vectors
  bool quick = false;    // hardly optimised: for kernels too large for more
};

// What a kernel that failed left behind; the names live as long as its code. The same struct as pg_kernel_error.
struct Failure {
  std::int32_t code, line, column, dimension;
  const char *name, *chunk;
  std::int64_t index, length;
  double value;
};

constexpr const char *entry_name = "perigee_kernel";
constexpr const char *spawn_name = "pg_kernel_spawn"; // of kernel_abi.h: what Step::spawn calls

// The entry of a module made to be called is `int32_t perigee_kernel(Failure *, void *results, ...)`: results are
// written one after another, 16 bytes each; scalars come as double, int64_t or int32_t (bool), complex numbers as two
// doubles, arrays as `const pg_array *`. 0: done; 1: failed. That of a packed one is (Failure *, void *results, void
// *const *arguments), with pointers to the same. That of a loop is (Failure *, int64_t n, void *const *data, const
// int64_t *strides): pointers to scalars and to the first elements of runs of n, with strides in elements.
std::unique_ptr<llvm::Module> generate(llvm::LLVMContext &context, const kernel::Module &module,
                                       const Options &options);

} // namespace perigee::llvm_backend
