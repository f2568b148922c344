/* Plain C without directives or macros (see array_abi.h). */

enum pg_array_order { PG_ROW_MAJOR = 0, PG_COLUMN_MAJOR = 1 };

/* A copy whose elements lie in memory in this order. */
int32_t pg_array_copy(pg_array *out, int32_t *collect, const pg_array *a, int32_t order);
