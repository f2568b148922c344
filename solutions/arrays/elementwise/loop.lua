-- Teaches: the compiled loop. One pass over x writes all three results; each element is loaded once. The cube root is a
-- general power here, which array.cbrt beats.
local array = require "perigee.array"

local function solve(x)
  local n = x.shape[1]
  local reciprocal, root, difference = array.empty(n), array.empty(n), array.empty(n - 1)
  for i = 1, n do
    local value = x[i]
    reciprocal[i] = 1 / value
    root[i] = value < 0 and -(-value) ^ (1 / 3) or value ^ (1 / 3)
  end
  for i = 1, n - 1 do
    difference[i] = x[i + 1] - x[i]
  end
  return { reciprocal = reciprocal, root = root, difference = difference }
end

return { solve = solve }
