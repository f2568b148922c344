-- Every pair on its own, both ways round, with a table of squares for each: n^2 small tables.
local array = require "perigee.array"

local function distance(p, q)
  local squares = {}
  for k = 1, #p do
    squares[k] = (p[k] - q[k]) ^ 2
  end
  local sum = 0
  for _, square in ipairs(squares) do
    sum = sum + square
  end
  return math.sqrt(sum)
end

-- points: float64 array n x d. Returns a float64 array n x n.
local function solve(points)
  local list = points:totable()
  local distances = {}
  for i, p in ipairs(list) do
    distances[i] = {}
    for j, q in ipairs(list) do
      distances[i][j] = distance(p, q)
    end
  end
  return array.from(distances)
end

return { solve = solve }
