-- The loop over walkers compiles to a few instructions; array expressions of 101 elements are mostly overhead.
local array = require "perigee.array"

local function solve(coins, dx)
  local steps, walkers = coins.shape[1], coins.shape[2]
  local x, rms = array.zeros(walkers), array.zeros(steps + 1)
  for t = 1, steps do
    local coin, sum = coins[t], 0
    for w = 1, walkers do
      local p = x[w] + 2 * coin[w] - 1
      x[w] = p
      sum = sum + p * p
    end
    rms[t + 1] = dx * math.sqrt(sum / walkers)
  end
  return { rms = rms, last = x * dx }
end

return { solve = solve }
