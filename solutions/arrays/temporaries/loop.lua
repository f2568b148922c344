-- Teaches: a loop has no temporaries either, but LuaJIT computes one element at a time where kernels compute eight.
local array = require "perigee.array"

local function solve(a, b)
  local n = #a
  local result = array.empty(n)
  for i = 1, n do
    local x, y = a[i], b[i]
    result[i] = 2 * x - 4.5 * y + 0.5 * x * y - y * y + 0.1 * x * x * y - 3 * x * y * y
  end
  return result
end

return { solve = solve }
