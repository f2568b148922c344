-- Compute while messages travel: a call that begins returns a request at once, and the request's wait gives the result.
--   perigee mpirun -n 4 scripts/demos/mpi/overlap.lua
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size

-- Table form: the root's settings reach the others while all make their own part of the data.
local settings = world:ibcast(rank == 0 and { blocks = 4, length = 100000 } or nil)
local generator = pg.random.generator(rank)
settings = settings:wait()

-- Array form: block by block. While the ranks' sums of one block are added up, the next block is computed.
local function block(i)
  return generator:uniform(0, 1, { shape = settings.length }) * i
end
local begun = {}
for i = 1, settings.blocks do
  begun[i] = world:Iallreduce(block(i)) -- the block must not be changed before the request is done
end
local sums = mpi.waitall(begun)
for i = 1, settings.blocks do
  assert(math.abs(sums[i]:mean() / (i * size) - 0.5) < 0.01)
end

-- What one has begun must be waited for, on every rank, and begun in the same order everywhere.
local hosts = world:igather(mpi.host_name()):wait()
if rank == 0 then
  print(("%d ranks, the first on %s: mean of the last block's sum %.4f"):format(size, hosts[1], sums[#sums]:mean()))
end
