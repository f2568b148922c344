/* Linear algebra as C, C++ and Lua see it. Conventions as in array_abi.h. Work is done in float32, float64, complex64 or
   complex128; other dtypes are converted to float64. Axes before the last two are a batch. */

/* Matrix product as NumPy's matmul, in BLAS, where at least one is of the four dtypes. A product of two vectors has 0
   dimensions. Operands that BLAS can read where they lie, transposed ones too, are not copied. */
int32_t pg_linalg_matmul(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b);

/* Matrices a (..., n, n) and right-hand sides b (..., n, k) of one dtype, one of the four, with equal batch axes. A
   singular matrix is an argument error. */
int32_t pg_linalg_solve(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b);
int32_t pg_linalg_inv(pg_array *out, int32_t *collect, const pg_array *a);
/* The determinant, or, if logarithm is not NULL, its sign and the logarithm of its absolute value. */
int32_t pg_linalg_det(pg_array *out, int32_t *collect, pg_array *logarithm, const pg_array *a);
/* Lower L with a = L L^H, or upper U with a = U^H U; reads that triangle only. */
int32_t pg_linalg_cholesky(pg_array *out, int32_t *collect, const pg_array *a, int32_t upper);
/* q may be NULL. */
int32_t pg_linalg_qr(pg_array *r, int32_t *collect, pg_array *q, const pg_array *a, int32_t complete);
/* Two matrices of one dtype, one of the four. Singular values below rcond times the largest count as 0; rcond < 0 means
   the precision of the dtype. residuals is empty unless the rank is full and there are more rows than columns. */
int32_t pg_linalg_lstsq(pg_array *x, int32_t *collect, pg_array *residuals, pg_array *s, int32_t *rank,
                        const pg_array *a, const pg_array *b, double rcond);

/* Singular values, descending; vectors if u and vh are not NULL. */
int32_t pg_linalg_svd(pg_array *s, int32_t *collect, pg_array *u, pg_array *vh, const pg_array *a, int32_t full);
int32_t pg_linalg_pinv(pg_array *out, int32_t *collect, const pg_array *a, double rcond);
/* Of symmetric or Hermitian matrices: reads one triangle only, values ascend. v, the vectors as columns, may be NULL. */
int32_t pg_linalg_eigh(pg_array *w, int32_t *collect, pg_array *v, const pg_array *a, int32_t upper);
/* Of general matrices. Complex, but for real matrices with real values only. v may be NULL. */
int32_t pg_linalg_eig(pg_array *w, int32_t *collect, pg_array *v, const pg_array *a);

/* Norms over the last `axes` axes: order 2, 1, any other p, INFINITY or -INFINITY (largest, smallest), 0 (how many are not
   0). Real results, float32 for float32 and complex64. */
int32_t pg_linalg_norm(pg_array *out, int32_t *collect, const pg_array *a, int32_t axes, double order);

enum pg_metric {
  PG_EUCLIDEAN = 0,
  PG_SQEUCLIDEAN = 1,
  PG_CITYBLOCK = 2,
  PG_CHEBYSHEV = 3,
  PG_MINKOWSKI = 4, /* of order p */
  PG_COSINE = 5
};
/* Distances between the rows of two matrices (m x d, n x d): m x n, float64. Beside the result there is a transposed copy
   of b, and converted copies of what is not float64. */
int32_t pg_linalg_cdist(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b, int32_t metric, double p);
/* Between every two rows of one, in the order (1, 2), (1, 3), ... (2, 3), ...: a vector of n (n - 1) / 2. */
int32_t pg_linalg_pdist(pg_array *out, int32_t *collect, const pg_array *a, int32_t metric, double p);
/* That vector as a symmetric matrix with a diagonal of 0. */
int32_t pg_linalg_squareform(pg_array *out, int32_t *collect, const pg_array *a);
