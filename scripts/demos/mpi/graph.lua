-- A graph of delayed calls, computed by ranks: rank 0 hands out calls as they become ready, the others compute, and all get the
-- values.
--   perigee mpirun -n 3 scripts/demos/mpi/graph.lua
local pg = require "perigee"
local tasks, world = pg.tasks, pg.mpi.world
tasks.scheduler("mpi")

local load = tasks.delayed(function(month)
  return pg.random.generator(month):normal(15, 8, { shape = 100000 })
end, { name = "load" })
local mean = tasks.delayed(pg.array.mean)
local warmest = tasks.delayed(function(means)
  local best = 1
  for month, m in ipairs(means) do
    best = m > means[best] and month or best
  end
  return { month = best, mean = means[best] }
end, { name = "warmest" })

local means = {}
for month = 1, 12 do
  means[month] = mean(load(month))
end
local result, report = tasks.compute(warmest(means), { report = true })
print(("month %d is the warmest, %.4f"):format(result.month, result.mean))
if world.rank == 0 then
  print(report)
end
