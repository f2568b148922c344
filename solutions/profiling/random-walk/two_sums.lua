-- Teaches: an optimisation that does not pay. Two sums break the chain of additions in `sum = sum + p * p`, which is
-- sound advice where that chain is the bottleneck. Here it is not: twice the code, the same time. Measure before you
-- keep it.
local array = require "perigee.array"

local sqrt = math.sqrt

local function solve(coins, dx)
  local steps, walkers = coins.shape[1], coins.shape[2]
  local x = array.zeros(walkers)
  local rms = array.zeros(steps + 1)
  local even = walkers - walkers % 2
  for t = 1, steps do
    local row, sum1, sum2 = coins[t], 0, 0
    for w = 1, even, 2 do
      local p, q = x[w] + (row[w] * 2 - 1), x[w + 1] + (row[w + 1] * 2 - 1)
      x[w], x[w + 1] = p, q
      sum1, sum2 = sum1 + p * p, sum2 + q * q
    end
    if even < walkers then
      local p = x[walkers] + (row[walkers] * 2 - 1)
      x[walkers] = p
      sum1 = sum1 + p * p
    end
    rms[t + 1] = dx * sqrt((sum1 + sum2) / walkers)
  end
  return { rms = rms, last = x * dx }
end

return { solve = solve }
