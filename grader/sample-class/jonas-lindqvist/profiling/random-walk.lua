-- Arrays are fast, so everything is arrays.
local array = require "perigee.array"

local function solve(coins, dx)
  local steps, walkers = coins.shape[1], coins.shape[2]
  local x = array.zeros(walkers)
  local rms = array.zeros(steps + 1)
  for t = 1, steps do
    x = x + (coins[t]:astype("float64") * 2 - 1) * dx
    rms[t + 1] = math.sqrt((x * x):mean())
  end
  return { rms = rms, last = x }
end

return { solve = solve }
