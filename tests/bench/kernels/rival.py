# The rivals of ours.lua: one case a run and one library: rival.py CASE numba|parallel|numexpr|numpy. Prints "check VALUE" and
# "seconds VALUE", the best of a few repeats, compiled before. Exits with 3 where that library has no form of the case.
import math
import sys
import time

import numpy as np


def generator(n, seed):
    """n numbers in [0, 1): the same multiplicative generator (Park and Miller, CACM 1988) as in ours.lua."""
    out = np.empty(n)
    state = seed
    for i in range(n):
        state = state * 16807 % 2147483647
        out[i] = state / 2147483647
    return out


def ramp(n, factor):
    """n numbers in [0, 1) that both sides compute alike and fast: fractional parts of multiples."""
    return np.arange(1, n + 1) * factor % 1.0


def best(run, repeats):
    shortest, value = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        value = run()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest, value


def numba_functions(parallel):
    import numba

    njit, jit_parallel, prange = numba.njit, numba.njit(parallel=True), numba.prange
    if not parallel:
        jit_parallel, prange = numba.njit, range

    @njit
    def particles(x, y, w, steps, dt):
        for _ in range(steps):
            for p in range(len(x)):
                norm = math.sqrt(x[p] * x[p] + y[p] * y[p])
                vx, vy = -y[p] / norm, x[p] / norm
                x[p] += dt * w[p] * vx
                y[p] += dt * w[p] * vy

    @jit_parallel
    def laplace(u, v):
        for i in prange(1, u.shape[0] - 1):
            for j in range(1, u.shape[1] - 1):
                v[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])

    @jit_parallel
    def pairwise(x, d):
        n, k = x.shape
        for i in prange(n):
            for j in range(n):
                s = 0.0
                for c in range(k):
                    t = x[i, c] - x[j, c]
                    s += t * t
                d[i, j] = math.sqrt(s)

    @jit_parallel
    def pairwise3(x, d):
        n = len(x)
        for i in prange(n):
            for j in range(n):
                s = 0.0
                for c in range(3):
                    t = x[i, c] - x[j, c]
                    s += t * t
                d[i, j] = math.sqrt(s)

    @jit_parallel
    def integral(n):
        h, s = 1.0 / n, 0.0
        for i in prange(n):
            s += ((i + 0.5) * h) ** 1.5
        return s * h

    @jit_parallel
    def cubic(x, y, out):
        for i in prange(len(x)):
            out[i] = x[i] ** 3 + 4 * math.sin(y[i])

    @jit_parallel
    def mixed(a, b, out):
        for i in prange(len(a)):
            out[i] = 2 * a[i] - 4.5 * b[i] + math.sin(a[i]) + math.cos(b[i])

    @jit_parallel
    def polynomial(x, out):
        for i in prange(len(x)):
            out[i] = 0.25 * x[i] ** 3 + 0.75 * x[i] ** 2 - 1.5 * x[i] - 2

    @njit
    def bubble(a):
        for last in range(len(a) - 1, 0, -1):
            for i in range(last):
                if a[i] > a[i + 1]:
                    a[i], a[i + 1] = a[i + 1], a[i]

    @njit
    def rows(a, b, n, out):
        for r in range(len(a)):
            s = 0.0
            dx = (b[r] - a[r]) / n[r]
            for i in range(n[r]):
                x = a[r] + i * dx
                s += x * (x - 1)
            out[r] = s * dx

    @njit
    def acf(mask, out):
        for lag in range(len(out)):
            s = 0.0
            for i in range(len(mask) - lag):
                s += mask[i] * mask[i + lag]
            out[lag] = s

    @jit_parallel
    def fractal(n, julia, counts):
        for row in prange(n):
            for col in range(n):
                re, im = -1.8 + 3.6 * col / n, -1.8 + 3.6 * row / n
                cre, cim = (-0.62772, -0.42193) if julia else (re, im)
                zre, zim = (re, im) if julia else (0.0, 0.0)
                k = 0
                while k < 300 and zre * zre + zim * zim < 4:
                    zre, zim = zre * zre - zim * zim + cre, 2 * zre * zim + cim
                    k += 1
                counts[row, col] = k

    return locals()


