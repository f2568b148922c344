// C functions that libperigee exports for its plugins and its program alone: Lua has no use for them (see
// plugin_support.cpp).
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
extern "C" {
/// parallel_ranges of threads.hpp. The body must not throw. Returns a pg_status.
int32_t pg_parallel_ranges(int64_t n, int64_t grain, void (*body)(void *context, int64_t begin, int64_t end),
                           void *context);
/// Calls listener(user, tag) when a pool's future (the object of a pg_shared) is done, once, on the thread that ends
/// it, or here if it is done. It must be short and not throw. After pg_future_forget no such call is under way or to
/// come.
void pg_future_listen(void *future, void (*listener)(void *user, uint64_t tag), void *user, uint64_t tag);
void pg_future_forget(void *future, void *user);
/// From now on pools and event loops take Ctrl-C where this process has no handler for it, and tell on standard error
/// what keeps a script from ending: for programs that run one script. Others have signals and streams to themselves.
void pg_interrupts_take(void);
int32_t pg_interrupts_taken(void);
/// An empty array becomes one over memory that stays where it is and that somebody else owns.
int32_t pg_array_borrow(struct pg_array *out, void *memory, int32_t dtype, int32_t ndim, const int64_t *shape);
/// The values on a Lua state's stack from `first` to the top as bytes that another process of the same program can
/// unpack: what parallel's processes take, but no locks, queues and the like. The bytes belong to the state and are
/// good until it packs again. `state`: a lua_State, in a protected call; Lua may raise out of it.
int32_t pg_values_pack(const void **data, int64_t *size, void *state, int32_t first);
/// Pushes the values; *count: how many.
int32_t pg_values_unpack(int32_t *count, void *state, const void *data, int64_t size);
}
#pragma GCC visibility pop
