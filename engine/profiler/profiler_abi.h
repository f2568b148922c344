/* What the profilers' Lua side reads without a call into the VM. */

/* The register in which LuaJIT keeps its dispatch table, on x86-64; NULL elsewhere. Called from Lua, compiled or not, it
   is that of the calling VM: this is how the sampler finds the VM's state (see profiler.lua). */
void *pg_profiler_dispatch(void);

/* Counters of the processor and the kernel for the calling thread (perf_event_open), in this order: instructions, cycles,
   cache references, cache misses, branches, branch misses, page faults, context switches. */
enum { PG_COUNTERS = 8 };

/* Starts counting. PG_ERROR_UNSUPPORTED, with the reason, where nothing can be counted. */
int32_t pg_profiler_counters_start(void);
/* Stops. values[i] is the count, estimated where the processor had to share its counters, or NaN where there is no such
   counter here; pg_last_message then says why. */
int32_t pg_profiler_counters_stop(double *values);
