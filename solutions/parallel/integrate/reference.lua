-- A sum a worker: each adds up its own piece of the terms, and nothing is shared.
local pg = require "perigee"

local workers = pg.threads()
local pool = pg.parallel.pool(workers)

local function partial_sum(piece)
  local h, k, sum = piece.h, piece.k, 0
  for i = piece.first, piece.last do
    local x = (i - 0.5) * h
    sum = sum + x * math.sqrt(x) * math.cos(k * x)
  end
  return sum
end

local function solve(n, b, k)
  local h, pieces = b / n, {}
  for w = 1, workers do
    pieces[w] = { h = h, k = k, first = math.floor(n * (w - 1) / workers) + 1, last = math.floor(n * w / workers) }
  end
  local sum = 0
  for _, part in ipairs(pool:map(partial_sum, pieces)) do
    sum = sum + part
  end
  return sum * h
end

return { solve = solve }
