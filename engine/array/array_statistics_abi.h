/* Correlation, counting and searching. As in array_abi.h: results first and empty, `collect` second, a pg_status back. */

enum pg_correlate_mode { PG_CORRELATE_VALID = 0, PG_CORRELATE_SAME = 1, PG_CORRELATE_FULL = 2 };

/* c[k] = sum of a[i + k] * conj(v[i]), or with `convolve` the convolution of two vectors, as NumPy's correlate and
   convolve. Integers wrap; bool is "any of a and v". */
int32_t pg_array_correlate(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *v, int32_t mode,
                           int32_t convolve);
/* How many elements of a lie in each of the bins between the ascending float64 `edges`: int64, or with weights (of a's
   shape; may be null) float64. The last bin includes its end; what lies outside and NaN is left out. `uniform` says
   that the edges are evenly spaced. */
int32_t pg_array_histogram(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *weights,
                           const pg_array *edges, int32_t uniform);
/* How often each of 0, 1, ... occurs in a vector of integers: int64, or float64 sums of weights (may be null). */
int32_t pg_array_bincount(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *weights,
                          int64_t minlength);
/* For each value the position, from 1, before which it keeps `sorted` (one dimension, ascending, NaN last) in order: the
   first such, or if `right` the last. */
int32_t pg_array_searchsorted(pg_array *out, int32_t *collect, const pg_array *sorted, const pg_array *values,
                              int32_t right);
/* Whether each element of a is among the values; NaN never is. */
int32_t pg_array_isin(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *values, int32_t invert);
/* The distinct elements in ascending order, and where wanted (else null), all int64: the positions (from 1, row-major)
   of their first occurrences, for each element of a the position of its value, and how often each value occurs. */
int32_t pg_array_unique(pg_array *out, int32_t *collect, const pg_array *a, pg_array *index, pg_array *inverse,
                        pg_array *counts);
/* The polygon through (xp, fp) at each x, in float64; `left` below xp[1] and `right` above its end. */
int32_t pg_array_interp(pg_array *out, int32_t *collect, const pg_array *x, const pg_array *xp, const pg_array *fp,
                        double left, double right);
