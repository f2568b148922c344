/* Plain C without directives or macros (see array_abi.h). */

/* The references that the arrays of a Lua state hold, by slot from 1 (array.lua). */
typedef struct pg_owners {
  pg_block **blocks; /* NULL: none, or given up already */
  int32_t *free;     /* a stack of slots */
  int32_t available; /* its height */
  int32_t capacity;
} pg_owners;

/* More slots. */
int32_t pg_owners_grow(pg_owners *owners, int32_t capacity);
/* Notes the reference that `a` holds in a free slot and returns the slot; there must be one. */
int32_t pg_owners_take(pg_owners *owners, const pg_array *a);
/* Gives up the reference of a slot, which is then free. */
void pg_owners_drop(pg_owners *owners, int32_t slot);
/* Gives up all of them. */
void pg_owners_close(pg_owners *owners);
