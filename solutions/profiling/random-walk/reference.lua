-- One compiled loop over all coins in the order in which they lie in memory; positions are updated in place, and the
-- sum of squares is taken on the way. Positions count in units of dx, so the factor is applied once at the end of a
-- step.
local array = require "perigee.array"

local sqrt = math.sqrt

local function solve(coins, dx)
  local steps, walkers = coins.shape[1], coins.shape[2]
  local x = array.zeros(walkers)
  local rms = array.zeros(steps + 1)
  for t = 1, steps do
    local row, sum = coins[t], 0
    for w = 1, walkers do
      local p = x[w] + (row[w] * 2 - 1)
      x[w] = p
      sum = sum + p * p
    end
    rms[t + 1] = dx * sqrt(sum / walkers)
  end
  return { rms = rms, last = x * dx }
end

return { solve = solve }
