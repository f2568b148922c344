-- Teaches: each thread adds up many elements by itself, neighbours beside neighbours; then halves of the block, so that whole
-- warps end; then one atomic addition a block, of few blocks.
local gpu = require "perigee.gpu"

local add_up = gpu.kernel(function(x, total)
  local part = gpu.shared("int64", 256)
  local tx, sum = gpu.threadIdx.x, 0
  for i in gpu.stride(#x) do
    sum = sum + x[i]
  end
  part[tx] = sum
  gpu.sync()
  local half = 128
  while half >= 1 do
    if tx <= half then
      part[tx] = part[tx] + part[tx + half]
    end
    gpu.sync()
    half = bit.rshift(half, 1)
  end
  if tx == 1 then
    gpu.atomic.add(total, 1, part[1])
  end
end)

local function solve(x)
  local total = gpu.zeros(1, { dtype = "int64" })
  add_up { grid = math.min(8, math.ceil(#x / 256)), block = 256 } (gpu.array(x), total)
  return total:to_host()[1]
end

return { solve = solve }
