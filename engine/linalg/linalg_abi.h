/* Linear algebra as C, C++ and Lua see it. Conventions as in array_abi.h. Work is done in float32, float64, complex64 or
   complex128; other dtypes are converted to float64. Axes before the last two are a batch. */

/* Matrix product as NumPy's matmul, in BLAS. Both must have the same dtype, one of the four. A product of two vectors
   has 0 dimensions. If out is not empty, the result is written into it: right shape, same dtype, row-major. */
int32_t pg_linalg_matmul(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b);
