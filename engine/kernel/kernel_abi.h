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

/* Types the function for these arguments. */
int32_t pg_kernel_specialise(pg_kernel_module **out, const pg_kernel_source *source, const pg_kernel_argument *arguments,
                             int32_t count);
/* What a backend compiles. */
const void *pg_kernel_contents(const pg_kernel_module *module);
/* The typed form as text; lives as long as the module. */
const char *pg_kernel_text(pg_kernel_module *module);
/* How many values it returns; the type of the i-th: 1 boolean, 2 int64, 3 float32, 4 float64, 5 complex128. */
int32_t pg_kernel_results(const pg_kernel_module *module);
int32_t pg_kernel_result(const pg_kernel_module *module, int32_t i);
void pg_kernel_close_module(pg_kernel_module *module);

/* Where a kernel says what went wrong: an index outside (1) or not whole (2), a number that an integer array cannot hold
   (3), an integer modulo zero (4), the start of an integer loop not whole (5), a loop's step of zero (6). `name` is the
   array's or variable's; dimensions count from 1; for (3) `dimension` is the dtype. */
typedef struct pg_kernel_failure {
  int32_t code, line, column, dimension;
  const char *name, *chunk;
  int64_t index, length;
  double value;
} pg_kernel_failure;
