/* Parallel work: what the Lua states of a process share. Plain C without directives or macros (see array_abi.h). */

/* What a pg_shared is. Values are part of the ABI. */
enum pg_shared_kind {
  PG_SHARED_ATOMIC = 1, /* an int64 */
  PG_SHARED_MUTEX = 2,
  PG_SHARED_RWLOCK = 3,
  PG_SHARED_SEMAPHORE = 4,
  PG_SHARED_BARRIER = 5,
  PG_SHARED_CONDITION = 6,
  PG_SHARED_EVENT = 7,
  PG_SHARED_LATCH = 8,
  PG_SHARED_QUEUE = 9,
  PG_SHARED_LOCAL = 10,
  PG_SHARED_FUTURE = 11,
  PG_SHARED_POOL = 12,
  PG_SHARED_ATOMIC_FLOAT = 13,
  PG_SHARED_JOB = 14
};

/* A reference to an object that several Lua states share (parallel::Shared): one ctype for all kinds. Each Lua state has
   a struct of its own, which holds one reference and gives it up by its finaliser. */
typedef struct pg_shared {
  void *_object;  /* parallel::Shared; NULL: none */
  int32_t _kind;  /* enum pg_shared_kind */
} pg_shared;

/* Another reference to an object. */
void pg_shared_retain(void *object);
/* Gives up the struct's reference and empties it. Safe to repeat. */
void pg_shared_release(pg_shared *shared);
