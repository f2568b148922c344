# The rivals of ours.lua: one case a run, named by the first argument. Prints "check VALUE" and "seconds VALUE", the best of
# a few repeats (each case says of what).
import concurrent.futures
import multiprocessing
import sys
import time


def best(run, repeats):
    """The shortest of `repeats` runs in seconds, and the last run's value."""
    shortest, value = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        value = run()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest, value


def square(x):
    return x * x


def integral(workers):
    """x^1.5 over [0, 1] by n = 1e8 midpoints in Numba's prange."""
    import numba

    numba.set_num_threads(workers)

    @numba.njit(parallel=True)
    def integrate(n):
        total = 0.0
        h = 1.0 / n
        for i in numba.prange(n):
            total += ((i + 0.5) * h) ** 1.5
        return total * h

    integrate(1000)
    return best(lambda: integrate(100_000_000), 3)


def pool_start():
    def run():
        with multiprocessing.Pool(2) as pool:
            return pool.apply(square, (3,))

    return best(run, 5)


def tiny_map():
    """1e5 squares by multiprocessing.Pool(2).map, the pool's start left out."""
    values = list(range(100_000))
    with multiprocessing.Pool(2) as pool:
        pool.map(square, values[:1000])
        return best(lambda: sum(pool.map(square, values)), 5)


def task():
    """1e4 tasks submitted to two threads and their results; the time of one."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        def run():
            futures = [pool.submit(square, i) for i in range(10_000)]
            return sum(f.result() for f in futures)

        run()
        seconds, value = best(run, 5)
        return seconds / 10_000, value


def process_task():
    """1000 round trips of one task to a process; the time of one."""
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        def run():
            return sum(pool.submit(square, i).result() for i in range(1000))

        run()
        seconds, value = best(run, 3)
        return seconds / 1000, value


def delayed():
    """A graph of 1e4 independent nodes and their sum under Dask's threads; the time of one node."""
    import dask

    def run():
        nodes = [dask.delayed(square, pure=False)(i) for i in range(10_000)]
        return dask.delayed(sum)(nodes).compute(scheduler="threads", num_workers=2)

    seconds, value = best(run, 2)
    return seconds / 10_000, value


def main():
    case = sys.argv[1]
    cases = {
        "integral-2": lambda: integral(2),
        "pool-start": pool_start,
        "tiny-map": tiny_map,
        "task": task,
        "process-task": process_task,
        "delayed": delayed,
    }
    seconds, value = cases[case]()
    print(f"check {float(value):.17g}")
    print(f"seconds {seconds:.9f}")


if __name__ == "__main__":
    main()
