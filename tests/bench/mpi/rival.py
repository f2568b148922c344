# The measures of ours.lua in mpi4py: each prints "name seconds", the best of many short blocks on rank 0. Two ranks.
import sys

import numpy
from mpi4py import MPI

world = MPI.COMM_WORLD
rank = world.rank
blocks = int(sys.argv[1])


def report(name, body, times, parts):
    body(times // 10 + 1)
    best = float("inf")
    for _ in range(blocks):
        world.Barrier()
        start = MPI.Wtime()
        body(times)
        best = min(best, (MPI.Wtime() - start) / times / parts)
    if rank == 0:
        print(name, best, flush=True)


def ping_pong(data):
    def body(times):
        for _ in range(times):
            if rank == 0:
                world.Send(data, 1)
                world.Recv(data, 1)
            else:
                world.Recv(data, 0)
                world.Send(data, 0)

    return body


def objects(times):
    value = {"step": 1, "name": "ping"}
    for _ in range(times):
        if rank == 0:
            world.send(value, 1)
            world.recv(source=1)
        else:
            value = world.recv(source=0)
            world.send(value, 0)


def numbers(times):
    for _ in range(times):
        if rank == 0:
            world.send(3.5, 1)
            world.recv(source=1)
        else:
            world.send(world.recv(source=0), 0)


given = numpy.arange(1_000_000.0)
total = numpy.empty_like(given)


def allreduce(times):
    for _ in range(times):
        world.Allreduce(given, total)


report("latency", ping_pong(numpy.zeros(1)), 1000, 2)
report("transfer", ping_pong(numpy.zeros(1 << 20)), 2, 2)
report("number", numbers, 500, 2)
report("table", objects, 500, 2)
report("allreduce", allreduce, 2, 1)
