/* Plain C without directives or macros (see array_abi.h). */

/* The references that the arrays of a Lua state hold, by the cell of the state's heap (core/heap.hpp) that an array is in. */
typedef struct pg_owners pg_owners;

/* Notes the reference that `a`, a struct in Lua's heap, holds: it ends with the array. 0 if that cannot be noted. */
int32_t pg_owners_take(pg_owners *owners, const pg_array *a);
/* The reference is the array's own business again. */
void pg_owners_forget(pg_owners *owners, const pg_array *a);
/* The view `out`, a struct in Lua's heap, of `length` elements of the vector `a` from `start` on, noted. 0, and nothing
   done, if it cannot be noted. */
int32_t pg_owners_stretch(pg_owners *owners, pg_array *out, const pg_array *a, int64_t start, int64_t length);
