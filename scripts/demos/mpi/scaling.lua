-- Strong and weak scaling: a fixed piece of work cut into more parts, and work that grows with the ranks. Run it with 1, 2 and
-- more ranks, and compare.
--   for n in 1 2 4; do perigee mpirun -n $n scripts/demos/mpi/scaling.lua; done
local pg = require "perigee"
local mpi = pg.mpi
local world = mpi.world

-- Relaxation of a row of cells: each is replaced by the mean of its neighbours. A rank has `cells` of them and one more at
-- either end, the halo, which it gets from its neighbours in each step.
local function relax(cells, steps)
  local u, v = pg.array.zeros(cells + 2), pg.array.zeros(cells + 2)
  local left = world.rank > 0 and world.rank - 1 or mpi.PROC_NULL
  local right = world.rank < world.size - 1 and world.rank + 1 or mpi.PROC_NULL
  if world.rank == 0 then
    u[1], v[1] = 1, 1
  end
  world:barrier()
  local start = mpi.wtime()
  for _ = 1, steps do
    world:Sendrecv(u[{ { 2, 2 } }], left, u[{ { cells + 2, cells + 2 } }], right)
    world:Sendrecv(u[{ { cells + 1, cells + 1 } }], right, u[{ { 1, 1 } }], left)
    for i = 2, cells + 1 do
      v[i] = 0.5 * (u[i - 1] + u[i + 1])
    end
    u, v = v, u
  end
  local seconds = world:allreduce(mpi.wtime() - start, "max")
  return seconds, world:allreduce(u[{ { 2, cells + 1 } }]:sum())
end

local cells, steps = 240000, 50
local strong, total = relax(math.floor(cells / world.size), steps)
local weak = relax(cells, steps)
if world.rank == 0 then
  print(("%d rank%s: strong %.4f s (%d cells in all), weak %.4f s (%d cells each); heat %.6f"):format(world.size,
    world.size == 1 and "" or "s", strong, cells, weak, cells, total))
  print("strong: as many times shorter as there are ranks would be perfect; weak: no longer than with one rank.")
end
