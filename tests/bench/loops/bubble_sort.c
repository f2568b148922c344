/* The rival of bubble_sort.lua. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { n = 999 };

__attribute__((noinline)) static void sort(double *a) {
  for (int last = n - 1; last >= 1; last--)
    for (int i = 0; i < last; i++) {
      double x = a[i], y = a[i + 1];
      if (x > y) {
        a[i] = y;
        a[i + 1] = x;
      }
    }
}

static uint32_t state = 1;
static int32_t random_integer(void) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return (int32_t)state;
}

int main(void) {
  static double a[n];
  double best = 1e9;
  for (int r = 0; r < 200; r++) {
    for (int i = 0; i < n; i++)
      a[i] = random_integer();
    clock_t start = clock();
    sort(a);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    best = seconds < best ? seconds : best;
  }
  printf("check %.17g\nseconds %.9f\n", a[499], best);
  return 0;
}
