-- Teaches: tiles of 16 x 16: each number is read a sixteenth as often.
local gpu = require "perigee.gpu"

local matmul = gpu.kernel(function(a, b, c)
  local left, right = gpu.shared("float32", 16, 16), gpu.shared("float32", 16, 16)
  local tx, ty = gpu.threadIdx.x, gpu.threadIdx.y
  local col, row = gpu.grid(2)
  local sum = 0.0
  for first = 0, a:dim(2) - 1, 16 do
    -- What lies outside the matrices is 0, and all threads come by both barriers.
    left[ty][tx], right[ty][tx] = 0, 0
    if row <= a:dim(1) and first + tx <= a:dim(2) then
      left[ty][tx] = a[row][first + tx]
    end
    if first + ty <= b:dim(1) and col <= b:dim(2) then
      right[ty][tx] = b[first + ty][col]
    end
    gpu.sync()
    for i = 1, 16 do
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
  matmul { grid = { math.ceil(m / 16), math.ceil(n / 16) }, block = { 16, 16 } } (gpu.array(a), gpu.array(b), c)
  return c:to_host()
end

return { solve = solve }
