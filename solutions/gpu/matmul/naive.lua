-- An element a thread, straight from global memory.
local gpu = require "perigee.gpu"

local matmul = gpu.kernel(function(a, b, c)
  local col, row = gpu.grid(2)
  if row <= c:dim(1) and col <= c:dim(2) then
    local sum = 0.0
    for i = 1, a:dim(2) do
      sum = sum + a[row][i] * b[i][col]
    end
    c[row][col] = sum
  end
end)

local function solve(a, b)
  local n, m = a.shape[1], b.shape[2]
  local c = gpu.empty(n, m, { dtype = "float32" })
  matmul { grid = { math.ceil(m / 16), math.ceil(n / 16) }, block = { 16, 16 } } (gpu.array(a), gpu.array(b), c)
  return c:to_host()
end

return { solve = solve }
