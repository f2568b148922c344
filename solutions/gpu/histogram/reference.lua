-- Teaches: a histogram a block, in shared memory, and few blocks.
local gpu = require "perigee.gpu"

local count = gpu.kernel(function(x, counts)
  local own = gpu.shared("int32", 256)
  local tx = gpu.threadIdx.x
  own[tx] = 0
  gpu.sync()
  for i in gpu.stride(#x) do
    gpu.atomic.add(own, x[i] + 1, 1)
  end
  gpu.sync()
  if own[tx] > 0 then
    gpu.atomic.add(counts, tx, own[tx])
  end
end)

local function solve(x)
  local counts = gpu.zeros(256, { dtype = "int32" })
  count { grid = 4, block = 256 } (gpu.array(x), counts)
  return counts:to_host()
end

return { solve = solve }
