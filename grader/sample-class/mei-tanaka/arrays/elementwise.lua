-- The power of a third is the cube root.
local array = require "perigee.array"

local function solve(x)
  return {
    reciprocal = 1 / x,
    root = x ^ (1 / 3),
    difference = x[{ { 2, -1 } }] - x[{ { 1, -2 } }],
  }
end

return { solve = solve }
