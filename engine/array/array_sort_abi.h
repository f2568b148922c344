/* Sorting and selection in arrays, in addition to array_abi.h. Axes count from 0, positions in results from
   1. NaN is always last. */

/* Sorts lines along an axis in place. A stable sort keeps -0 and 0 in their order, the other puts -0 first. Lines that
   are not adjacent in memory are sorted in a copy of each. */
int32_t pg_array_sort(const pg_array *a, int32_t axis, int32_t descending, int32_t stable);
/* Positions that sort lines along an axis; always stable. Takes 8 bytes an element of a line beside the result, 16 where
   elements are longer than 4. */
int32_t pg_array_argsort(pg_array *out, int32_t *collect, const pg_array *a, int32_t axis, int32_t descending);
/* Orders lines in place so that the element of rank `rank` (from 0) is where sorting would put it, with none greater
   before it and none smaller after it. */
int32_t pg_array_partition(const pg_array *a, int32_t axis, int64_t rank);
/* Positions that do the same, those of smaller elements, of equal ones and of greater ones in their order. */
int32_t pg_array_argpartition(pg_array *out, int32_t *collect, const pg_array *a, int32_t axis, int64_t rank);
/* The k largest (smallest) elements of each line, the first first, and their positions; equal ones in their order. */
int32_t pg_array_topk(pg_array *positions, int32_t *collect, pg_array *values, const pg_array *a, int32_t axis,
                      int64_t k, int32_t largest);
