/* Open MPI behind perigee.mpi. Plain C without directives or macros (see array_abi.h). MPI belongs to the thread that
   opened it. Functions return a pg_status, or PG_MPI_PENDING: the call has waited for half a second for another rank;
   pg_mpi_continue waits on. In between Lua sees to Ctrl-C and says where the script waits. */

enum pg_mpi_status { PG_MPI_PENDING = 100 };

/* Ranks and tags as scripts write them. */
enum pg_mpi_special { PG_MPI_ANY = -1, PG_MPI_PROC_NULL = -2 };

/* A communicator; C++ keeps more behind this. */
typedef struct pg_mpi_comm {
  int32_t rank, size;
  int32_t open; /* 0 once it was freed, or MPI has ended */
} pg_mpi_comm;

/* What a receive has got, or a probe found. Of the table form (dtype -1) the count is bytes. */
typedef struct pg_mpi_found {
  int32_t source, tag, dtype, found;
  int64_t count;
} pg_mpi_found;

/* An operation under way. */
typedef struct pg_mpi_request {
  int64_t _handle;      /* MPI's */
  void *_extra;         /* what C++ keeps until it is done */
  pg_mpi_comm *_comm;
  int32_t _kind;        /* enum pg_mpi_request_kind */
  int32_t _peer, _tag, _dtype, _partial; /* of collective calls _tag is which */
  int32_t done;
  int64_t _expected;
  pg_mpi_found found;   /* of receives, once it is done */
} pg_mpi_request;
enum pg_mpi_request_kind {
  PG_MPI_SEND = 0,
  PG_MPI_RECV = 1,
  PG_MPI_SEND_VALUE = 2,
  PG_MPI_RECV_VALUE = 3,
  PG_MPI_COLLECTIVE = 4
};

/* How a send ends: when its buffer may be used again; once the receive has begun. */
enum pg_mpi_mode { PG_MPI_STANDARD = 0, PG_MPI_SYNCHRONOUS = 1 };

/* Starts MPI in this process, once. Refused on other threads than the first that called. */
int32_t pg_mpi_open(pg_mpi_comm **world, pg_mpi_comm **self);
/* How much of MPI there is: 0 not started, 1 started, 2 ended. */
int32_t pg_mpi_state(void);
/* Ends MPI; that there are requests left is said on stderr. Where the script has failed, only the board is told: whoever
   started the ranks sees the exit code and ends the others. */
void pg_mpi_close(int32_t failed, int32_t requests);
/* Ends all ranks. */
void pg_mpi_abort(int32_t code);
/* Waits on; `place`: "file:line" of the script, for messages; "" for none. */
int32_t pg_mpi_continue(const char *place);
/* Gives the pending wait up, before an error. */
void pg_mpi_abandon(void);
double pg_mpi_time(void);
const char *pg_mpi_host(void);
/* "world", "a communicator of 2 ranks". */
const char *pg_mpi_comm_name(const pg_mpi_comm *comm);
/* The same ranks, for what table forms of collective calls send. */
pg_mpi_comm *pg_mpi_shadow(pg_mpi_comm *comm);
/* What a tag may be at most. */
int32_t pg_mpi_max_tag(void);
/* How many elements MPI's own calls count, 2^31 - 1: what has more goes by derived types, or in several calls. n > 0 sets it,
   on all ranks: for tests of these. */
int64_t pg_mpi_most_elements(int64_t n);
/* Whether ranks compare what collective calls they make, before each: 1 or 0, -1 asks. */
int32_t pg_mpi_check(int32_t on);
/* This file's path, for package.loadlib: mpi_lua.cpp. */
const char *pg_mpi_path(void);

/* Point to point. */
int32_t pg_mpi_send(pg_mpi_comm *comm, const pg_array *a, double dest, double tag, int32_t mode);
int32_t pg_mpi_recv(pg_mpi_found *out, pg_mpi_comm *comm, const pg_array *a, double source, double tag, int32_t partial);
int32_t pg_mpi_sendrecv(pg_mpi_found *out, pg_mpi_comm *comm, const pg_array *send, double dest, double send_tag,
                        const pg_array *recv, double source, double recv_tag, int32_t partial);
