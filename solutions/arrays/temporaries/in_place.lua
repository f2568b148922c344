-- Teaches: memory used again is memory in the cache. Two temporaries instead of fifteen, but sixteen passes all the same.
local array = require "perigee.array"

local function solve(a, b)
  local result, other = array.multiply(a, 0.5), array.multiply(a, 2)
  result:multiply_(b)
  result:add_(other)
  array.multiply(b, 4.5, { out = other })
  result:subtract_(other)
  array.multiply(b, b, { out = other })
  result:subtract_(other)
  array.multiply(a, 0.1, { out = other })
  other:multiply_(a)
  other:multiply_(b)
  result:add_(other)
  array.multiply(a, 3, { out = other })
  other:multiply_(b)
  other:multiply_(b)
  result:subtract_(other)
  return result
end

return { solve = solve }
