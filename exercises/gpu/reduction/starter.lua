-- GPU reduction: every thread waits for every other. The README has the task.
-- Try it with:  perigee check gpu/reduction
local gpu = require "perigee.gpu"

local add_up = gpu.kernel(function(x, total)
  local i = gpu.grid(1)
  gpu.atomic.add(total, 1, x[i])
end)

-- x: int32 array. Returns the sum of its elements.
local function solve(x)
  local total = gpu.zeros(1, { dtype = "int64" })
  add_up { grid = math.max(1, math.floor(#x / 256)), block = math.min(#x, 256) } (gpu.array(x), total)
  return total:to_host()[1]
end

return { solve = solve }
