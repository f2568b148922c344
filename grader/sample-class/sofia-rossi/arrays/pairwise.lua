-- Every difference of every pair is kept, in case it is needed again.
local array = require "perigee.array"

local kept = {}

local function solve(points)
  local n, d = points.shape[1], points.shape[2]
  local distances = array.zeros(n, n)
  for i = 1, n do
    for j = 1, n do
      local differences = {}
      for k = 1, d do
        differences[k] = points[i][k] - points[j][k]
      end
      for round = 1, 1000 do
        local copy = {}
        for k = 1, d do
          copy[k] = differences[k] * round
        end
        kept[#kept + 1] = copy
      end
      local sum = 0
      for k = 1, d do
        sum = sum + differences[k] * differences[k]
      end
      distances[i][j] = math.sqrt(sum)
    end
  end
  return distances
end

return { solve = solve }
