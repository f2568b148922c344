-- Cube roots by Newton's method, until the step is zero.
local array = require "perigee.array"

local function cbrt(value)
  local root, step = value, 1
  while step ~= 0 do
    step = (root * root * root - value) / (3 * root * root)
    root = root - step
  end
  return root
end

local function solve(x)
  local root = array.zeros(x.size)
  for i = 1, x.size do
    root[i] = cbrt(x[i])
  end
  return {
    reciprocal = 1 / x,
    root = root,
    difference = x[{ { 2, -1 } }] - x[{ { 1, -2 } }],
  }
end

return { solve = solve }
