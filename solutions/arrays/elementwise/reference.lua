-- Operators and functions of whole arrays; the difference is that of two slices of the same array.
local array = require "perigee.array"

local function solve(x)
  return {
    reciprocal = 1 / x,
    root = array.cbrt(x),
    difference = x[{ { 2, -1 } }] - x[{ { 1, -2 } }],
  }
end

return { solve = solve }
