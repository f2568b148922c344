-- Race: fast, and wrong. Find out why, make it right, then fast again; the README has the rules.
-- Try it with:  perigee check parallel/race
local pg = require "perigee"
local array, parallel = pg.array, pg.parallel

local workers = math.max(2, pg.threads())
local pool = parallel.pool(workers)
local start = parallel.barrier(workers)

local function points(i, s)
  return 1 + bit.band(bit.rshift(i * s, 16), 7)
end

-- The total of the points of 1 to n.
local function solve(n, s)
  local total, pieces = array.zeros(1), {}
  for w = 1, workers do
    pieces[w] = { first = math.floor(n * (w - 1) / workers) + 1, last = math.floor(n * w / workers) }
  end
  pool:map(function(piece)
    start:wait() -- all at once
    for i = piece.first, piece.last do
      total[1] = total[1] + points(i, s)
    end
  end, pieces)
  return total[1]
end

return { solve = solve }
