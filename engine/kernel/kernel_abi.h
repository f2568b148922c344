/* Lua functions as typed code (perigee.kernel): from text to the form that backends compile. */

/* A function's tree, and what the names mean that it does not declare. */
typedef struct pg_kernel_source pg_kernel_source;
/* A function typed for certain arguments, with those it calls. */
typedef struct pg_kernel_module pg_kernel_module;

/* Parses `text` and takes the one function from line `first` to line `last`. `chunk` names the text in messages, `name` the
   function. Errors: PG_ERROR_ARGUMENT, "chunk:line: what" where the source is wrong. */
int32_t pg_kernel_parse(pg_kernel_source **out, const char *text, int64_t size, const char *chunk, int32_t first,
                        int32_t last, const char *name);
/* How many names the function uses without declaring them; the i-th, from 0. */
int32_t pg_kernel_free_names(const pg_kernel_source *source);
const char *pg_kernel_free_name(const pg_kernel_source *source, int32_t i);
/* What such a name stands for: a frozen number or boolean, a function that kernels know or a table of such ("math.sin",
   "math"), another function, or something that kernels do not take ("a string"). */
void pg_kernel_bind_number(pg_kernel_source *source, const char *name, double value);
void pg_kernel_bind_boolean(pg_kernel_source *source, const char *name, int32_t value);
void pg_kernel_bind_builtin(pg_kernel_source *source, const char *name, const char *builtin);
void pg_kernel_bind_refused(pg_kernel_source *source, const char *name, const char *what);
void pg_kernel_bind_function(pg_kernel_source *source, const char *name, const pg_kernel_source *function);
void pg_kernel_close_source(pg_kernel_source *source);

/* An argument's type. kind 0: an array; 1 boolean, 2 integer, 3 number (a Lua number: weak beside float32), 4 float32,
   5 float64, 6 complex128. */
typedef struct pg_kernel_argument {
  int32_t kind, dtype, ndim, contiguous, writable;
} pg_kernel_argument;

/* Types the function for these arguments. parallel: its loops whose rounds are proved independent run on the engine's
   threads (engine/kernel/parallel.hpp). */
int32_t pg_kernel_specialise(pg_kernel_module **out, const pg_kernel_source *source, const pg_kernel_argument *arguments,
                             int32_t count, int32_t parallel);
/* What was found out about its loops, where parallel was asked for: a line each, "chunk TAB line TAB column TAB parallel (1
   or 0) TAB line TAB why not, of that line"; loops inside a parallel one are not listed. Lives as long as the module. */
const char *pg_kernel_parallel(pg_kernel_module *module);
/* The loop of a whole-array operation, made of a function of scalars. Of arrays among the arguments dtype and contiguous
   count. outputs, of *results dtypes if that is above 0, else filled (at most 8); outputs_contiguous: of all of them. */
int32_t pg_kernel_elementwise(pg_kernel_module **out, const pg_kernel_source *source, const pg_kernel_argument *arguments,
                              int32_t count, int32_t *outputs, int32_t *results, int32_t outputs_contiguous);
/* As pg_kernel_specialise, entered by pointers to arguments (for pg_kernel_run_outer). */
int32_t pg_kernel_packed(pg_kernel_module **out, const pg_kernel_source *source, const pg_kernel_argument *arguments,
                         int32_t count);
/* A parallel loop over the function's first `dimensions` parameters. Of the arguments the first 2 x dimensions are
   integers: first and last of each index. reduce: "", "sum", "product", "min" or "max". */
int32_t pg_kernel_parallel_for(pg_kernel_module **out, const pg_kernel_source *source, int32_t dimensions,
                               const char *reduce, const pg_kernel_argument *arguments, int32_t count);
/* A kernel of a GPU: what each thread of a grid runs. */
int32_t pg_kernel_grid(pg_kernel_module **out, const pg_kernel_source *source, const pg_kernel_argument *arguments,
                       int32_t count);
/* Of a kernel of a GPU, what runs a block of its threads on a processor (kernel/grid.hpp), for pg_kernel_run_grid.
   *launch_dtype: of the array in the memory that a launch gives, -1 where it takes none. PG_ERROR_UNSUPPORTED where only the
   checked simulator can run it. */
int32_t pg_kernel_block(pg_kernel_module **out, const pg_kernel_module *grid, int32_t *launch_dtype);
/* The same of a parallel loop without reduce: the first `dimensions` arguments are its lengths, integers. */
int32_t pg_kernel_grid_loop(pg_kernel_module **out, const pg_kernel_source *source, int32_t dimensions,
                            const pg_kernel_argument *arguments, int32_t count);
/* With reduce: blocks of 256 threads; the last argument is an array of the dtype that the body returns (as
   pg_kernel_parallel_for says), of an element a block, which blocks put what they combined into. */
int32_t pg_kernel_grid_reduce(pg_kernel_module **out, const pg_kernel_source *source, int32_t dimensions,
                              const char *reduce, const pg_kernel_argument *arguments, int32_t count);
/* And of a function applied to entries of arrays, a thread each: the arguments are how many, the function's (arrays have one
   axis more in front), and `results` arrays of one dimension for what it returns. */
int32_t pg_kernel_grid_elementwise(pg_kernel_module **out, const pg_kernel_source *source, int32_t results,
                                   const pg_kernel_argument *arguments, int32_t count);
