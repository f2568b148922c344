-- Teaches: the same loop, compiled to vectors.
local array, kernel = require "perigee.array", require "perigee.kernel"

local fill = kernel.jit(function(a, b, result)
  for i = 1, #a do
    result[i] = 2 * a[i] - 4.5 * b[i] + 0.5 * a[i] * b[i] - b[i] * b[i]
  end
end)

local function solve(a, b)
  local result = array.empty(#a)
  fill(a, b, result)
  return result
end

return { solve = solve }
