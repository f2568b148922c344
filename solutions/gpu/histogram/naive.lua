-- An atomic addition in global memory for each element.
local gpu = require "perigee.gpu"

local count = gpu.kernel(function(x, counts)
  local i = gpu.grid(1)
  if i <= #x then
    gpu.atomic.add(counts, x[i] + 1, 1)
  end
end)

local function solve(x)
  local counts = gpu.zeros(256, { dtype = "int32" })
  count { grid = math.ceil(#x / 256), block = 256 } (gpu.array(x), counts)
  return counts:to_host()
end

return { solve = solve }
