// Compares a result with the expected one and says what is wrong with it the way a good teacher would: where it first
// differs, what was expected there, how much of it is wrong, and the pattern if there is one. Runs in the judge's
// process, on values that a hostile process wrote (wire::parse has checked their form).
#pragma once

#include "types.hpp"

#include "core/wire.hpp"

#include <string>

namespace perigee::grader {

struct Comparison {
  bool equal = true;
  std::string message; // several lines; empty when equal
};

// Arrays must agree in dtype and shape, tables in their keys; numbers within the tolerance. NaN equals nothing unless
// the tolerance says so.
Comparison compare(const wire::Value &got, const wire::Value &expected, const Tolerance &tolerance);

// A value in at most about `width` characters, for messages: "array float64 (1000, 3)", "{1, 2, 3, ...}". Control
// characters of strings are escaped.
std::string describe(const wire::Value &value, std::size_t width = 60);

} // namespace perigee::grader
