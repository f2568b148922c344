/* Plain C without directives or macros (see array_abi.h). */

/* The references that the arrays of a Lua state hold, by the cell of the state's heap (core/heap.hpp) that an array is in. */
typedef struct pg_owners pg_owners;

/* Notes the reference that `a`, a struct in Lua's heap, holds: it ends with the array. 0 if that cannot be noted. */
int32_t pg_owners_take(pg_owners *owners, const pg_array *a);
/* The reference is the array's own business again. */
void pg_owners_forget(pg_owners *owners, const pg_array *a);
