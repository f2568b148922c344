/* Sorting of arrays, in addition to array_abi.h. */

/* Sorts lines along an axis in place, NaN last. A stable sort keeps -0 and 0 in their order. Lines that are not adjacent
   in memory are sorted in a copy of each. */
int32_t pg_array_sort(const pg_array *a, int32_t axis, int32_t descending, int32_t stable);
/* Positions (from 1) that sort lines along an axis; always stable, NaN last. Takes 8 bytes an element of a line beside
   the result, 16 where elements are longer than 4. */
int32_t pg_array_argsort(pg_array *out, int32_t *collect, const pg_array *a, int32_t axis, int32_t descending);
