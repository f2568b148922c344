/* Machine code from the typed form of kernels (kernel_abi.h), by LLVM. */

typedef struct pg_llvm_code pg_llvm_code;

enum pg_llvm_options {
  PG_LLVM_FASTMATH = 1,
  PG_LLVM_UNCHECKED = 2, /* indices are not checked */
  PG_LLVM_SCALAR = 4,    /* no vectors */
  PG_LLVM_SHARED = 8     /* code that this process has made already will do */
};

/* Compiles `module`, a pg_kernel_module's contents (pg_kernel_contents). Thread-safe. identity: see
   pg_kernel_identity. folder: where compiled code is kept
   and looked for, under a hash of it, the options, this processor and the versions of Perigee
   and LLVM; NULL: nowhere. A folder that cannot be read or written does no harm. */
int32_t pg_llvm_compile(pg_llvm_code **out, const void *module, int32_t options, const char *folder, const char *identity,
                        int64_t identity_size);
/* 1 where the code came from the folder. */
int32_t pg_llvm_cached(const pg_llvm_code *code);
/* The entry: int32_t (*)(pg_kernel_failure *, void *results, ...): 0 done, 1 failed. Results lie 16 bytes apart: double,
   int64_t, int32_t (bool) or two doubles. Arguments: double, int64_t, int32_t (bool), two doubles (complex128), arrays as
   const pg_array *. */
void *pg_llvm_entry(const pg_llvm_code *code);
/* Texts: "llvm" (LLVM's form after optimisation), "asm", "report": a line a remark of the vectorisers, fields separated by
   tabs: line, column, kind (passed, missed, analysis), name, words of LLVM's; first "Quick" where the kernel is too large to
   be optimised. Live as long as the code. */
int32_t pg_llvm_text(const char **out, pg_llvm_code *code, const char *what);
/* Seconds that compiling took. */
double pg_llvm_seconds(const pg_llvm_code *code);
void pg_llvm_close(pg_llvm_code *code);
