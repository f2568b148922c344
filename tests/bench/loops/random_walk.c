/* The rival of random_walk.lua. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { n = 1000000 };
static const double dx = 0.01;

__attribute__((noinline)) static uint32_t walk(double *x, uint32_t state) {
  x[0] = 0;
  for (int i = 1; i < n; i++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    x[i] = x[i - 1] + dx * (2 * (int)(state & 1) - 1);
  }
  return state;
}

int main(void) {
  static double x[n];
  double best = 1e9;
  uint32_t state = 1;
  for (int r = 0; r < 20; r++) {
    clock_t start = clock();
    state = walk(x, state);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    best = seconds < best ? seconds : best;
  }
  printf("check %.17g\nseconds %.9f\n", x[n - 1], best);
  return 0;
}
