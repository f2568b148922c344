-- Teaches: a tile in shared memory makes both sides coalesced. But a column of it lies in one bank.
local gpu = require "perigee.gpu"

local transpose = gpu.kernel(function(a, b)
  local tile = gpu.shared("float32", 32, 32)
  local tx, ty = gpu.threadIdx.x, gpu.threadIdx.y
  local left, top = (gpu.blockIdx.x - 1) * 32, (gpu.blockIdx.y - 1) * 32
  for r = ty, 32, 8 do
    if top + r <= a:dim(1) and left + tx <= a:dim(2) then
      tile[r][tx] = a[top + r][left + tx]
    end
  end
  gpu.sync()
  for r = ty, 32, 8 do
    if left + r <= b:dim(1) and top + tx <= b:dim(2) then
      b[left + r][top + tx] = tile[tx][r]
    end
  end
end)

local function solve(a)
  local n, m = a.shape[1], a.shape[2]
  local d, out = gpu.array(a), gpu.empty(m, n, { dtype = "float32" })
  transpose { grid = { math.ceil(m / 32), math.ceil(n / 32) }, block = { 32, 8 } } (d, out)
  return out:to_host()
end

return { solve = solve }
