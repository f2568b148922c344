-- Random walk: right, and slow although it has no loop over walkers. Make it faster; the README has the rules.
-- Try it with:  perigee check profiling/random-walk
local array = require "perigee.array"

-- coins: uint8 array steps x walkers of 0 and 1; dx in metres.
-- Returns {rms = float64 array of steps + 1, last = float64 array of walkers}.
local function solve(coins, dx)
  local steps, walkers = coins.shape[1], coins.shape[2]
  local x = array.zeros(walkers)
  local rms = array.zeros(steps + 1)
  for t = 1, steps do
    local direction = coins[t]:astype("float64") * 2 - 1
    x = x + direction * dx
    rms[t + 1] = math.sqrt((x * x):mean())
  end
  return { rms = rms, last = x }
end

return { solve = solve }
