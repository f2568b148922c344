/* Synchronisation between the Lua states of a process. Plain C without directives or macros (see array_abi.h).
   `object` is the _object of a pg_shared of the right kind; `me` is the calling state's participant. A timeout is in
   seconds, infinity for none; *done becomes 1 when what was waited for came, 0 when time was up. A timeout of 0 does not
   wait. Others sleep in these functions until they are woken, interrupted, or find that they would wait for ever. */

typedef struct pg_participant pg_participant;

/* The calling thread's Lua state as one that takes part; NULL without memory. */
pg_participant *pg_participant_open(void);
void pg_participant_close(pg_participant *me);
/* Where the script is that will wait next, for messages: "file:line". */
void pg_participant_at(pg_participant *me, const char *position);
/* Sleeps so many seconds, unless it is interrupted as waits are. */
int32_t pg_participant_sleep(pg_participant *me, double seconds);
/* A task has ended: locks that it still holds are abandoned. */
void pg_participant_end_task(pg_participant *me);

/* The interpreter lock of the calling thread's worker, where there is one (gil.hpp): given up before a call that blocks,
   and taken again after it. */
void pg_gil_release(void);
void pg_gil_acquire(void);

int32_t pg_mutex_create(pg_shared *out);
/* 1: locked now; 0: somebody else holds it; -1: this participant does. */
int32_t pg_mutex_try(void *object, pg_participant *me);
int32_t pg_mutex_lock(void *object, pg_participant *me, double timeout, int32_t *done);
int32_t pg_mutex_unlock(void *object, pg_participant *me);
/* 2: this participant holds it, 1: another one does, 0: nobody. */
int32_t pg_mutex_state(void *object, const pg_participant *me);

int32_t pg_rwlock_create(pg_shared *out);
int32_t pg_rwlock_lock(void *object, pg_participant *me, int32_t write, double timeout, int32_t *done);
int32_t pg_rwlock_unlock(void *object, pg_participant *me, int32_t write);

int32_t pg_semaphore_create(pg_shared *out, int64_t value);
int32_t pg_semaphore_acquire(void *object, pg_participant *me, double timeout, int32_t *done);
int32_t pg_semaphore_release(void *object, pg_participant *me, int64_t count);
int64_t pg_semaphore_value(void *object);

int32_t pg_barrier_create(pg_shared *out, int64_t parties);
/* *place: 1 for the first to arrive, `parties` for the last. */
int32_t pg_barrier_wait(void *object, pg_participant *me, double timeout, int64_t *place);
void pg_barrier_abort(void *object);
void pg_barrier_reset(void *object);
/* which: 0 parties, 1 how many wait, 2 whether it is broken */
int64_t pg_barrier_state(void *object, int32_t which);

int32_t pg_condition_create(pg_shared *out, void *mutex);
int32_t pg_condition_wait(void *object, pg_participant *me, double timeout, int32_t *done);
/* count < 0: all */
int32_t pg_condition_notify(void *object, pg_participant *me, int64_t count);
/* Its mutex, for which the caller is given a reference. */
void pg_condition_mutex(void *object, pg_shared *out);

int32_t pg_event_create(pg_shared *out);
void pg_event_set(void *object, pg_participant *me, int32_t set);
int32_t pg_event_is_set(void *object, pg_participant *me);
int32_t pg_event_wait(void *object, pg_participant *me, double timeout, int32_t *done);

int32_t pg_latch_create(pg_shared *out, int64_t count);
int32_t pg_latch_count_down(void *object, pg_participant *me, int64_t count);
int32_t pg_latch_wait(void *object, pg_participant *me, double timeout, int32_t *done);
int64_t pg_latch_count(void *object);

/* capacity 0: any number of values */
int32_t pg_queue_create(pg_shared *out, int64_t capacity);
/* Adds a number, or with `parcel` the value that was packed before (parallel_queue.lua). */
int32_t pg_queue_put(void *object, pg_participant *me, double timeout, double number, int32_t parcel, int32_t *done);
/* *done: 0 time was up, 1 a number, 2 it was closed and is empty, 3 a parcel to unpack */
int32_t pg_queue_get(void *object, pg_participant *me, double timeout, double *number, int32_t *done);
void pg_queue_close(void *object);
/* which: 0 how many are in it, 1 capacity, 2 whether it is closed */
int64_t pg_queue_state(void *object, int32_t which);

/* Something that each Lua state keeps a value of its own for, by this id. */
int32_t pg_local_create(pg_shared *out);
int64_t pg_local_id(void *object);

/* An atomic number: an int64 or a float64, as `kind` says. */
int32_t pg_atomic_create(pg_shared *out, int32_t kind, double value);

enum pg_atomic_op {
  PG_ATOMIC_LOAD = 0,
  PG_ATOMIC_STORE = 1,
  PG_ATOMIC_ADD = 2,
  PG_ATOMIC_SUB = 3,
  PG_ATOMIC_MIN = 4,
  PG_ATOMIC_MAX = 5,
  PG_ATOMIC_EXCHANGE = 6
};
/* One atomic operation on an atomic number; returns the value before. */
double pg_atomic_number(void *object, pg_participant *me, int32_t op, double value);
int32_t pg_atomic_number_compare_exchange(void *object, pg_participant *me, double *expected, double desired);
/* One atomic operation on element i (from 0) of memory of a dtype; returns the value before. Integers wrap; `value` must
   be one that the dtype can hold. */
double pg_atomic_apply(void *data, int32_t dtype, int64_t i, int32_t op, double value);
/* Stores `desired` where *expected is; returns 1 if so, else 0 and *expected becomes what is there. */
int32_t pg_atomic_compare_exchange(void *data, int32_t dtype, int64_t i, double *expected, double desired);