int32_t pg_mpi_isend(pg_mpi_request *out, pg_mpi_comm *comm, const pg_array *a, double dest, double tag, int32_t mode);
int32_t pg_mpi_irecv(pg_mpi_request *out, pg_mpi_comm *comm, const pg_array *a, double source, double tag,
                     int32_t partial);
/* Of the table form: a receive that takes its message when it is waited for or tested. */
int32_t pg_mpi_irecv_value(pg_mpi_request *out, pg_mpi_comm *comm, double source, double tag);
/* The next message, without receiving it; found->found = 0 where there is none and `wait` is 0. */
int32_t pg_mpi_probe(pg_mpi_found *out, pg_mpi_comm *comm, double source, double tag, int32_t wait);
/* Looks once whether it is done. */
int32_t pg_mpi_test(pg_mpi_request *request);
/* Waits for all of them, or (`any`) for one: *index from 0, -1 where all had been waited for. */
int32_t pg_mpi_wait(int32_t *index, pg_mpi_request *const *requests, int32_t count, int32_t any);
/* *cancelled = 0: its message has come; wait gives it. */
int32_t pg_mpi_cancel(int32_t *cancelled, pg_mpi_request *request);
/* One request for several, which stay: done once they are. `kind`: of the collective call that they make, as pg_mpi_agree's
   `what`; with its op (-1: a function) and root (-1: none). */
int32_t pg_mpi_join(pg_mpi_request *out, pg_mpi_comm *comm, int32_t kind, int32_t op, int32_t root,
                    pg_mpi_request *const *parts, int32_t count);

/* Collective calls of the array form. */
enum pg_mpi_collective {
  PG_MPI_BARRIER = 0,
  PG_MPI_BCAST = 1,
  PG_MPI_SCATTER = 2,
  PG_MPI_SCATTERV = 3,
  PG_MPI_GATHER = 4,
  PG_MPI_GATHERV = 5,
  PG_MPI_ALLGATHER = 6,
  PG_MPI_ALLGATHERV = 7,
  PG_MPI_ALLTOALL = 8,
  PG_MPI_ALLTOALLV = 9,
  PG_MPI_REDUCE = 10,
  PG_MPI_ALLREDUCE = 11,
  PG_MPI_REDUCE_SCATTER = 12,
  PG_MPI_SCAN = 13,
  PG_MPI_EXSCAN = 14,
  PG_MPI_NEIGHBOR_ALLGATHER = 15,
  PG_MPI_NEIGHBOR_ALLTOALL = 16,
  PG_MPI_VALUES = 32, /* added for a call that the table form makes: messages then name that */
  PG_MPI_LARGE = 64   /* added for v forms that together have more elements than MPI's calls count, on all ranks */
};
enum pg_mpi_op {
  PG_MPI_SUM = 0,
  PG_MPI_PROD = 1,
  PG_MPI_MAX = 2,
  PG_MPI_MIN = 3,
  PG_MPI_LAND = 4,
  PG_MPI_LOR = 5,
  PG_MPI_LXOR = 6,
  PG_MPI_BAND = 7,
  PG_MPI_BOR = 8,
  PG_MPI_BXOR = 9,
  PG_MPI_REPLACE = 10, /* of windows */
  PG_MPI_NO_OP = 11
};
/* One of them; `request` NULL: waits. `send` NULL: in place (or not this rank's to give); arrays that are cut among ranks,
   and those of reductions, must be row-major. Counts of v forms are in entries along the first axis, one for each rank, whose
   parts lie one after the other. */
int32_t pg_mpi_collective(pg_mpi_request *request, pg_mpi_comm *comm, int32_t kind, int32_t op, double root,
                          const pg_array *send, const pg_array *recv, const int64_t *send_counts,
                          const int64_t *recv_counts);
