/* The machine's processors, as hwloc sees them. Plain C without directives or macros (see array_abi.h). */

typedef struct {
  int32_t package;    /* from 1, as all numbers here but those of processors */
  int32_t numa;
  int32_t count;      /* hardware threads of this core that the process may use, at most 8; 0: none */
  int32_t threads[8]; /* their numbers to the operating system, from 0 */
} pg_topology_core;

typedef struct {
  int32_t level;
  int32_t type;       /* 0 unified, 1 data, 2 instruction */
  int32_t count;      /* caches of this kind */
  int32_t shared_by;  /* hardware threads that share one */
  int64_t bytes;      /* of one */
  int32_t line;       /* bytes */
} pg_topology_cache;

typedef struct {
  int32_t packages, cores, threads, numa_nodes, caches;
  int32_t usable; /* hardware threads that the process may use */
  const pg_topology_core *core;
  const pg_topology_cache *cache;
} pg_topology;

/* Found out once; lives as long as the plugin is loaded. All return a pg_status. */
int32_t pg_topology_get(const pg_topology **out);
/* From now on the calling thread runs on the hardware threads of these cores (from 1) only; none: on all that the process
   could use at its start. */
int32_t pg_topology_pin(const int32_t *cores, int32_t count);
/* The cores that the calling thread may run on; *count: how many. `cores` has room for all. */
int32_t pg_topology_pinned(int32_t *cores, int32_t *count);
