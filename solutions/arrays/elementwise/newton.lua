-- Teaches: where time goes when a function is "built in". A cube root by hand: bring the size into [1, 8) by powers of
-- eight, start from a straight line, and take Halley steps, each of which triples the number of right digits.
local array = require "perigee.array"

local function cube_root(value)
  local size, scale = value < 0 and -value or value, 1
  while size >= 8 do
    size, scale = size * 0.125, scale * 2
  end
  while size < 1 do
    size, scale = size * 8, scale * 0.5
  end
  local y = 0.93 + 0.145 * size
  for _ = 1, 3 do
    local cube = y * y * y
    y = y * (cube + 2 * size) / (2 * cube + size)
  end
  return value < 0 and -scale * y or scale * y
end

local function solve(x)
  local n = x.shape[1]
  local root = array.empty(n)
  for i = 1, n do
    root[i] = cube_root(x[i])
  end
  return { reciprocal = 1 / x, root = root, difference = x[{ { 2, -1 } }] - x[{ { 1, -2 } }] }
end

return { solve = solve }
