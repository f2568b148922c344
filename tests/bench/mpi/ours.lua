-- Messages between two ranks: each measure prints "name seconds", the best of many short blocks on rank 0 (a busy
-- machine leaves some of them alone). rival.c and rival.py do
-- the same.
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank = world.rank
local blocks = tonumber((...))

local function report(name, body, times, parts)
  body(math.floor(times / 10) + 1)
  local best = math.huge
  for _ = 1, blocks do
    world:barrier()
    local start = mpi.wtime()
    body(times)
    best = math.min(best, (mpi.wtime() - start) / times / parts)
  end
  if rank == 0 then
    print(name, ("%.10g"):format(best))
  end
end

local function ping_pong(data)
  return function(times)
    for _ = 1, times do
      if rank == 0 then
        world:Send(data, 1)
        world:Recv(data, 1)
      else
        world:Recv(data, 0)
        world:Send(data, 0)
      end
    end
  end
end

local function tables(times)
  local value = { step = 1, name = "ping" }
  for _ = 1, times do
    if rank == 0 then
      world:send(value, 1)
      world:recv(1)
    else
      value = world:recv(0)
      world:send(value, 0)
    end
  end
end

local function numbers(times)
  for _ = 1, times do
    if rank == 0 then
      world:send(3.5, 1)
      world:recv(1)
    else
      world:send(world:recv(0), 0)
    end
  end
end

local given = array.range(0, 999999)
local total = array.empty_like(given)
local function allreduce(times)
  for _ = 1, times do
    world:Allreduce(given, total)
  end
end

report("latency", ping_pong(array.zeros(1)), 1000, 2)
report("transfer", ping_pong(array.zeros(2 ^ 20)), 2, 2)
report("number", numbers, 500, 2)
report("table", tables, 500, 2)
report("allreduce", allreduce, 2, 1)
