/* The checked simulator: a kernel's typed form run for every thread of a grid, with what is wrong about it and what it
   costs. Plain C without directives or macros. */

typedef struct pg_sim_program pg_sim_program;
typedef struct pg_sim_result pg_sim_result;

/* Of a pg_kernel_module's contents (pg_kernel_grid, pg_kernel_contents). */
int32_t pg_sim_compile(pg_sim_program **out, const void *module);
/* Bytes of shared memory that a block takes, but for what the launch gives. */
int64_t pg_sim_shared_bytes(const pg_sim_program *program);
void pg_sim_close(pg_sim_program *program);

typedef struct pg_sim_launch {
  int64_t grid[3];
  int32_t block[3];
  int32_t coverage;     /* 1: look for elements that no thread writes */
  int64_t shared_bytes; /* for the array without lengths */
} pg_sim_launch;

/* Runs it. arguments: pointers to double, int64_t, int32_t (bool), two doubles (complex128), and to arrays whose memory the
   host can reach. A kernel that does something wrong still gives a result, which says so. */
int32_t pg_sim_run(pg_sim_result **out, const pg_sim_program *program, const pg_sim_launch *launch,
                   void *const *arguments);
void pg_sim_release(pg_sim_result *result);

/* Sums over the launch. Sectors are 32 bytes of global memory; a request is an access of a warp. */
typedef struct pg_sim_counts {
  uint64_t statements;  /* of threads */
  uint64_t warp_steps;  /* instructions of warps, about */
  uint64_t none, integer, float32, float64, special, memory, control; /* operations of threads */
  uint64_t branches, divergent; /* of warps; those where it went both ways */
  uint64_t load_requests, load_sectors, load_ideal, load_bytes;
  uint64_t store_requests, store_sectors, store_ideal, store_bytes;
  uint64_t level2_sectors;      /* those that a first-level cache of 64 KiB a block does not hold */
  uint64_t footprint_sectors, written_sectors; /* different ones */
  uint64_t shared_requests, shared_wavefronts, shared_ideal;
  uint64_t atomics, atomic_serial; /* of threads; rounds that lanes of a warp wait for each other */
  uint64_t syncs;                  /* of blocks */
} pg_sim_counts;
void pg_sim_counts_of(pg_sim_counts *out, const pg_sim_result *result);

/* What was counted at the i-th place, from 0, of pg_sim_sites. kind: 1 read, 2 write, 3 atomic, 4 branch. space: 0 global,
   1 shared, 2 a thread's own memory. sectors, ideal: of shared memory rounds of banks. divergent: branches that went both
   ways; of atomics rounds of waiting. */
typedef struct pg_sim_site {
  int32_t line, column, kind, space;
  const char *chunk, *array;
  uint64_t requests, threads, sectors, ideal, divergent;
} pg_sim_site;
int32_t pg_sim_sites(const pg_sim_result *result);
void pg_sim_site_of(pg_sim_site *out, const pg_sim_result *result, int32_t i);

/* The i-th problem, from 0, of pg_sim_problems, the worst first. problem: 1 index outside, 2 index not whole, 3 what an
   integer array cannot hold, 4 integer modulo zero, 5 start of a loop not whole, 6 step of a loop zero, 7 index outside
   which is where the thread stands, 8 shared memory that nothing wrote, 9 race in shared memory, 10 in global memory, 11
   barrier not reached by threads that have ended, 12 nor by all of a warp, 13 barriers of two lines, 14 shuffle or vote
   not reached by all of a warp, 15 shuffle from a lane that is not there, 16 elements never written, 17 no end. conflict:
   1 two writes, 2 a write and then a read, 3 a read and then a write. Threads count from 0 in the launch, -1: none.
   index: of the element, from 1. */
typedef struct pg_sim_problem {
  int32_t problem, conflict;
  int32_t line, column, other_line, dimension;
  const char *chunk, *other_chunk, *array;
  int64_t thread, other_thread;
  int64_t index[8];
  int32_t ndim, dtype, space, kind, other_kind; /* of the array; kinds of the two places, as of pg_sim_site */
  int64_t length, count;
  double value;
} pg_sim_problem;
int32_t pg_sim_problems(const pg_sim_result *result);
void pg_sim_problem_of(pg_sim_problem *out, const pg_sim_result *result, int32_t i);

/* Bytes of argument `parameter`, from 0, that the launch has read and written, from its first element: out[0] to before out[1]
   read, out[2] to before out[3] written; equal where none were. */
void pg_sim_touched(int64_t *out, const pg_sim_result *result, int32_t parameter);

/* Which thread touched which element of the i-th global array, from 0, of pg_sim_maps, as far as it is kept: the first rows
   and columns of its last two axes. Threads count from 1 in the launch, 0: none; readers: the last. Lives as long as the
   result. */
typedef struct pg_sim_map {
  const char *array;
  int32_t ndim, rows, columns;
  const uint32_t *writers, *readers;
} pg_sim_map;
int32_t pg_sim_maps(const pg_sim_result *result);
void pg_sim_map_of(pg_sim_map *out, const pg_sim_result *result, int32_t i);
