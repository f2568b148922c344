-- I moved the sum into the same function as the squares, which is tidier. It should be faster, too?
local array = require "perigee.array"

local function distance(p, q)
  local squares = {}
  for k = 1, #p do
    table.insert(squares, (p[k] - q[k]) ^ 2)
  end
  local sum = 0
  for k = 1, #squares do
    sum = sum + squares[k]
  end
  return sum ^ 0.5
end

local function solve(points)
  local list = points:totable()
  local distances = {}
  for i = 1, #list do
    distances[i] = {}
    for j = 1, #list do
      distances[i][j] = distance(list[i], list[j])
    end
  end
  return array.from(distances)
end

return { solve = solve }
