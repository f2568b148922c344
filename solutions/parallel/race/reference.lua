-- A copy a worker: each counts into a local variable, and the few totals are added up at the end.
local pg = require "perigee"

local workers = pg.threads()
local pool = pg.parallel.pool(workers)

local function points(i, s)
  return 1 + bit.band(bit.rshift(i * s, 16), 7)
end

local function solve(n, s)
  local pieces = {}
  for w = 1, workers do
    pieces[w] = { first = math.floor(n * (w - 1) / workers) + 1, last = math.floor(n * w / workers) }
  end
  local total = 0
  for _, part in ipairs(pool:map(function(piece)
    local sum = 0
    for i = piece.first, piece.last do
      sum = sum + points(i, s)
    end
    return sum
  end, pieces)) do
    total = total + part
  end
  return total
end

return { solve = solve }
