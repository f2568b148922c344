-- Elementwise: through tables, and wrong for negative numbers. The README has the task.
-- Try it with:  perigee check arrays/elementwise
local array = require "perigee.array"

local function map(f, list)
  local result = {}
  for _, value in ipairs(list) do
    table.insert(result, f(value))
  end
  return result
end

-- x: float64 array without zeros. Returns {reciprocal, root, difference}, float64 arrays of lengths n, n and n - 1.
local function solve(x)
  local list = x:totable()
  local reciprocal = map(function(value) return 1 / value end, list)
  local root = map(function(value) return value ^ (1 / 3) end, list)
  local difference = {}
  for i = 1, #list - 1 do
    table.insert(difference, list[i + 1] - list[i])
  end
  return {
    reciprocal = array.from(reciprocal),
    root = array.from(root),
    difference = array.from(difference),
  }
end

return { solve = solve }
