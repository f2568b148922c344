-- One sum behind a lock that each worker takes once: the lock costs nothing when it is taken seldom.
local pg = require "perigee"
local array, parallel = pg.array, pg.parallel

local workers = pg.threads()
local pool = parallel.pool(workers)
local mutex, total = parallel.mutex(), array.zeros(1)

local function add_piece(piece)
  local h, k, sum = piece.h, piece.k, 0
  for i = piece.first, piece.last do
    local x = (i - 0.5) * h
    sum = sum + x * math.sqrt(x) * math.cos(k * x)
  end
  mutex:lock()
  total[1] = total[1] + sum
  mutex:unlock()
end

local function solve(n, b, k)
  local h, pieces = b / n, {}
  for w = 1, workers do
    pieces[w] = { h = h, k = k, first = math.floor(n * (w - 1) / workers) + 1, last = math.floor(n * w / workers) }
  end
  total[1] = 0
  pool:map(add_piece, pieces)
  return total[1] * h
end

return { solve = solve }
