// The words of a result: pure functions, so that they are tested without workers.
#pragma once

#include "types.hpp"

#include <string>

namespace perigee::grader {

// Fill summary and detail of a result whose outputs were all right, from its tiers, times and verdict.
void word_times(Result &result, bool quick);

} // namespace perigee::grader
