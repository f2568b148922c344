// The ABI's statistics for C++.
#pragma once

#include "array/array.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "array/array_statistics_abi.h"
}
#pragma GCC visibility pop
