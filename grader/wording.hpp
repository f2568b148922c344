// The words of a result: pure functions, so that they are tested without workers.
#pragma once

#include "types.hpp"

#include <string>
#include <vector>

namespace perigee::grader {

// Fill summary and detail of a result whose outputs were all right, from its tiers, times and verdict.
void word_times(Result &result, bool quick);

// What the GPU's simulator counts for tiers, in words ("sectors"), by the name of the metric; "" for
// another name.
std::string counted_words(const std::string &metric);
// All of those names.
std::vector<std::string> counted_metrics();

} // namespace perigee::grader
