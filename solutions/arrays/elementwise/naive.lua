-- Through Lua tables: each result is a list that grows by table.insert and becomes an array at the end.
local array = require "perigee.array"

local function map(f, list)
  local result = {}
  for _, value in ipairs(list) do
    table.insert(result, f(value))
  end
  return result
end

local function cube_root(value)
  return value < 0 and -(-value) ^ (1 / 3) or value ^ (1 / 3)
end

local function solve(x)
  local list = x:totable()
  local reciprocal = map(function(value) return 1 / value end, list)
  local root = map(cube_root, list)
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
