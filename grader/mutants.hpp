// Deliberately wrong results, made from right ones: an exercise whose check lets one pass checks too little.
#pragma once

#include "types.hpp"

#include <optional>
#include <string>

namespace perigee::grader {

// "off_by_one": one number in the middle is one too large (more, where the tolerance would hide that), a boolean there
// is turned over. "wrong_sign": every number negated. "drop_last": the last element of the outermost list, array or
// string is missing. Nothing where the mutant would not differ from the result.
std::optional<Bytes> make_mutant(const Bytes &result, const std::string &mutant, const Tolerance &tolerance);

} // namespace perigee::grader
