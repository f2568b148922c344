# The rival's side of the suite of arrays: the orders and answers of ours.lua.
import math
import sys
import time

import numpy as np

try:
    import pandas
except ImportError:
    pandas = None
try:
    import numexpr as ne
except ImportError:
    ne = None

rng = np.random.default_rng(1)


def uniform(shape, low, high, dtype):
    return rng.uniform(low, high, shape).astype(dtype)


def make(name, n, dtype):
    v = {}
    ranges = {"pair": (1, 2), "masked": (1, 2), "positive": (0.001, 1000), "wide": (-10, 10)}
    if name in ranges:
        v["a"], v["b"] = (uniform(n, *ranges[name], dtype) for _ in range(2))
        v["m"] = rng.uniform(0, 1, n) < 0.5
    elif name == "powers":
        v["a"], v["b"] = uniform(n, 0.1, 10, dtype), uniform(n, -3, 3, dtype)
    elif name == "matrix":
        rows = math.floor(math.sqrt(n / 1.6))
        v["a"] = uniform((rows, n // rows), 1, 2, dtype)
    elif name == "square":
        side = math.isqrt(n)
        v["a"], v["b"] = (uniform((side, side), -1, 1, dtype) for _ in range(2))
    elif name == "tall":
        v["a"] = uniform((n // 100, 100), -1, 1, dtype)
    elif name == "generator":
        v["g"] = np.random.default_rng(1)
    elif name == "list":
        v["t"] = [i * 0.7 for i in range(1, n + 1)]
    return v


body = """
def loop(count):
    for _ in range(count):
        {}
"""

# Inputs as arguments, as in `def loop(count, a=a)`: local variables, like those of the Lua side.
loop = None


def prepare(name, n, dtype, path, statement):
    global loop
    loop = None
    v = make(name, n, dtype)
    v.update(n=n, dtype=np.dtype(dtype), path=path, np=np, pandas=pandas, ne=ne)
    text = body.format(statement).replace("count)", "count, " + ", ".join(f"{k}={k}" for k in v) + ")", 1)
    exec(text, v)
    loop = v["loop"]
    loop(1)


for line in sys.stdin:
    order, _, rest = line.rstrip("\n").partition("\t")
    answer = "ok"
    if order == "run":
        count = int(rest)
        wall, cpu = time.perf_counter(), time.process_time()
        loop(count)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        answer = f"{cpu:.9g} {wall:.9g}"
    elif order == "prepare":
        name, n, dtype, path, statement = rest.split("\t", 4)
        try:
            prepare(name, int(n), dtype, path, statement)
        except Exception as e:
            answer = "missing " + " ".join(str(e).split())
    elif order == "threads":
        if ne:
            ne.set_num_threads(int(rest))
    elif order == "version":
        answer = np.__version__
    print(answer, flush=True)
