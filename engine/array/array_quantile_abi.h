/* Plain C without directives or macros (see array_abi.h). */

enum pg_quantile_method {
  PG_QUANTILE_MEDIAN = 0, /* mean of the two in the middle, whatever the q */
  PG_QUANTILE_LINEAR = 1,
  PG_QUANTILE_LOWER = 2,
  PG_QUANTILE_HIGHER = 3,
  PG_QUANTILE_NEAREST = 4,
  PG_QUANTILE_MIDPOINT = 5,
  PG_QUANTILE_INVERTED_CDF = 6,
  PG_QUANTILE_AVERAGED_INVERTED_CDF = 7,
  PG_QUANTILE_CLOSEST_OBSERVATION = 8,
  PG_QUANTILE_INTERPOLATED_INVERTED_CDF = 9,
  PG_QUANTILE_HAZEN = 10,
  PG_QUANTILE_WEIBULL = 11,
  PG_QUANTILE_MEDIAN_UNBIASED = 12,
  PG_QUANTILE_NORMAL_UNBIASED = 13
};

/* Quantiles q (float64, row-major, of up to 1 dimension) of all elements along the axes whose bits are set in `axes`.
   The axis of q comes first in the result. NaN among the elements gives NaN, or is left out if ignore_nan. */
int32_t pg_array_quantile(pg_array *out, int32_t *collect, const pg_array *a, int32_t axes, int32_t keepdims,
                          const pg_array *q, int32_t method, int32_t ignore_nan);
