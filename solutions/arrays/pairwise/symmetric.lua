-- Teaches: half the work by symmetry, in the plainest loop there is.
local array = require "perigee.array"

local sqrt = math.sqrt

local function solve(points)
  local n, d = points.shape[1], points.shape[2]
  local distances = array.zeros(n, n)
  for i = 1, n do
    local p = points[i]
    for j = i + 1, n do
      local q, sum = points[j], 0
      for k = 1, d do
        local t = p[k] - q[k]
        sum = sum + t * t
      end
      local r = sqrt(sum)
      distances[i][j] = r
      distances[j][i] = r
    end
  end
  return distances
end

return { solve = solve }
