/* What the engine's Lua modules call in C. Plain C without directives or macros (see array_abi.h). */

/* Message of the calling thread's last failed engine call. */
const char *pg_last_message(void);
/* Keeps a message for pg_last_message: for plugins, which fail as the engine does. */
void pg_set_last_message(const char *message);

/* Accounts bytes of memory outside the Lua heap to the calling thread's current VM. *collect becomes 1 when it has grown
   so much since the last collection that the caller should collect garbage (core.collect_cycle).
   PG_ERROR_MEMORY when the VM's limit would be exceeded: collect, try once more, then fail. */
int32_t pg_memory_reserve(int64_t bytes, int32_t *collect);
/* Gives accounted bytes back, to the VM whose id pg_memory_owner returned when they were reserved. */
void pg_memory_release(int64_t bytes, int64_t owner);
/* Id of the calling thread's current VM, 0 where there is none (memory of C++ hosts is not accounted). */
int64_t pg_memory_owner(void);
/* Tells the accounting that garbage has just been collected, and the bytes of the Lua heap after it. */
void pg_memory_collected(int64_t heap);

/* How many threads parallel work of this process may use (1 to 1024). */
int32_t pg_threads_get(void);
void pg_threads_set(int32_t count);

/* Watching operations: every function of the engine reports its call to whoever watches on the thread (profiler.ops, the
   timeline). Above 0 while anybody watches on any thread: nothing else is called otherwise. */
extern int32_t pg_operations_watched;
/* A call begins, of the function with this name; calls inside it are part of it. */
void pg_operation_begin(const char *function);
/* What the call that runs does: a name ("add"), the dtype's name, bytes read and written, floating-point operations. The
   first description counts. Texts must live for ever. */
void pg_operation_describe(const char *name, const char *dtype, double bytes, double flops);
void pg_operation_end(void);

/* What a plugin, libperigee-<module>.so, returns from `const struct pg_plugin *pg_<module>_plugin(void)`. */
struct pg_plugin {
  int32_t abi;         /* 1 */
  const char *cdef;    /* declarations for Lua, "" for none */
  const char *lua;     /* text of the module, as engine/<module>/<module>.lua */
  const char *(*unavailable)(void); /* NULL when it works on this machine, else the reason; may itself be NULL */
};