/* What a backend compiles. */
const void *pg_kernel_contents(const pg_kernel_module *module);
/* What a cache knows it by: a text of *size bytes, equal for equal code; lives as long as the module. */
const char *pg_kernel_identity(pg_kernel_module *module, int64_t *size);
/* The typed form as text; lives as long as the module. */
const char *pg_kernel_text(pg_kernel_module *module);
/* Its loops, as in the source: a line each, "chunk TAB line TAB column TAB innermost (1 or 0)"; lives as long as the
   module. */
const char *pg_kernel_loops(pg_kernel_module *module);
/* Its variables and arrays, a line each: "chunk TAB line TAB column TAB name TAB type", as "float64" or "int64[:,:]"; lives
   as long as the module. */
const char *pg_kernel_variables(pg_kernel_module *module);
/* Whether it writes into the array that is its i-th argument, from 0. */
int32_t pg_kernel_writes(const pg_kernel_module *module, int32_t i);
/* Whether it reads its elements. */
int32_t pg_kernel_reads(const pg_kernel_module *module, int32_t i);
/* CUDA C++ of it (engine/kernel/cuda.hpp says more): the text, the kernel's name in it and codes of its parameters. wide: of
   offsets from 2^30 on. spread: of loops, how many nested ones the grid runs. The texts live until the next such call. */
int32_t pg_kernel_cuda(const char **text, const char **entry, const char **parameters, pg_kernel_module *module,
                       int32_t wide, int32_t spread);
/* How many values it returns; the type of the i-th: 1 boolean, 2 int64, 3 float32, 4 float64, 5 complex128. */
int32_t pg_kernel_results(const pg_kernel_module *module);
int32_t pg_kernel_result(const pg_kernel_module *module, int32_t i);
void pg_kernel_close_module(pg_kernel_module *module);
/* A copy of a kernel's name that lives for ever, for those who watch operations. */
const char *pg_kernel_keep_name(const char *name);

/* Where a kernel says what went wrong: an index outside (1) or not whole (2), a number that an integer array cannot hold
   (3), an integer modulo zero (4), the start of an integer loop not whole (5), a loop's step of zero (6), threads that could
   not be had (7, pg_last_message says why). `name` is the array's or variable's; dimensions count from 1; for (3) `dimension` is the dtype. */
typedef struct pg_kernel_failure {
  int32_t code, line, column, dimension;
  const char *name, *chunk;
  int64_t index, length;
  double value;
} pg_kernel_failure;

/* Runs the entry of a loop (see engine/llvm) over whole arrays: operands, `inputs` of them and then the results', walked
   together. arrays[i] is NULL where scalars[i] points to a scalar. The results' shape is what the inputs broadcast to.
   Pieces run on the engine's threads. *failed: 1 where a piece failed, and failure says how the first did, in the order
   of the first result's memory. name (also below): of the kernel, from pg_kernel_keep_name. */
int32_t pg_kernel_run_loop(int32_t *failed, pg_kernel_failure *failure, void *entry, const pg_array *const *arrays,
                           void *const *scalars, int32_t inputs, int32_t results, const char *name);
/* The shape that these arrays broadcast to: at most 8 lengths. */
int32_t pg_kernel_broadcast(int64_t *lengths, int32_t *ndim, const pg_array *const *arrays, int32_t count);
/* Runs the packed entry of a parallel loop over boxes of its indices, on the engine's threads. lengths: of each index, from
   1 on; tile: how far a box reaches. arguments: pointers to what follows the ranges. reduce, type: as in parallel_for, and
   the type of what it returns (pg_kernel_result), combined into *total in the order of the boxes; no box: not written,
   and *failed is -1. */
int32_t pg_kernel_run_boxes(int32_t *failed, pg_kernel_failure *failure, void *entry, int32_t dimensions,
                            const int64_t *lengths, const int64_t *tile, void *const *arguments, int32_t count,
                            const char *reduce, int32_t type, void *total, const char *name);
/* Calls a packed entry for every position of the outer axes, on the engine's threads. Of each of `count` arguments core[i]
   says how many of the last axes the function gets, and the axes before broadcast to the outer shape; 0: one element, as a
   number, boolean or complex number; -1: no array but scalars[i]. outputs: arrays of the outer shape for the function's
   `results` returned values, of types (pg_kernel_result) and of the dtype that each fills. */
int32_t pg_kernel_run_outer(int32_t *failed, pg_kernel_failure *failure, void *entry, int32_t ndim, const int64_t *lengths,
                            const pg_array *const *arrays, const int32_t *core, void *const *scalars, int32_t count,
                            pg_array *const *outputs, const int32_t *types, int32_t results, const char *name);
/* Runs a compiled pg_kernel_block for all blocks of a grid (x, y, z), on the engine's threads. arguments: as the packed entry
   takes them. launch_memory: dtype, length and strides of the memory that the launch gives a block, or NULL. *failed as in
   pg_kernel_run_loop: of the first block, x first. */
int32_t pg_kernel_run_grid(int32_t *failed, pg_kernel_failure *failure, void *entry, const int64_t *grid,
                           const int64_t *block, void *const *arguments, int32_t count, const pg_array *launch_memory,
                           const char *name);
/* What compiled kernels call for a loop in pieces of `grain` rounds, on the engine's threads: run(failure, given, piece from
   1, first, last) for each, of the rounds start, start + step, ... 0: done; 1: failed, with the failure of the first piece
   that did. */
int32_t pg_kernel_spawn(pg_kernel_failure *failure,
                        int32_t (*run)(pg_kernel_failure *, void *, int64_t, int64_t, int64_t), void *given,
                        int64_t start, int64_t step, int64_t rounds, int64_t grain);
