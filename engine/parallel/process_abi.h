/* Worker processes. Plain C without directives or macros (see array_abi.h). */

/* Refuses worker processes from now on, for this reason (a text that lives for ever): for a process that is about to be
   confined and could not start any. */
void pg_processes_forbid(const char *reason);
/* Why there can be none, where there can be none: because of that, or because the program they run is not installed. */
int32_t pg_processes_check(void);
/* A new row-major array of zeros that worker processes share, instead of getting a copy of it. */
int32_t pg_process_shared_array(pg_array *out, int32_t *collect, int32_t dtype, int32_t ndim, const int64_t *shape);
/* *result = 1 for an array whose memory worker processes share. */
int32_t pg_process_is_shared(const pg_array *a);
/* All that the program perigee-process does; gives its exit code. */
int32_t pg_process_main(int32_t argument_count, char **arguments);
