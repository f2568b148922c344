-- Each pair once; the matrix is symmetric and its diagonal stays 0.
local array = require "perigee.array"

local function solve(points)
  local n, d = points.shape[1], points.shape[2]
  local distances = array.zeros(n, n)
  for i = 1, n do
    local p = points[i]
    for j = i + 1, n do
      local q = points[j]
      local sum, other = 0, 0
      for k = 1, d - 1, 2 do
        local a, b = p[k] - q[k], p[k + 1] - q[k + 1]
        sum, other = sum + a * a, other + b * b
      end
      if d % 2 == 1 then
        local a = p[d] - q[d]
        sum = sum + a * a
      end
      local r = math.sqrt(sum + other)
      distances[i][j], distances[j][i] = r, r
    end
  end
  return distances
end

return { solve = solve }
