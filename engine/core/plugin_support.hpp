// C functions that libperigee exports for its plugins alone: Lua has no use for them (see plugin_support.cpp).
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {
/// parallel_ranges of threads.hpp. The body must not throw. Returns a pg_status.
int32_t pg_parallel_ranges(int64_t n, int64_t grain, void (*body)(void *context, int64_t begin, int64_t end),
                           void *context);
}
#pragma GCC visibility pop
