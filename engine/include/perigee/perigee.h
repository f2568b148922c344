/* Perigee's C ABI for programs that embed the engine. C++ programs include perigee.hpp, an RAII layer over this.

   A pg_vm is one Lua state with the engine's modules. A VM is used by one thread at a time; different VMs may run in
   different threads at once. The library installs no signal handlers and prints nothing by itself. Every function that
   can fail returns a pg_status and keeps the details in pg_vm_error(vm). Nothing here throws. */
#ifndef PERIGEE_PERIGEE_H
#define PERIGEE_PERIGEE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#include "array_abi.h"

typedef enum pg_status {
  PG_OK = 0,
  PG_ERROR_ARGUMENT = 1,    /* yours: a value handed in is not legal; the message names it and what is legal */
  PG_ERROR_UNSUPPORTED = 2, /* not supported: the message says what to use instead */
  PG_ERROR_INTERNAL = 3,    /* ours: a bug in Perigee; please report it with the message */
  PG_ERROR_MEMORY = 4,      /* the memory limit of the VM, or the machine's memory, is exhausted */
  PG_ERROR_SYNTAX = 5,      /* the script does not parse */
  PG_ERROR_RUNTIME = 6,     /* the script raised an error */
  PG_ERROR_FILE = 7         /* a file cannot be read, or is not a text script */
} pg_status;

/* Details of the last failure of a VM. Strings belong to the VM and live until its next call. */
typedef struct pg_error {
  int32_t status;        /* enum pg_status */
  int32_t line;          /* line in `file`, 0 where unknown */
  const char *file;      /* chunk name without '@', "" where unknown */
  const char *message;   /* without the position */
  const char *traceback; /* Lua frames without the engine's own; "" where there is none */
} pg_error;

typedef struct pg_vm pg_vm;

/* Receives what the script prints; text is not zero-terminated. Calls come one at a time, those for tasks in a pool on the
   threads of its workers. */
typedef void (*pg_print)(void *user, const char *text, size_t size);

typedef struct pg_vm_options {
  uint32_t struct_size;    /* sizeof(pg_vm_options): lets the struct grow */
  int32_t trusted;         /* non-zero: the whole Lua standard library and ffi are visible to scripts */
  int32_t jit_off;         /* non-zero: start with the JIT compiler off */
  int64_t memory_limit;    /* bytes of Lua heap and array memory together; 0: none */
  const char *modules;     /* space-separated Perigee modules that scripts may require ("array timer"); NULL: all */
  const char *script_root; /* folder in which require finds a script's own modules; NULL: none */
  pg_print print;          /* NULL: standard output */
  void *print_user;
} pg_vm_options;

/* Creates a VM; options may be NULL. On failure *vm is NULL and the status says why. */
pg_status pg_vm_create(const pg_vm_options *options, pg_vm **vm);
void pg_vm_destroy(pg_vm *vm);

/* The details of the last failure on this VM. Never NULL. */
const pg_error *pg_vm_error(const pg_vm *vm);

/* A value that crosses the border. Strings and arrays that a VM returns belong to it and live until its next call. */
typedef enum pg_kind { PG_NIL = 0, PG_BOOLEAN = 1, PG_NUMBER = 2, PG_STRING = 3, PG_ARRAY = 4 } pg_kind;
typedef struct pg_value {
  int32_t kind; /* enum pg_kind */
  int32_t boolean;
  double number;
  const char *string;
  size_t length;         /* of string, in bytes */
  const pg_array *array; /* a descriptor; its block is shared, not copied */
} pg_value;

/* Runs a text chunk. `name` appears in messages ("lesson.lua"). What it returns goes to results: at most `capacity`
   values, *count says how many there were (count may be NULL if capacity is 0). */
pg_status pg_vm_run(pg_vm *vm, const char *text, size_t size, const char *name, pg_value *results, size_t capacity,
                    size_t *count);
/* Runs a file, refusing what is unreadable, over 1 MiB, or not text. `arguments` become `...` and the global `arg`. */
pg_status pg_vm_run_file(pg_vm *vm, const char *path, int argument_count, const char *const *arguments);
/* Loads a chunk that returns a table of functions (a submission), runs it, and keeps that table as the VM's
   submission for pg_vm_call. `entry` must be a function in it, else PG_ERROR_RUNTIME. */
pg_status pg_vm_load_submission(pg_vm *vm, const char *text, size_t size, const char *name, const char *entry);
/* Calls a function: "f" is a script's global or, after pg_vm_load_submission, a field of the submission. */
pg_status pg_vm_call(pg_vm *vm, const char *function, const pg_value *arguments, size_t argument_count,
                     pg_value *results, size_t capacity, size_t *count);

/* A host function. It fills at most `capacity` results and returns how many, or -1 after writing a message into
   `message` (at most 255 bytes and a zero), which becomes a Lua error at the script's line. It must not throw. */
typedef int (*pg_function)(void *user, const pg_value *arguments, size_t argument_count, pg_value *results,
                           size_t capacity, char *message);
/* Makes a host function (or any value) a global of scripts under `name`. */
pg_status pg_vm_register(pg_vm *vm, const char *name, pg_function function, void *user);
pg_status pg_vm_set(pg_vm *vm, const char *name, const pg_value *value);

/* Lends memory of the host to scripts as the global array `name`, without a copy. `shape` has ndim entries, row-major.
   release(memory, context) is called once when the last array that uses it is gone (it may be NULL). NaNs in it must be
   plain ones, as processors make them (mantissa bits but the highest 0): LuaJIT takes some others for objects. */
pg_status pg_vm_lend(pg_vm *vm, const char *name, void *memory, int32_t dtype, int32_t ndim, const int64_t *shape,
                     void (*release)(void *memory, void *context), void *context);

/* Bytes of Lua heap and array memory now held by the VM. */
int64_t pg_vm_memory(const pg_vm *vm);
/* The lua_State *, for hosts that know the Lua C API. The registry holds "perigee.core" (the engine's core table) and,
   after pg_vm_load_submission, "perigee.submission" (the table that the script returned). */
void *pg_vm_state(pg_vm *vm);
/* Runs function(lua_State *, user) as pg_vm_call runs a script's: protected, on the VM's memory account. What is raised
   in it becomes the VM's error. */
pg_status pg_vm_with_state(pg_vm *vm, void (*function)(void *state, void *user), void *user);
/* Message of the calling thread's last failed call, for failures that have no VM (pg_vm_create). Never NULL. */
const char *pg_last_message(void);
/* "1.2.3" */
const char *pg_version(void);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
