-- Futures instead of a map, and more pieces than workers: a worker that is held up leaves pieces to the others.
local pg = require "perigee"

local workers = pg.threads()
local pool = pg.parallel.pool(workers)

local function partial_sum(first, last, h, k)
  local sum = 0
  for i = first, last do
    local x = (i - 0.5) * h
    sum = sum + x * math.sqrt(x) * math.cos(k * x)
  end
  return sum
end

local function solve(n, b, k)
  local h, pieces, futures = b / n, 4 * workers, {}
  for p = 1, pieces do
    futures[p] = pool:submit(partial_sum, math.floor(n * (p - 1) / pieces) + 1, math.floor(n * p / pieces), h, k)
  end
  local sum = 0
  for _, future in ipairs(futures) do
    sum = sum + future:result()
  end
  return sum * h
end

return { solve = solve }
