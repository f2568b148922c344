-- Stencil on a GPU: there and back in every step, across the rows, and in place. The README has the task.
-- Try it with:  perigee check gpu/stencil
local gpu = require "perigee.gpu"

local step = gpu.kernel(function(u)
  local i, j = gpu.grid(2)
  if i > 1 and i < u:dim(1) and j > 1 and j < u:dim(2) then
    u[i][j] = 0.25 * (u[i - 1][j] + u[i + 1][j] + u[i][j - 1] + u[i][j + 1])
  end
end)

-- u: float32 array of shape (n, m). Returns it after so many steps.
local function solve(u, steps)
  local n, m = u.shape[1], u.shape[2]
  for _ = 1, steps do
    local d = gpu.array(u)
    step { grid = { math.ceil(n / 16), math.ceil(m / 16) }, block = { 16, 16 } } (d)
    u = d:to_host()
  end
  return u
end

return { solve = solve }
