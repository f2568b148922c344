// linalg_abi.h as C++ sees it.
#pragma once

#include "core/abi.hpp"

#pragma GCC visibility push(default)
extern "C" {
#include "linalg/linalg_abi.h"
}
#pragma GCC visibility pop
