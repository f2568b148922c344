// Which instruction set the engine's kernels use.
#pragma once

namespace perigee {

/// In order: each has all that those before it have. avx512 is F, BW, DQ and VL together.
enum class Isa { baseline, avx2, avx512 };

/// The best this machine has, or the one that the environment variable PERIGEE_ISA names ("baseline", "avx2" or
/// "avx512"), if the machine has it: tests run every path so, and scripts can measure what vectors bring. Asked once.
Isa isa();

/// Whether this machine has it, whatever PERIGEE_ISA says.
bool has_isa(Isa isa);

} // namespace perigee
