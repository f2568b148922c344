-- Teaches: a loop has no temporaries either, but LuaJIT computes one element at a time where kernels compute eight.
local array = require "perigee.array"

local function solve(a, b)
  local n = #a
  local result = array.empty(n)
  for i = 1, n do
    result[i] = 2 * a[i] - 4.5 * b[i] + 0.5 * a[i] * b[i] - b[i] * b[i]
  end
  return result
end

return { solve = solve }
