/* Reductions and running sums of arrays, in addition to array_abi.h. */

enum pg_reduce_op {
  PG_REDUCE_SUM = 0, /* integers to int64 or uint64, modulo 2^64 */
  PG_REDUCE_MEAN = 1,
  PG_REDUCE_MIN = 2, /* NaN wins */
  PG_REDUCE_MAX = 3,
  PG_REDUCE_PROD = 4,
  PG_REDUCE_VAR = 5,
  PG_REDUCE_STD = 6,
  PG_REDUCE_ANY = 7,
  PG_REDUCE_ALL = 8,
  PG_REDUCE_COUNT_NONZERO = 9,
  PG_REDUCE_NANSUM = 10, /* from here on without NaN */
  PG_REDUCE_NANMEAN = 11,
  PG_REDUCE_NANMIN = 12,
  PG_REDUCE_NANMAX = 13,
  PG_REDUCE_NANVAR = 14,
  PG_REDUCE_NANSTD = 15
};
enum pg_scan_op { PG_SCAN_SUM = 0, PG_SCAN_PRODUCT = 1, PG_SCAN_MIN = 2, PG_SCAN_MAX = 3 };

/* Reduces the axes whose bits are set in `axes`; with keepdims they stay, with length 1. Floats are summed pairwise in
   float64, in an order that does not depend on the machine or on the number of threads. */
int32_t pg_array_reduce(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, int32_t axes,
                        int32_t keepdims, double ddof);
/* Reduces all of it to one element (up to 16 bytes) of the dtype that *dtype then says. */
int32_t pg_array_reduce_all(int32_t op, const pg_array *a, double ddof, void *element, int32_t *dtype);
/* Positions (from 1) of the first smallest or largest elements, or of the first NaN: along an axis (from 0), or in all of
   a, in row-major order. */
int32_t pg_array_position(pg_array *out, int32_t *collect, int32_t largest, const pg_array *a, int32_t axis,
                          int32_t keepdims);
int32_t pg_array_position_all(int32_t largest, const pg_array *a, int64_t *position);
/* Bytes of one element, 0 for what is not a dtype. */
int64_t pg_array_element_size(int32_t dtype);
/* Running sums, products, minima or maxima along an axis; of all of a in row-major order if axis is -1. */
int32_t pg_array_scan(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, int32_t axis);
