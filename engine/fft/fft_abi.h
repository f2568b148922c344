/* Discrete Fourier transforms as C, C++ and Lua see them. Plain C without directives or macros (see array_abi.h). */

/* Values are part of the ABI. */
enum pg_fft_kind {
  PG_FFT_FORWARD = 0,  /* exponent -2 pi i; any array -> complex */
  PG_FFT_BACKWARD = 1, /* exponent +2 pi i; any array -> complex */
  PG_FFT_REAL = 2,     /* forward, of a real array; only the first n / 2 + 1 of the last axis' n results */
  PG_FFT_TO_REAL = 3   /* backward, from such a half to a real array */
};

/* Transforms a along `count` different axes (from 0), cut or filled up with zeros to `lengths` there (1 or more; of
   TO_REAL's last axis: the length of the result), and multiplies by `scale`. float32 and complex64 are computed in single
   precision, all else in double. Returns a pg_status, as does the next. */
int32_t pg_fft_transform(pg_array *out, int32_t *collect, const pg_array *a, int32_t kind, int32_t count,
                         const int32_t *axes, const int64_t *lengths, double scale);
/* A row-major copy of a, of any dtype, rolled forward by shifts[d] (0 to the axis' length - 1) along every axis d. */
int32_t pg_fft_roll(pg_array *out, int32_t *collect, const pg_array *a, const int64_t *shifts);
