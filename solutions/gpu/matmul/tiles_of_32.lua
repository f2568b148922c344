-- Teaches: tiles of 32 x 32 read half as much again, with 1024 threads a block, the most there may be.
local gpu = require "perigee.gpu"

local matmul = gpu.kernel(function(a, b, c)
  local left, right = gpu.shared("float32", 32, 32), gpu.shared("float32", 32, 32)
  local tx, ty = gpu.threadIdx.x, gpu.threadIdx.y
  local col, row = gpu.grid(2)
  local sum = 0.0
  for first = 0, a:dim(2) - 1, 32 do
    -- What lies outside the matrices is 0, and all threads come by both barriers.
    left[ty][tx], right[ty][tx] = 0, 0
    if row <= a:dim(1) and first + tx <= a:dim(2) then
      left[ty][tx] = a[row][first + tx]
    end
    if first + ty <= b:dim(1) and col <= b:dim(2) then
      right[ty][tx] = b[first + ty][col]
    end
    gpu.sync()
    for i = 1, 32 do
      sum = sum + left[ty][i] * right[i][tx]
    end
    gpu.sync()
  end
  if row <= c:dim(1) and col <= c:dim(2) then
    c[row][col] = sum
  end
end)

local function solve(a, b)
  local n, m = a.shape[1], b.shape[2]
  local c = gpu.empty(n, m, { dtype = "float32" })
  matmul { grid = { math.ceil(m / 32), math.ceil(n / 32) }, block = { 32, 32 } } (gpu.array(a), gpu.array(b), c)
  return c:to_host()
end

return { solve = solve }
