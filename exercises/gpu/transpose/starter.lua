-- Transpose on a GPU: it reads well, writes badly, and forgets what is left over. The README has the task.
-- Try it with:  perigee check gpu/transpose
local gpu = require "perigee.gpu"

local transpose = gpu.kernel(function(a, b)
  local x, y = gpu.grid(2)
  b[x][y] = a[y][x]
end)

-- a: float32 array of shape (n, m). Returns its transpose, moved by the device.
local function solve(a)
  local n, m = a.shape[1], a.shape[2]
  local d, out = gpu.array(a), gpu.empty(m, n, { dtype = "float32" })
  transpose { grid = { math.ceil(m / 32), math.ceil(n / 8) }, block = { 32, 8 } } (d, out)
  return out:to_host()
end

return { solve = solve }
