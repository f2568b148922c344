/* Plain C without directives or macros (see array_abi.h). */

/* Selecting elements: masks, index arrays. */

/* The elements of a at which mask, a bool array of the shape of a's first axes, is true: shape (count, remaining axes). */
int32_t pg_array_mask_get(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *mask);
/* Writes values, broadcast to the shape that pg_array_mask_get gives, to where mask is true. */
int32_t pg_array_mask_set(const pg_array *a, int32_t *collect, const pg_array *mask, const pg_array *values);
/* Elements at positions given by integer arrays (from 1; negative ones from the end). indices[i] is for axis i of a and
   NULL for an axis taken whole; they are broadcast against each other, and their axes stand in the result after its
   first `position` other axes. An index out of range is an argument error. */
int32_t pg_array_index_get(pg_array *out, int32_t *collect, const pg_array *a, int32_t position,
                           const pg_array *const *indices);
/* Writes values, broadcast to the shape that pg_array_index_get gives. Of values for one element the last wins. */
int32_t pg_array_index_set(const pg_array *a, int32_t *collect, int32_t position, const pg_array *const *indices,
                           const pg_array *values);
/* Where elements are not zero: int64 of shape (dimensions, count), indices from 1 in row-major order. */
int32_t pg_array_nonzero(pg_array *out, int32_t *collect, const pg_array *a);
/* *result = 1 if some byte of memory belongs to an element of both. Exact, or only by the bytes they span. */
int32_t pg_array_shares_memory(const pg_array *a, const pg_array *b, int32_t exact, int32_t *result);
/* A one-dimensional array over all of the block that a is in, in a's dtype. */
int32_t pg_array_base(pg_array *out, int32_t *collect, const pg_array *a);
/* How many blocks the calling thread has allocated so far, and their bytes. */
void pg_array_allocations(int64_t *count, int64_t *bytes);
