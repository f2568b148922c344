// Sorting for other C++ code.
#pragma once

#include "array/array.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "array/sort_abi.h"
}
#pragma GCC visibility pop
