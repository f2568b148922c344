/* The rival of stencil.lua: the same loop over the same memory. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { n = 2048 };

__attribute__((noinline)) static void stencil(const double *u, double *v) {
  for (int i = 1; i < n - 1; i++)
    for (int j = 1; j < n - 1; j++)
      v[i * n + j] =
          0.2 * (u[i * n + j] + u[(i - 1) * n + j] + u[(i + 1) * n + j] + u[i * n + j - 1] + u[i * n + j + 1]);
}

int main(void) {
  double *u = calloc(n * n, sizeof *u), *v = calloc(n * n, sizeof *v), best = 1e9, sum = 0;
  for (int i = 1; i <= n; i++)
    for (int j = 1; j <= n; j++)
      u[(i - 1) * n + j - 1] = (i * 7 + j * 13) % 101;
  for (int r = 0; r < 10; r++) {
    clock_t start = clock();
    stencil(u, v);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    best = seconds < best ? seconds : best;
  }
  for (int i = 0; i < n * n; i++)
    sum += v[i];
  printf("check %.17g\nseconds %.9f\n", sum, best);
  return 0;
}
