// core_abi.h as C++ sees it.
#pragma once

#include "perigee/perigee.h"

#pragma GCC visibility push(default)
extern "C" {
#include "core/core_abi.h"
}
#pragma GCC visibility pop
