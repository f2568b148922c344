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

/* The timeline (core/timeline.hpp), from any thread and Lua state: whether one is being recorded; a span begins or ends
   (the thread's innermost); an instant; the value of something from now on. Nothing happens while none is recorded. */
int32_t pg_profiler_recording(void);
int32_t pg_profiler_span_begin(const char *name, const char *category);
int32_t pg_profiler_span_end(void);
int32_t pg_profiler_mark(const char *name, const char *category);
int32_t pg_profiler_counter(const char *name, double value);

/* What this machine can do, on `threads` threads: bytes a second read from a buffer of `bytes` for each thread, over and over
   for about `seconds`; and floating-point operations a second (multiply-adds in registers, float64 or float32). */
int32_t pg_profiler_bandwidth(double *bytes_per_second, double bytes, int32_t threads, double seconds);
int32_t pg_profiler_peak(double *flops_per_second, int32_t single, int32_t threads, double seconds);
/* Sizes in bytes of the data caches of levels 1 to 4, 0 where there is none or it is not known. */
void pg_profiler_caches(double *sizes);
