/* The event loop behind perigee.async. Plain C without directives or macros (see array_abi.h). A loop belongs to the
   thread that opened it; nothing here calls back: what has happened is told by records, which pg_async_poll hands out. */

typedef struct pg_async_loop pg_async_loop;

/* What a record tells of. Values are part of the ABI. */
enum pg_async_kind {
  PG_ASYNC_TIMER = 1,    /* the timer `slot` is due, and free again */
  PG_ASYNC_READ = 2,     /* of the stream `slot`: `value` bytes at `data`, or an error or the end (value < 0) */
  PG_ASYNC_REQUEST = 3,  /* the request `slot` (write, end of writing, connect) has ended: 0 or an error; free again */
  PG_ASYNC_ACCEPT = 4,   /* of the server `slot`: a connection, the stream `value`, or an error */
  PG_ASYNC_EXIT = 5,     /* the process `slot` has ended: `value` its exit code, or -signal */
  PG_ASYNC_INTERRUPT = 6, /* Ctrl-C */
  PG_ASYNC_FUTURE = 7    /* the future of a pool that was expected as `slot` is done */
};

typedef struct {
  int32_t kind;
  int32_t slot;
  int64_t value;
  const char *data; /* of READ: valid until the next poll */
} pg_async_record;

/* How a child's standard stream is connected. */
enum pg_async_stdio { PG_ASYNC_NULL = 0, PG_ASYNC_INHERIT = 1, PG_ASYNC_PIPE = 2, PG_ASYNC_STDOUT = 3 };

/* All return a pg_status, as messages name operating system errors in words; slots are from 1. */
int32_t pg_async_open(pg_async_loop **out);
/* Closes what is still open (children that still run are killed) and the loop; *left: how many streams, servers and
   processes were open. */
int32_t pg_async_close(int32_t *left, pg_async_loop *loop);
/* Runs the loop once: waits until something happens if `wait`, and hands out what has happened since the last poll.
   *count = -1: nothing happened and nothing ever will, since nothing is open that could wake the loop. */
int32_t pg_async_poll(int32_t *count, const pg_async_record **records, pg_async_loop *loop, int32_t wait);

/* A record in `seconds` or later, at most about a millisecond. */
int32_t pg_async_timer_start(int32_t *slot, pg_async_loop *loop, double seconds);
int32_t pg_async_timer_stop(pg_async_loop *loop, int32_t slot);

/* Reads once; stopping is allowed at any time. */
int32_t pg_async_read_start(pg_async_loop *loop, int32_t stream);
int32_t pg_async_read_stop(pg_async_loop *loop, int32_t stream);
/* *request = 0 where all could be written at once. The bytes are copied if they must wait. */
int32_t pg_async_write(int32_t *request, pg_async_loop *loop, int32_t stream, const char *data, int64_t size);
/* The other side reads an end after what was written. */
int32_t pg_async_write_eof(int32_t *request, pg_async_loop *loop, int32_t stream);
/* Closes a stream, server or process (which goes on): its slot is free, requests under way end with an error. */
int32_t pg_async_close_handle(pg_async_loop *loop, int32_t handle);

int32_t pg_async_connect(int32_t *stream, int32_t *request, pg_async_loop *loop, const char *address, int32_t port);
/* *bound: the port, chosen by the system where `port` is 0. */
int32_t pg_async_listen(int32_t *server, int32_t *bound, pg_async_loop *loop, const char *address, int32_t port,
                        int32_t backlog);

/* argv ends with NULL, and env ("NAME=value") if it is not NULL, which inherits; cwd may be NULL. stdio: 3 of
   pg_async_stdio; streams: 3 slots, 0 where there is no pipe. */
int32_t pg_async_spawn(int32_t *process, int32_t *pid, int32_t *streams, pg_async_loop *loop, const char *const *argv,
                       const char *const *env, const char *cwd, const int32_t *stdio);
int32_t pg_async_kill(pg_async_loop *loop, int32_t process, int32_t signal);

/* Text of an error in a record's value. */
const char *pg_async_error(int64_t error);
/* A record of `tag` when a pool's future (the object of a pg_shared) is done, once. The caller keeps the future until it
   has forgotten the tag, and forgets it when it does not want the record any more, and after the record as well. */
int32_t pg_async_expect_future(pg_async_loop *loop, void *future, int32_t tag);
int32_t pg_async_forget_future(pg_async_loop *loop, int32_t tag);
