# The rival of ours.lua: Numba's CUDA simulator, one case a run: rival.py CASE SIZE. Prints "check VALUE seconds SECONDS". Exits
# with 3 where this Numba has no simulator.
import os
import sys
import time

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

import numpy as np

try:
    from numba import cuda, float32
except ImportError as problem:
    print(problem, file=sys.stderr)
    sys.exit(3)


def ramp(shape, factor):
    n = int(np.prod(shape))
    return (np.arange(1, n + 1, dtype=np.float64) * factor % 1).astype(np.float32).reshape(shape)


@cuda.jit
def saxpy(a, x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        y[i] = a * x[i] + y[i]


@cuda.jit
def stencil(u, v):
    j, i = cuda.grid(2)
    if 0 < i < u.shape[0] - 1 and 0 < j < u.shape[1] - 1:
        v[i, j] = np.float32(0.25) * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])


@cuda.jit
def matmul(a, b, c):
    left = cuda.shared.array((16, 16), float32)
    right = cuda.shared.array((16, 16), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    j, i = cuda.grid(2)
    s = np.float32(0)
    for first in range(0, a.shape[0], 16):
        left[y, x] = a[i, first + x]
        right[y, x] = b[first + y, j]
        cuda.syncthreads()
        for k in range(16):
            s += left[y, k] * right[k, x]
        cuda.syncthreads()
    c[i, j] = s


case, n = sys.argv[1], int(sys.argv[2])
if case == "saxpy":
    x, y = ramp((n,), 0.37), ramp((n,), 0.61)
    result = y
    launch = lambda: saxpy[(n + 255) // 256, 256](np.float32(0.5), x, y)
elif case == "stencil":
    u, v = ramp((n, n), 0.37), np.zeros((n, n), np.float32)
    result = v
    launch = lambda: stencil[((n + 31) // 32, (n + 7) // 8), (32, 8)](u, v)
else:
    a, b, c = ramp((n, n), 0.37), ramp((n, n), 0.61), np.zeros((n, n), np.float32)
    result = c
    launch = lambda: matmul[(n // 16, n // 16), (16, 16)](a, b, c)

start = time.perf_counter()
launch()
seconds = time.perf_counter() - start
check = float(result.astype(np.float64).sum())
start = time.perf_counter()
launch()
seconds = min(seconds, time.perf_counter() - start)
print(f"check {check:.9g} seconds {seconds:.9g}")
