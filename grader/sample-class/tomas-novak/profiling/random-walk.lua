local array = require "perigee.array"

local function solve(coins, dx)
  local steps, walkers = coins.shape[1], coins.shape[2]
  local x = array.zeros(walkers)
  local rms = array.zeros(steps + 1)
  for t = 1, steps do
    local row, squares = coins[t], 0
    for w = 1, walkers do
      x[w] = x[w] + (row[w] == 1 and 1 or -1)
      squares = squares + x[w] * x[w]
    end
    rms[t + 1] = math.sqrt(squares / walkers) * dx
  end
  return { rms = rms, last = x * dx }
end

return { solve = solve }
