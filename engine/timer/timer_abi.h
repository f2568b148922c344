/* Clocks as C, C++ and Lua see them. Seconds as doubles: at 200 days of uptime a double still resolves 2 ns. */

/* Which clock a function reads. */
enum pg_clock {
  PG_CLOCK_WALL = 0,   /* monotonic, counts from boot; comparable between processes of one machine */
  PG_CLOCK_CPU = 1,    /* CPU time of all threads of this process */
  PG_CLOCK_THREAD = 2  /* CPU time of the calling thread */
};

double pg_timer_now(void);
double pg_timer_cpu(void);
double pg_timer_thread(void);

/* Sleeps for at least `seconds` (up to 1e9; 0 or less returns at once), whatever signals arrive. */
void pg_timer_sleep(double seconds);

/* The smallest step seen between readings of a clock (enum pg_clock), taken back to back: what a reading costs, or the
   clock's own tick where that is larger. Takes well under a millisecond. NaN for a clock that is not there. */
double pg_timer_resolution(int32_t clock);
