-- How long a message takes between two neighbours of a ring, from 8 bytes to 4 MiB: flat while it is latency, a slope once it is
-- bandwidth. With a name it saves the figure.
-- perigee mpirun -n 2 scripts/demos/mpi/ring.lua [ring.svg]
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size
local left, right = (rank - 1) % size, (rank + 1) % size

-- Seconds of one message of n numbers, the best of a few rounds.
local function measure(n)
  local here, there = array.zeros(n), array.empty(n)
  local times, best = n > 1e4 and 4 or 200, math.huge
  for _ = 1, 4 do
    world:barrier()
    local start = mpi.wtime()
    for _ = 1, times do
      world:Sendrecv(here, right, there, left)
    end
    best = math.min(best, (mpi.wtime() - start) / times)
  end
  return best
end

local bytes, micros = {}, {}
for power = 0, 19 do
  local n = 2 ^ power
  bytes[#bytes + 1], micros[#micros + 1] = 8 * n, measure(n) * 1e6
end

if rank == 0 then
  local last = #bytes
  print(("%d ranks: latency %.2f us, bandwidth %.2f GB/s"):format(size, micros[1], bytes[last] / micros[last] / 1e3))
  for i = 1, last, 3 do
    print(("%9d bytes %10.2f us"):format(bytes[i], micros[i]))
  end
  local name = ...
  if name then
    local figure = pg.plot.line(bytes, micros, { title = "A message to the next rank", xlabel = "bytes", ylabel = "us", xlog = true,
      ylog = true })
    figure:save(name)
    print("saved " .. name)
  end
end
