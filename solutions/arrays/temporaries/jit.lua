-- Teaches: the same loop, compiled to vectors.
local array, kernel = require "perigee.array", require "perigee.kernel"

local fill = kernel.jit(function(a, b, result)
  for i = 1, #a do
    local x, y = a[i], b[i]
    result[i] = 2 * x - 4.5 * y + 0.5 * x * y - y * y + 0.1 * x * x * y - 3 * x * y * y
  end
end)

local function solve(a, b)
  local result = array.empty(#a)
  fill(a, b, result)
  return result
end

return { solve = solve }
