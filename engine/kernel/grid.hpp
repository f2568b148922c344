// Kernels of a GPU as loops that a processor runs.
#pragma once

#include "kernel/ir.hpp"

namespace perigee::kernel {

// Of a kernel of a GPU, what runs one of its blocks: its threads one after another, between one gpu.sync and the next. After
// the kernel's own parameters come int64: the block's index (x, y, z), the block's size, the grid's, and what grid(...)
// adds to the thread's index; then the memory that the launch gives, if the kernel takes any, as an array. Checks of
// indices leave the loops over threads.
//
// A gpu.sync must stand where all threads of the block come by for the same reasons: conditions and loops around it depend
// on arguments, sizes and the block alone. Throws UnsupportedError where that is not so, or the kernel does what only
// threads that run together can do (warps); the checked simulator runs those.
Module block_of(const Module &grid);

constexpr int block_parameters = 12;

} // namespace perigee::kernel
