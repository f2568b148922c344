/* The rival of particles.lua. */
#include <math.h>
#include <stdio.h>
#include <time.h>

enum { n = 1000, steps = 10000 };
static const double dt = 1e-5;

__attribute__((noinline)) static void evolve(double *x, double *y, const double *omega) {
  for (int s = 0; s < steps; s++)
    for (int i = 0; i < n; i++) {
      double xi = x[i], yi = y[i];
      double scale = dt * omega[i] / sqrt(xi * xi + yi * yi);
      x[i] = xi - yi * scale;
      y[i] = yi + xi * scale;
    }
}

int main(void) {
  static double x[n], y[n], omega[n];
  double best = 1e9, sum = 0;
  for (int r = 0; r < 3; r++) {
    for (int i = 1; i <= n; i++) {
      x[i - 1] = (double)i / n;
      y[i - 1] = 1 - (double)i / n;
      omega[i - 1] = i % 7 - 3;
    }
    clock_t start = clock();
    evolve(x, y, omega);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    best = seconds < best ? seconds : best;
  }
  for (int i = 0; i < n; i++)
    sum += x[i];
  printf("check %.17g\nseconds %.9f\n", sum, best);
  return 0;
}