/* All ranks have come here with the same `what`, a number, and root; *most = the largest `value` of any. The wait of table
   forms and of what makes communicators and windows; nothing where checks are off and `needed` is 0. */
int32_t pg_mpi_agree(int64_t *most, pg_mpi_comm *comm, int32_t what, double root, int64_t value, int32_t needed);
/* counts[i] = the `own` of rank i, on all ranks. */
int32_t pg_mpi_counts(int64_t *counts, pg_mpi_comm *comm, int64_t own);

/* Communicators. *out = NULL for a rank that is in none. `agree` what of pg_mpi_agree has been called before. */
int32_t pg_mpi_dup(pg_mpi_comm **out, pg_mpi_comm *comm);
/* color -1: in none. */
int32_t pg_mpi_split(pg_mpi_comm **out, pg_mpi_comm *comm, double color, double key);
/* The ranks that share memory with this one. */
int32_t pg_mpi_split_shared(pg_mpi_comm **out, pg_mpi_comm *comm);
int32_t pg_mpi_free(pg_mpi_comm *comm);
/* Rank in the world of a rank. */
int32_t pg_mpi_world_rank(const pg_mpi_comm *comm, int32_t rank);

/* Cartesian grids; dimensions from 0 here, coordinates from 0. dims[i] = 0: chosen. */
int32_t pg_mpi_dims(int32_t ranks, int32_t ndims, int32_t *dims);
int32_t pg_mpi_cart(pg_mpi_comm **out, pg_mpi_comm *comm, int32_t ndims, const int32_t *dims, const int32_t *periods,
                    int32_t reorder);
int32_t pg_mpi_cart_coords(int32_t *coords, pg_mpi_comm *comm, int32_t rank, int32_t ndims);
int32_t pg_mpi_cart_rank(int32_t *rank, pg_mpi_comm *comm, const int32_t *coords);
int32_t pg_mpi_cart_shift(int32_t *source, int32_t *dest, pg_mpi_comm *comm, int32_t dimension, double displacement);
int32_t pg_mpi_cart_sub(pg_mpi_comm **out, pg_mpi_comm *comm, const int32_t *keep);

/* One-sided access: memory of each rank that the others read and write. Places are elements, from 0. Arrays that take part
   must stay until the epoch ends. */
typedef struct pg_mpi_window pg_mpi_window;
enum pg_mpi_access { PG_MPI_PUT = 0, PG_MPI_GET = 1, PG_MPI_ACCUMULATE = 2, PG_MPI_GET_ACCUMULATE = 3 };
enum pg_mpi_epoch {
  PG_MPI_FENCE = 0,
  PG_MPI_LOCK = 1, /* exclusive */
  PG_MPI_LOCK_SHARED = 2,
  PG_MPI_UNLOCK = 3,
  PG_MPI_LOCK_ALL = 4,
  PG_MPI_UNLOCK_ALL = 5,
  PG_MPI_FLUSH = 6,
  PG_MPI_FLUSH_ALL = 7,
  PG_MPI_SYNC = 8
};
/* A window of a row-major array; all ranks have agreed. */
int32_t pg_mpi_window_create(pg_mpi_window **out, pg_mpi_comm *comm, const pg_array *a);
int32_t pg_mpi_window_free(pg_mpi_window *window);
/* Memory that all ranks of one host map: an array of zeros that is the same on all. */
int32_t pg_mpi_window_shared(pg_mpi_window **out, pg_array *array, pg_mpi_comm *comm, int32_t dtype, int32_t ndim,
                             const int64_t *shape);
/* `result`: of PG_MPI_GET_ACCUMULATE, what was there. */
int32_t pg_mpi_window_access(pg_mpi_window *window, int32_t access, const pg_array *a, const pg_array *result, double rank,
                             double place, int32_t op);
int32_t pg_mpi_window_epoch(pg_mpi_window *window, int32_t what, double rank);
