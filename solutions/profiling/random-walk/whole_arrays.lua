-- Teaches: vectorising properly. The same array operations, but few and large: all coins are converted at once, and
-- each step works in place without new arrays. Better than the naive script, still a fixed cost for every short
-- operation.
local array = require "perigee.array"

local sqrt = math.sqrt

local function solve(coins, dx)
  local steps, walkers = coins.shape[1], coins.shape[2]
  local moves = coins:astype("float64"):multiply_(2 * dx):subtract_(dx)
  local x, squares = array.zeros(walkers), array.empty(walkers)
  local rms = array.zeros(steps + 1)
  for t = 1, steps do
    x:add_(moves[t])
    array.multiply(x, x, { out = squares })
    rms[t + 1] = sqrt(squares:mean())
  end
  return { rms = rms, last = x }
end

return { solve = solve }
