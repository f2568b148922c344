-- Symmetric: only the upper half is computed.
local array = require "perigee.array"

local function solve(points)
  local n, d = points.shape[1], points.shape[2]
  local distances = array.zeros(n, n)
  for i = 1, n do
    for j = i + 1, n - 1 do
      local sum = 0
      for k = 1, d do
        local difference = points[i][k] - points[j][k]
        sum = sum + difference * difference
      end
      distances[i][j] = math.sqrt(sum)
      distances[j][i] = distances[i][j]
    end
  end
  return distances
end

return { solve = solve }
