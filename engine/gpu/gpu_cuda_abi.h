/* Code for GPUs (perigee.gpu): CUDA C++ compiled by NVRTC, loaded and launched by the driver; cuBLAS. In addition to
   gpu_abi.h. */

typedef struct pg_gpu_image pg_gpu_image; /* a text's PTX or machine code */
typedef struct pg_gpu_code pg_gpu_code;   /* an image in a device */

/* The version of NVRTC; PG_ERROR_UNSUPPORTED with the reason where there is none. */
int32_t pg_gpu_compiler(int32_t *major, int32_t *minor);
/* Compiles CUDA C++. architecture: "sm_90" for machine code, "compute_90" for PTX. folder: where compiled code is kept and
   looked for; NULL: nowhere. PG_ERROR_ARGUMENT with the compiler's messages, "name(line): error: ...". */
int32_t pg_gpu_compile(pg_gpu_image **out, const char *source, const char *name, const char *architecture,
                       const char *const *options, int32_t count, const char *folder);
const char *pg_gpu_image_data(const pg_gpu_image *image, int64_t *size);
const char *pg_gpu_image_log(const pg_gpu_image *image);
/* 1 where it came from the folder. */
int32_t pg_gpu_image_cached(const pg_gpu_image *image);
double pg_gpu_image_seconds(const pg_gpu_image *image);
void pg_gpu_image_close(pg_gpu_image *image);

int32_t pg_gpu_load(pg_gpu_code **out, pg_gpu_device *device, const pg_gpu_image *image);
int32_t pg_gpu_function_of(void **out, pg_gpu_code *code, const char *name);
void pg_gpu_code_close(pg_gpu_code *code);

typedef struct pg_gpu_function {
  int32_t max_threads, shared_bytes, local_bytes, registers; /* a block; a block; a thread; a thread */
} pg_gpu_function;
int32_t pg_gpu_function_describe(pg_gpu_function *out, pg_gpu_device *device, void *function);
/* How many bytes of shared memory a launch may ask for: needed above 48 KiB. */
int32_t pg_gpu_function_shared(pg_gpu_device *device, void *function, int32_t bytes);
/* How many blocks of so many threads a multiprocessor holds at once. */
int32_t pg_gpu_occupancy(int32_t *blocks, pg_gpu_device *device, void *function, int32_t threads, int64_t shared);
/* arguments: pointers to the kernel's parameters. Does not wait. */
int32_t pg_gpu_launch(pg_gpu_device *device, void *function, const uint32_t *grid, const uint32_t *block,
                      uint32_t shared, pg_gpu_stream *stream, void **arguments);

/* c = a b of matrices of one dtype (float32, float64, complex64 or complex128), by cuBLAS. sizes: batch, rows of a, columns of
   b, columns of a. Strides in elements: of the batch, of rows and of columns, one of the last two 1; c's columns lie
   without gaps. */
int32_t pg_gpu_gemm(pg_gpu_device *device, int32_t dtype, const int64_t *sizes, const void *a, const int64_t *a_strides,
                    const void *b, const int64_t *b_strides, void *c, const int64_t *c_strides, pg_gpu_stream *stream);
