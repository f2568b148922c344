// Loops of a function that run on several threads: those whose rounds are proved independent.
#pragma once

#include "kernel/ir.hpp"

namespace perigee::kernel {

// What was found out about a loop.
struct LoopVerdict {
  std::string chunk;
  Position at;
  bool parallel = false;
  std::string why = {}; // where it is not: in words,
  Position where = {};  // of this place
};

// Looks at the loops of functions[0], from the outermost inwards. The rounds of one are independent where each array
// that is written in it is indexed, by every access, in one dimension by one sum of the loop's variable and of what the
// loop leaves alone (a[i], a[2*i + k]), and where each variable that outlives a round is a total (s = s + e, s = s * e,
// m = math.min(m, e), if e < m then m = e end). Such a loop becomes
//   pieces = -1
//   if (no index is below 1, and no number so large that one could wrap) then spawn end
//   if pieces < 0 then (the loop as it was) else (combine the pieces' totals, in order) end
// and its body a function of a piece of its rounds, which Step::spawn runs where no two arrays share memory either.
// Pieces do not depend on the number of threads, so that results do not; floats are added in another order than in the
// loop as it was. Before hoist_checks.
std::vector<LoopVerdict> parallelise(Module &module);

} // namespace perigee::kernel
