// Moves checks of indices out of loops.
#pragma once

#include "kernel/ir.hpp"

namespace perigee::kernel {

// Where the indices of a nest of integer loops are sums and products of loop variables and of what the nest does not
// change, the least and the greatest of each are computed before it. A nest with checks hoisted becomes
//   if every such index stays inside then (the nest, those unchecked) else (the nest as it was) end
// so that errors come at the same element as before, and backends can use vectors in the first. An access that happens
// only under a condition takes part where others prove it (`if i > 1 then ... x[i - 1]` must not spoil the rest).
// willing: conditions do not spare an access that; of loops over the threads of a block, where only the blocks at an edge
// hold threads that a condition keeps away.
void hoist_checks(Module &module, bool willing = false);

} // namespace perigee::kernel
