# fib(24) under cProfile. Prints "seconds CPU-TIME".
import cProfile
import time


def fib(n):
    if n < 2:
        return n
    return fib(n - 1) + fib(n - 2)


best = 1e9
for _ in range(4):
    profile = cProfile.Profile()
    start = time.process_time()
    profile.runcall(fib, 24)
    best = min(best, time.process_time() - start)
print("seconds %.6f" % best)
