-- pi by darts: each rank throws its own share, and one reduction adds them up. Streams of random numbers are those of the
-- rank, so that the result does not depend on who is faster.
--   perigee mpirun -n 4 scripts/demos/mpi/pi.lua [darts]
local pg = require "perigee"
local mpi, random = pg.mpi, pg.random
local world = mpi.world
local darts = tonumber((...)) or 4e6

local mine = math.floor(darts / world.size) + (world.rank < darts % world.size and 1 or 0)
local rng = random.generator(2024):stream(world.rank + 1)

local start = mpi.wtime()
local hits, block = 0, 100000
for first = 1, mine, block do
  local n = math.min(block, mine - first + 1)
  local x, y = rng:uniform({ shape = n }), rng:uniform({ shape = n })
  hits = hits + (x * x + y * y):lt(1):count_nonzero()
end
local seconds = mpi.wtime() - start

local total = world:reduce(hits) -- on rank 0; "sum" is what it does unless told otherwise
local slowest = world:reduce(seconds, "max")
if world.rank == 0 then
  print(("pi is about %.5f by %d darts on %d ranks, %.3f s for the slowest"):format(4 * total / darts, darts, world.size,
    slowest))
  assert(math.abs(4 * total / darts - math.pi) < 0.02)
end
