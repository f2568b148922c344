/* Devices, their memory, streams and events, and code for them (perigee.gpu). A device is an NVIDIA GPU, by CUDA's driver,
   or the simulator, whose memory is the host's. Functions that return int32_t return a pg_status. Plain C without
   directives or macros (see array_abi.h). */

typedef struct pg_gpu_device pg_gpu_device; /* one a device and process; never freed */
typedef struct pg_gpu_memory pg_gpu_memory; /* a reference-counted piece of a device's memory */
typedef struct pg_gpu_stream pg_gpu_stream;
typedef struct pg_gpu_event pg_gpu_event;

/* An array in a device's memory. _a is laid out as host arrays are; _data is the device's address, _block is NULL but on
   the simulator, and _device counts from 1. */
typedef struct pg_gpu_array {
  pg_array _a;
  pg_gpu_memory *_memory;
} pg_gpu_array;

enum pg_gpu_backend { PG_GPU_SIM = 0, PG_GPU_CUDA = 1 };

typedef struct pg_gpu_properties {
  char name[256];
  int32_t major, minor; /* compute capability */
  int32_t multiprocessors, warp_size, max_threads_per_block, max_threads_per_multiprocessor;
  int32_t max_block[3], max_grid[3];
  int32_t registers_per_block, shared_per_block, shared_per_block_optin, shared_per_multiprocessor;
  int32_t clock_khz, memory_clock_khz, memory_bus_bits, l2_bytes, copy_engines;
  int32_t driver_version; /* 1000 major + 10 minor of the CUDA that the driver knows; 0 on the simulator */
  int64_t memory_bytes;
} pg_gpu_properties;

typedef struct pg_gpu_pool {
  int64_t used, cached;         /* bytes of arrays; bytes kept for reuse */
  int64_t peak;                 /* the most that was used at once */
  int64_t arrays;               /* pieces in use */
  int64_t allocations, reused;  /* pieces asked for since the start; of these, from what was kept */
} pg_gpu_pool;

/* How many devices there are; PG_ERROR_UNSUPPORTED with the reason where there is none. */
int32_t pg_gpu_count(int32_t *count, int32_t backend);
/* Device `number`, from 0. */
int32_t pg_gpu_open(pg_gpu_device **out, int32_t backend, int32_t number);
int32_t pg_gpu_describe(pg_gpu_properties *out, pg_gpu_device *device);
int32_t pg_gpu_memory_info(pg_gpu_device *device, int64_t *free, int64_t *total);
int32_t pg_gpu_pool_info(pg_gpu_pool *out, pg_gpu_device *device);
/* Gives kept memory back to the device; *bytes says how much. */
int32_t pg_gpu_pool_trim(pg_gpu_device *device, int64_t *bytes);
/* Waits for all that the device has been given to do. */
int32_t pg_gpu_synchronize(pg_gpu_device *device);

/* A row-major array on the device, zeroed if `zero` (on the stream), else with undefined contents. PG_ERROR_MEMORY: collect
   garbage, try once more, then fail. */
int32_t pg_gpu_create(pg_gpu_array *out, int32_t *collect, pg_gpu_device *device, int32_t dtype, int32_t ndim,
                      const int64_t *shape, int32_t zero, pg_gpu_stream *stream);
/* The simulator's: makes an array on it of one in the host's memory, which it takes over without a copy. */
int32_t pg_gpu_adopt(pg_gpu_array *out, pg_gpu_device *device, const pg_array *a);
/* Another array in the memory of a, laid out as `layout` says (whose _data lies in a's memory). */
void pg_gpu_share(pg_gpu_array *out, const pg_gpu_array *a, const pg_array *layout);
void pg_gpu_release(pg_gpu_array *a);
/* Notes that work on the stream uses the array's memory, so that it is not given to others before that is done. */
int32_t pg_gpu_use(const pg_gpu_array *a, pg_gpu_stream *stream);

/* Copies between arrays of one dtype and shape, both without gaps. stream NULL: the default one. wait: until it is done;
   else the host's array must be kept, and is copied in the background only if it is page-locked. */
int32_t pg_gpu_write(const pg_gpu_array *to, const pg_array *from, pg_gpu_stream *stream, int32_t wait);
int32_t pg_gpu_read(const pg_array *to, const pg_gpu_array *from, pg_gpu_stream *stream, int32_t wait);
/* Makes what was read without waiting fit for Lua, once it is there: pg_gpu_read does so where it waits. */
void pg_gpu_clean(pg_array *a);
/* On one device, or from one to another. */
int32_t pg_gpu_copy(const pg_gpu_array *to, const pg_gpu_array *from, pg_gpu_stream *stream);
/* A row-major array in page-locked host memory; an ordinary one on the simulator. */
int32_t pg_gpu_pinned(pg_array *out, int32_t *collect, pg_gpu_device *device, int32_t dtype, int32_t ndim,
                      const int64_t *shape, int32_t zero);

int32_t pg_gpu_stream_create(pg_gpu_stream **out, pg_gpu_device *device);
void pg_gpu_stream_close(pg_gpu_stream *stream);
int32_t pg_gpu_stream_synchronize(pg_gpu_stream *stream);
int32_t pg_gpu_stream_done(pg_gpu_stream *stream, int32_t *done);
int32_t pg_gpu_stream_wait(pg_gpu_stream *stream, pg_gpu_event *event);
int32_t pg_gpu_event_create(pg_gpu_event **out, pg_gpu_device *device);
void pg_gpu_event_close(pg_gpu_event *event);
int32_t pg_gpu_event_record(pg_gpu_event *event, pg_gpu_stream *stream);
int32_t pg_gpu_event_synchronize(pg_gpu_event *event);
int32_t pg_gpu_event_done(pg_gpu_event *event, int32_t *done);
/* Seconds from one event to another; both must be done. */
int32_t pg_gpu_event_elapsed(double *seconds, pg_gpu_event *start, pg_gpu_event *end);
