/* The array as C, C++ and Lua see it: one declaration, read by all three. Plain C without directives or macros: CMake
   embeds these bytes for LuaJIT's ffi.cdef and C++ includes them inside extern "C" (after <stdint.h>). */

/* Element types. Values are part of the ABI. */
enum pg_dtype {
  PG_BOOL = 0,
  PG_UINT8 = 1,
  PG_INT32 = 2,
  PG_INT64 = 3,
  PG_FLOAT32 = 4,
  PG_FLOAT64 = 5,
  PG_INT8 = 6,
  PG_INT16 = 7,
  PG_UINT16 = 8,
  PG_UINT32 = 9,
  PG_UINT64 = 10,
  PG_COMPLEX64 = 11,
  PG_COMPLEX128 = 12
};

/* _flags */
enum pg_array_flags {
  PG_ARRAY_READONLY = 1, /* writes through this array are refused */
  PG_ARRAY_VIEW = 2      /* shares its block with the array it was taken from */
};

/* A reference-counted piece of memory. Headers live in a pool that is never unmapped, so a stale pointer to one may
   always be read; `generation` changes when the memory goes, which is how a row (below) notices. */
typedef struct pg_block {
  void *memory;
  int64_t bytes;
  uint64_t generation;
  int64_t references; /* changed atomically, by C++ only */
  void (*release)(void *memory, void *context); /* how borrowed memory is given back; NULL for our own */
  void *context;
  int64_t owner; /* account that pays for our own memory */
} pg_block;

/* An n-dimensional array, 0 to 8 dimensions. Strides are in elements and may be zero (broadcast) or negative. `_data`
   points at element (1, ..., 1). A released array has _block NULL, _data NULL and every shape entry 0. */
typedef struct pg_array {
  void *_data;
  pg_block *_block;
  int64_t _size;   /* number of elements */
  int32_t _dtype;  /* enum pg_dtype */
  int32_t _ndim;
  int32_t _flags;  /* enum pg_array_flags */
  int32_t _device; /* 0: host memory */
  int64_t _shape[8];
  int64_t _strides[8];
} pg_array;

/* What a[i] gives for an array of 2 to 7 dimensions: a view that owns nothing, so that compiled code keeps it in
   registers. Every access compares _generation with the block's. No member is an array, because LuaJIT could then
   create a row only by filling it with zeros first, behind a barrier that keeps every load of the array's fields inside
   the loop. Shapes are unsigned for bounds checks of one comparison. */
typedef struct pg_row {
  void *_data;
  pg_block *_block;
  uint64_t _generation;
  int32_t _dtype;
  int16_t _ndim;
  int16_t _flags; /* those of the array it was taken from */
  uint64_t _shape0;
  int64_t _strides0;
  uint64_t _shape1;
  int64_t _strides1;
  uint64_t _shape2;
  int64_t _strides2;
  uint64_t _shape3;
  int64_t _strides3;
  uint64_t _shape4;
  int64_t _strides4;
  uint64_t _shape5;
  int64_t _strides5;
} pg_row;

/* Operations. Values are part of the ABI. */
enum pg_binary_op {
  PG_ADD = 0,
  PG_SUBTRACT = 1,
  PG_MULTIPLY = 2,
  PG_DIVIDE = 3, /* integers divide to float64 */
  PG_POWER = 4,
  PG_REMAINDER = 5, /* sign of the divisor, as Lua's % */
  PG_MINIMUM = 6,   /* NaN wins */
  PG_MAXIMUM = 7,
  PG_EQ = 8, /* from here to PG_GE the result is bool */
  PG_NE = 9,
  PG_LT = 10,
  PG_LE = 11,
  PG_GT = 12,
  PG_GE = 13,
  PG_FLOOR_DIVIDE = 14,
  PG_FMOD = 15, /* sign of the dividend, as C's */
  PG_FMIN = 16, /* NaN loses */
  PG_FMAX = 17,
  PG_ATAN2 = 18, /* these give floats */
  PG_HYPOT = 19,
  PG_COPYSIGN = 20,
  PG_NEXTAFTER = 21,
  PG_LOGADDEXP = 22,
  PG_LDEXP = 23,
  PG_LOGICAL_AND = 24, /* these give bool */
  PG_LOGICAL_OR = 25,
  PG_LOGICAL_XOR = 26,
  PG_BITWISE_AND = 27, /* of integers and bool */
  PG_BITWISE_OR = 28,
  PG_BITWISE_XOR = 29,
  PG_LEFT_SHIFT = 30, /* of integers */
  PG_RIGHT_SHIFT = 31,
  PG_GCD = 32,
  PG_LCM = 33,
  PG_HEAVISIDE = 34, /* these give floats */
  PG_LOGADDEXP2 = 35,
  PG_FDIM = 36,
  PG_IEEE_REMAINDER = 37
};
enum pg_unary_op {
  PG_NEGATIVE = 0,
  PG_ABS = 1,
  PG_SQUARE = 2,
  PG_FLOOR = 3,
  PG_CEIL = 4,
  PG_SQRT = 5, /* to PG_RADIANS: integers become float64 */
  PG_CBRT = 6,
  PG_EXP = 7,
  PG_LOG = 8,
  PG_SIN = 9,
  PG_COS = 10,
  PG_TAN = 11,
  PG_TANH = 12,
  PG_EXP2 = 13,
  PG_EXPM1 = 14,
  PG_LOG2 = 15,
  PG_LOG10 = 16,
  PG_LOG1P = 17,
  PG_ASIN = 18,
  PG_ACOS = 19,
  PG_ATAN = 20,
  PG_SINH = 21,
  PG_COSH = 22,
  PG_ASINH = 23,
  PG_ACOSH = 24,
  PG_ATANH = 25,
  PG_ERF = 26,
  PG_ERFC = 27,
  PG_GAMMA = 28,
  PG_LGAMMA = 29,
  PG_RECIPROCAL = 30,
  PG_DEGREES = 31,
  PG_RADIANS = 32,
  PG_POSITIVE = 33,
  PG_SIGN = 34,
  PG_TRUNC = 35,
  PG_ROUND = 36, /* halves to even */
  PG_CONJ = 37,
  PG_BITWISE_NOT = 38,
  PG_LOGICAL_NOT = 39, /* to PG_SIGNBIT: the result is bool */
  PG_ISNAN = 40,
  PG_ISINF = 41,
  PG_ISFINITE = 42,
  PG_SIGNBIT = 43,
  PG_ANGLE = 44,
  PG_LOGB = 45 /* integers become float64 */
};
enum pg_ternary_op {
  PG_WHERE = 0, /* b where a is true (not 0), else c */
  PG_CLIP = 1,  /* a, but at least b and then at most c; NaN wins */
  PG_FMA = 2    /* a * b + c, rounded once */
};

