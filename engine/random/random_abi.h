/* Counter-based random numbers (Philox4x32-10) as C, C++ and Lua see them.

   A generator is a key, a nonce and a position. Position s (a "slot") names 64 random bits, and every draw, whatever its
   kind, takes exactly one slot; so a draw depends on the slot alone, never on how draws were batched or by whom. */
typedef struct pg_random {
  uint32_t _key[2];
  uint32_t _nonce[2];   /* the upper half of the counter */
  uint64_t _base;       /* the slot of _uniform[0]; modulo 2^64 */
  int32_t _next;        /* the next draw is slot _base + _next; 64: nothing is left in _uniform */
  int32_t _reserved;
  double _uniform[64];  /* numbers in [0, 1), generated ahead so that a scalar draw in Lua is one load */
} pg_random;

/* What is drawn, with its parameters a and b. Values are part of the ABI. */
enum pg_distribution {
  PG_RANDOM_UNIFORM = 0,     /* in [a, b) */
  PG_RANDOM_INTEGERS = 1,    /* in [a, b], integers whose difference is below 2^63 */
  PG_RANDOM_NORMAL = 2,      /* mean a, deviation b */
  PG_RANDOM_EXPONENTIAL = 3, /* mean a */
  PG_RANDOM_GAMMA = 4,       /* shape a, scale b */
  PG_RANDOM_POISSON = 5,     /* mean a */
  PG_RANDOM_BINOMIAL = 6     /* a trials of probability b */
};

/* Starts at slot 0. pg_random(key = (k0, k1), nonce = (k2, k3)). */
void pg_random_init(pg_random *generator, uint32_t k0, uint32_t k1, uint32_t k2, uint32_t k3);
/* Stream `number` of a generator: independent of it and of its other streams; does not depend on its position. */
void pg_random_stream(const pg_random *generator, uint64_t number, pg_random *stream);
/* Fills _uniform from the current slot on; _next becomes 0. */
void pg_random_refill(pg_random *generator);

/* One draw. The caller has checked the parameters. */
double pg_random_draw(pg_random *generator, int32_t distribution, double a, double b);
/* Fills a contiguous array, in row-major order, with the numbers that as many single draws would give, rounded to its
   dtype. Integers: any dtype but complex that holds a and b. Poisson and binomial: int32, int64, float32, float64. The
   others: float32 and float64. Returns a pg_status, as do those below. */
int32_t pg_random_fill(pg_random *generator, pg_array *out, int32_t distribution, double a, double b);
/* The same for integers in [low, high], of any size: modulo 2^64, so that they may be those of uint64. */
int32_t pg_random_integers(pg_random *generator, pg_array *out, int64_t low, int64_t high);

/* Puts the entries of the first axis in random order, in place; any dtype and strides (Fisher-Yates from the end; one
   draw for each entry but the first). */
int32_t pg_random_shuffle(pg_random *generator, const pg_array *array);
/* Fills out, a contiguous int64 array, with the numbers from 1 to its size, shuffled like that. */
int32_t pg_random_permutation(pg_random *generator, pg_array *out);
/* Fills out, a contiguous int64 array, with numbers from 1 to n: different ones (out._size draws), or with the chances
   that the contiguous float64 array `weights` gives; these with replacement (out._size draws) or without (n draws). */
int32_t pg_random_sample(pg_random *generator, pg_array *out, int64_t n);
int32_t pg_random_choose(pg_random *generator, pg_array *out, const pg_array *weights, int32_t replace);
