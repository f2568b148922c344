-- As the reference, but the messages are under way while the rows that need none of them are computed.
local pg = require "perigee"
local array, mpi = pg.array, pg.mpi
local world = mpi.world
local rank, size = world.rank, world.size

-- One step for the rows `from` to `to` of a.
local function step(a, b, from, to)
  local columns = a.shape[2]
  for i = from, to do
    local above, here, below, out = a[i - 1], a[i], a[i + 1], b[i]
    local left = out[1]
    for j = 2, columns do
      local x = 0.5 * left + 0.25 * here[j] + 0.125 * (above[j] + below[j])
      left = x / (1 + 0.5 * x)
      out[j] = left
    end
  end
end

local function solve(grid, steps)
  local job = world:bcast({ rows = grid and grid.shape[1], columns = grid and grid.shape[2], steps = steps }, 0)
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

  for s = 1, job.steps do
    local requests = {}
    if s > 1 then -- before the first step the copies are as they were sent
      if rank > 0 then
        requests[#requests + 1] = world:Irecv(a[{ { 1, 1 } }], rank - 1)
        requests[#requests + 1] = world:Isend(a[{ { 2, 2 } }], rank - 1)
      end
      if rank < workers - 1 then
        requests[#requests + 1] = world:Irecv(a[{ { rows, rows } }], rank + 1)
        requests[#requests + 1] = world:Isend(a[{ { rows - 1, rows - 1 } }], rank + 1)
      end
    end
    step(a, b, 3, rows - 2)
    mpi.waitall(requests)
    step(a, b, 2, math.min(2, rows - 1))
    step(a, b, math.max(3, rows - 1), rows - 1)
    a, b = b, a
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
