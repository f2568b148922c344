-- GPU matrix product: tiles in shared memory, with a boundary bug and a barrier bug. The README has the task.
-- Try it with:  perigee check gpu/matmul
local gpu = require "perigee.gpu"

local matmul = gpu.kernel(function(a, b, c)
  local left, right = gpu.shared("float32", 16, 16), gpu.shared("float32", 16, 16)
  local tx, ty = gpu.threadIdx.x, gpu.threadIdx.y
  local col, row = gpu.grid(2)
  local sum = 0.0
  if row <= c:dim(1) and col <= c:dim(2) then
    for first = 0, a:dim(2) - 1, 16 do
      left[ty][tx] = a[row][first + tx]
      right[ty][tx] = b[first + ty][col]
      gpu.sync()
      for i = 1, 16 do
        sum = sum + left[ty][i] * right[i][tx]
      end
      gpu.sync()
    end
    c[row][col] = sum
  end
end)

-- a, b: float32 arrays of shape (n, k), (k, m). Returns a float32 array of shape (n, m).
local function solve(a, b)
  local n, m = a.shape[1], b.shape[2]
  local c = gpu.empty(n, m, { dtype = "float32" })
  matmul { grid = { math.ceil(m / 16), math.ceil(n / 16) }, block = { 16, 16 } } (gpu.array(a), gpu.array(b), c)
  return c:to_host()
end

return { solve = solve }
