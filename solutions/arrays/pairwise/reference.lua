-- Each pair once, both halves written, nothing allocated in the loops. Four sums side by side: one sum would make every
-- addition wait for the one before.
local array = require "perigee.array"

local sqrt = math.sqrt

local function solve(points)
  local n, d = points.shape[1], points.shape[2]
  local distances = array.zeros(n, n)
  local even = d - d % 4
  for i = 1, n do
    local p, row = points[i], distances[i]
    for j = i + 1, n do
      local q = points[j]
      local a, b, c, e = 0, 0, 0, 0
      for k = 1, even, 4 do
        local t, u, v, w = p[k] - q[k], p[k + 1] - q[k + 1], p[k + 2] - q[k + 2], p[k + 3] - q[k + 3]
        a, b, c, e = a + t * t, b + u * u, c + v * v, e + w * w
      end
      for k = even + 1, d do
        local t = p[k] - q[k]
        a = a + t * t
      end
      local r = sqrt((a + b) + (c + e))
      row[j] = r
      distances[j][i] = r
    end
  end
  return distances
end

return { solve = solve }
