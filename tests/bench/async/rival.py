# The same as ours.lua, by asyncio: rival.py NAME COUNT.
import asyncio
import concurrent.futures
import sys
import time

name, count = sys.argv[1], int(sys.argv[2])


async def nothing():
    pass


async def switch(n):
    for _ in range(n):
        await asyncio.sleep(0)


async def switch_among_100(n):
    await asyncio.gather(*[switch(n // 100) for _ in range(100)])


async def task(n):
    for _ in range(n):
        await asyncio.create_task(nothing())


async def sleeping_tasks(n):
    await asyncio.gather(*[asyncio.sleep(0.1) for _ in range(n)])


async def queue(n):
    q = asyncio.Queue(10)

    async def produce():
        for i in range(n):
            await q.put(i)

    producer = asyncio.create_task(produce())
    for _ in range(n):
        await q.get()
    await producer


async def echo(n):
    async def handle(reader, writer):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    for _ in range(n):
        writer.write(b"hello\n")
        await writer.drain()
        assert await reader.readline() == b"hello\n"
    writer.close()
    server.close()
    await asyncio.sleep(0.01)


executor = concurrent.futures.ThreadPoolExecutor(1)


async def run_in_pool(n):
    loop = asyncio.get_running_loop()
    for _ in range(n):
        await loop.run_in_executor(executor, int)


async def run(n):
    pass


operations = {
    "switch": (200000, switch),
    "switch among 100": (200000, switch_among_100),
    "task": (50000, task),
    "sleeping tasks": (100000, sleeping_tasks),
    "queue": (100000, queue),
    "echo": (5000, echo),
    "run_in_pool": (5000, run_in_pool),
    "run": (1, run),
}
n, function = operations[name]
least = float("inf")
for _ in range(count):
    start = time.process_time()
    asyncio.run(function(n))
    least = min(least, (time.process_time() - start) / n)
print(f"{least:.9g}")
