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

/* Starts at slot 0. pg_random(key = (k0, k1), nonce = (k2, k3)). */
void pg_random_init(pg_random *generator, uint32_t k0, uint32_t k1, uint32_t k2, uint32_t k3);
/* Stream `number` of a generator: independent of it and of its other streams; does not depend on its position. */
void pg_random_stream(const pg_random *generator, uint64_t number, pg_random *stream);
/* Fills _uniform from the current slot on; _next becomes 0. */
void pg_random_refill(pg_random *generator);

/* One draw. Uniform in [low, high), integer in [low, high] (high - low below 2^63), normal. */
double pg_random_uniform(pg_random *generator, double low, double high);
double pg_random_integer(pg_random *generator, double low, double high);
double pg_random_normal(pg_random *generator, double mean, double deviation);

/* Fill an array, in row-major order, with the numbers that as many single draws would give. The array must be contiguous;
   float64 for uniform and normal; any dtype but bool that holds low and high for integer. Return a pg_status. */
int32_t pg_random_fill_uniform(pg_random *generator, pg_array *out, double low, double high);
int32_t pg_random_fill_integer(pg_random *generator, pg_array *out, double low, double high);
int32_t pg_random_fill_normal(pg_random *generator, pg_array *out, double mean, double deviation);
/* Shuffles a 1-D array of any dtype and stride in place (Fisher-Yates from the end; n - 1 draws). */
int32_t pg_random_shuffle(pg_random *generator, pg_array *array);