/* Functions. Results (`out` first) must be empty: zeroed or released; they are filled with an owning descriptor. Those
   that return int32_t return a pg_status and leave a message for pg_last_message. `collect` is set to 1 when so much
   array memory was allocated that the caller should collect garbage, and left alone otherwise. */

/* A new row-major array: zeroed if `zero`, else with undefined contents. */
int32_t pg_array_create(pg_array *out, int32_t *collect, int32_t dtype, int32_t ndim, const int64_t *shape,
                        int32_t zero);
/* Another descriptor of the same memory; the caller may then narrow its shape and strides. */
int32_t pg_array_share(pg_array *out, int32_t *collect, const pg_array *a);
/* An array that keeps a row's memory; an argument error if that memory is gone. */
int32_t pg_array_from_row(pg_array *out, int32_t *collect, const pg_row *row);
/* Gives up this descriptor's share of the block and empties it. Safe to repeat. */
void pg_array_release(pg_array *a);
/* A row-major copy, converted to dtype. A value that the new dtype cannot hold is an argument error; fractions are cut
   towards zero. */
int32_t pg_array_astype(pg_array *out, int32_t *collect, const pg_array *a, int32_t dtype);
/* The same, but what an integer dtype cannot hold is cut to its bits, as C's conversions do; NaN and what is beyond
   int64 become 0. */
int32_t pg_array_astype_wrap(pg_array *out, int32_t *collect, const pg_array *a, int32_t dtype);
/* Writes b, broadcast, into every element of a. Converts within a kind and upwards (float64 to float32, int32 to
   float64), not from floats to integers. */
int32_t pg_array_assign(const pg_array *a, const pg_array *b);
/* out = a op b with broadcasting and NumPy 2's promotion. If out is not empty, the result is written into it. */
int32_t pg_array_binary(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, const pg_array *b);
int32_t pg_array_unary(pg_array *out, int32_t *collect, int32_t op, const pg_array *a);
int32_t pg_array_ternary(pg_array *out, int32_t *collect, int32_t op, const pg_array *a, const pg_array *b,
                         const pg_array *c);
/* The dtype in which two dtypes meet. */
int32_t pg_array_promote(int32_t a, int32_t b);
/* Matrix product as NumPy's matmul: axes before the last two are a batch, integers wrap, a product of two vectors has 0
   dimensions. Without BLAS (see linalg_abi.h): for integers, small products, and where BLAS is missing. */
int32_t pg_array_matmul(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b);
/* *result = 1 if shapes are equal and every element is (NaN equals NaN only if equal_nan). */
int32_t pg_array_equal(const pg_array *a, const pg_array *b, int32_t equal_nan, int32_t *result);
/* *result = 1 if every |a - b| <= atol + rtol * |b|, broadcast. */
int32_t pg_array_allclose(const pg_array *a, const pg_array *b, double rtol, double atol, int32_t equal_nan,
                          int32_t *result);
/* out (bool) = |a - b| <= atol + rtol * |b|, broadcast. */
int32_t pg_array_isclose(pg_array *out, int32_t *collect, const pg_array *a, const pg_array *b, double rtol,
                         double atol, int32_t equal_nan);
/* NumPy-like text, shortened in the middle above 1000 elements. It is the thread's until its next call. */
int32_t pg_array_format(const pg_array *a, const char **text, int64_t *length);
