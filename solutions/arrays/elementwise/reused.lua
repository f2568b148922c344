-- Teaches: writing into arrays that exist already. Results may not share memory with the input, but they may be written
-- with `out` into arrays made once a call; no temporaries are left to be collected.
local array = require "perigee.array"

local function solve(x)
  local n = x.shape[1]
  local reciprocal, root, difference = array.empty(n), array.empty(n), array.empty(n - 1)
  array.divide(1, x, { out = reciprocal })
  array.cbrt(x, { out = root })
  array.subtract(x[{ { 2, -1 } }], x[{ { 1, -2 } }], { out = difference })
  return { reciprocal = reciprocal, root = root, difference = difference }
end

return { solve = solve }
