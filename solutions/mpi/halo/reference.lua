-- Blocks of inner rows, with a row more above and below; Sendrecv with both neighbours before each step.
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size

-- One step for the rows of a between the first and the last: what comes from the left, was here, and comes from both
-- sides; the more there is, the more of it decays.
local function step(a, b)
  local rows, columns = a.shape[1], a.shape[2]
  for i = 2, rows - 1 do
    local above, here, below, to = a[i - 1], a[i], a[i + 1], b[i]
    local left = to[1]
    for j = 2, columns do
      local x = 0.5 * left + 0.25 * here[j] + 0.125 * (above[j] + below[j])
      left = x / (1 + 0.5 * x)
      to[j] = left
    end
  end
end

local function solve(grid, steps)
  local job = world:bcast({ rows = grid and grid.shape[1], columns = grid and grid.shape[2], steps = steps }, 0)
  -- Where there are more ranks than inner rows, the last ones have nothing to do: all who have, have neighbours who have.
  local inner = math.max(job.rows - 2, 0)
  local workers = math.max(math.min(size, inner), 1)
  local function rows_of(r)
    return math.floor(inner * r / workers) + 2, math.floor(inner * (r + 1) / workers) + 1
  end
  if rank >= workers then
    return
  end

  local first, last = rows_of(rank)
  local a
  if rank == 0 then
    for r = 1, workers - 1 do
      local from, to = rows_of(r)
      world:Send(grid[{ { from - 1, to + 1 } }], r)
    end
    a = grid[{ { 1, last + 1 } }]:copy()
  else
    a = array.empty(last - first + 3, job.columns)
    world:Recv(a, 0)
  end
  local b = a:copy()
  local rows = a.shape[1]
  local up = rank > 0 and rank - 1 or mpi.PROC_NULL
  local down = rank < workers - 1 and rank + 1 or mpi.PROC_NULL

  for s = 1, job.steps do
    step(a, b)
    a, b = b, a
    if s < job.steps then
      -- All send up and receive from below, then the other way round. What has no neighbour there goes nowhere.
      world:Sendrecv(a[{ { 2, 2 } }], up, a[{ { rows, rows } }], down)
      world:Sendrecv(a[{ { rows - 1, rows - 1 } }], down, a[{ { 1, 1 } }], up)
    end
  end

  if rank > 0 then
    world:Send(a[{ { 2, rows - 1 } }], 0)
    return
  end
  local result = grid:copy()
  result[{ { 1, rows - 1 } }] = a[{ { 1, rows - 1 } }]
  for r = 1, workers - 1 do
    local from, to = rows_of(r)
    world:Recv(result[{ { from, to } }], r)
  end
  return result
end

return { solve = solve }
