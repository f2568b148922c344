// C functions that libperigee exports for its plugins alone: Lua has no use for them (see plugin_support.cpp).
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {
/// parallel_ranges of threads.hpp. The body must not throw. Returns a pg_status.
int32_t pg_parallel_ranges(int64_t n, int64_t grain, void (*body)(void *context, int64_t begin, int64_t end),
                           void *context);
/// Calls listener(user, tag) when a pool's future (the object of a pg_shared) is done, once, on the thread that ends it, or
/// here if it is done. It must be short and not throw. After pg_future_forget no such call is under way or to come.
void pg_future_listen(void *future, void (*listener)(void *user, uint64_t tag), void *user, uint64_t tag);
void pg_future_forget(void *future, void *user);
}
#pragma GCC visibility pop