def numpy_functions():
    def particles(x, y, w, steps, dt):
        for _ in range(steps):
            norm = np.sqrt(x * x + y * y)
            vx, vy = -y / norm, x / norm
            x += dt * w * vx
            y += dt * w * vy

    def laplace(u, v):
        v[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])

    def pairwise(x, d):
        t = x[:, None, :] - x[None, :, :]
        d[:] = np.sqrt((t * t).sum(axis=2))

    def integral(n):
        s = 0.0
        for first in range(0, n, 100_000):  # in pieces that stay in the cache
            s += (((np.arange(first, first + 100_000) + 0.5) / n) ** 1.5).sum()
        return s / n

    def cubic(x, y, out):
        out[:] = x * x * x + 4 * np.sin(y)

    def mixed(a, b, out):
        out[:] = 2 * a - 4.5 * b + np.sin(a) + np.cos(b)

    def polynomial(x, out):
        out[:] = ((0.25 * x + 0.75) * x - 1.5) * x - 2

    def acf(mask, out):
        for lag in range(len(out)):
            out[lag] = mask[: len(mask) - lag] @ mask[lag:]

    return locals()


def numexpr_functions():
    import numexpr

    numexpr.set_num_threads(numexpr.detect_number_of_cores())

    def cubic(x, y, out):
        numexpr.evaluate("x**3 + 4*sin(y)", out=out)

    def mixed(a, b, out):
        numexpr.evaluate("2*a - 4.5*b + sin(a) + cos(b)", out=out)

    def polynomial(x, out):
        numexpr.evaluate("0.25*x**3 + 0.75*x**2 - 1.5*x - 2", out=out)

    return locals()


def main():
    case, library = sys.argv[1], sys.argv[2]
    if library in ("numba", "parallel"):
        functions = numba_functions(library == "parallel")
    else:
        functions = numpy_functions() if library == "numpy" else numexpr_functions()
    f = functions.get("fractal" if case in ("julia", "mandelbrot") else case)
    if f is None:
        sys.exit(3)
    if case == "particles":
        n = 1000

        def run():
            x, y, w = ramp(n, 0.31) + 0.1, ramp(n, 0.73) + 0.1, ramp(n, 0.17)
            f(x, y, w, 10000, 1e-5)
            return x[500]

        f(np.ones(2), np.ones(2), np.ones(2), 1, 0.1)
        result = best(run, 3)
    elif case == "laplace":
        u, v = ramp(4096 * 4096, 0.31).reshape(4096, 4096), np.zeros((4096, 4096))
        f(u, v)
        result = best(lambda: f(u, v), 8)[0], v[2000, 2000]
    elif case in ("pairwise", "pairwise3"):
        x, d = ramp(3000, 0.31).reshape(1000, 3), np.zeros((1000, 1000))
        f(x, d)
        result = best(lambda: f(x, d), 20)[0], d[10, 900]
    elif case == "integral":
        f(100_000)
        result = best(lambda: f(100_000_000), 3)
    elif case == "cubic":
        x, y, out = ramp(10**7, 0.31), ramp(10**7, 0.73), np.zeros(10**7)
        f(x, y, out)
        result = best(lambda: f(x, y, out), 5)[0], out[5000]
    elif case == "mixed":
        a, b, out = ramp(16 * 10**6, 0.31), ramp(16 * 10**6, 0.73), np.zeros(16 * 10**6)
        f(a, b, out)
        result = best(lambda: f(a, b, out), 5)[0], out[5000]
    elif case == "polynomial":
        x, out = ramp(10**7, 0.31), np.zeros(10**7)
        f(x, out)
        result = best(lambda: f(x, out), 5)[0], out[5000]
    elif case == "bubble":
        start = generator(999, 1)
        f(start.copy())
        a = start.copy()
        shortest = float("inf")
        for _ in range(50):
            a[:] = start
            shortest = min(shortest, best(lambda: f(a), 1)[0])
        result = shortest, a[499]
    elif case == "rows":
        a, b, n, out = generator(1000, 1), generator(1000, 2), (generator(1000, 3) * 900 + 100).astype(np.int64), np.zeros(1000)
        f(a, b, n, out)
        result = best(lambda: f(a, b, n, out), 50)[0], out[500]
    elif case == "acf":
        mask, out = (generator(200_000, 5) < 0.1).astype(np.float64), np.zeros(100)
        f(mask, out)
        result = best(lambda: f(mask, out), 5)[0], out[7]
    else:
        counts = np.zeros((1000, 1000), dtype=np.int64)
        f(1000, case == "julia", counts)
        result = best(lambda: f(1000, case == "julia", counts), 3)[0], counts.sum()
    print(f"check {float(result[1]):.17g}")
    print(f"seconds {result[0]:.9f}")


main()
