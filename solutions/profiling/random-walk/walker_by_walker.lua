-- Teaches: the order of the loops, and when it does not matter. One walker after the other keeps the position in a
-- register but goes through the coins column by column. All coins fit in the level 2 cache here, so this costs nothing;
-- with coins of tens of megabytes every load would miss.
local array = require "perigee.array"

local sqrt = math.sqrt

local function solve(coins, dx)
  local steps, walkers = coins.shape[1], coins.shape[2]
  local rms, last = array.zeros(steps + 1), array.empty(walkers)
  for w = 1, walkers do
    local p = 0
    for t = 1, steps do
      p = p + (coins[t][w] * 2 - 1)
      rms[t + 1] = rms[t + 1] + p * p
    end
    last[w] = p * dx
  end
  for t = 1, steps do
    rms[t + 1] = dx * sqrt(rms[t + 1] / walkers)
  end
  return { rms = rms, last = last }
end

return { solve = solve }
