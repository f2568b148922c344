-- GPU histogram: fast, and it loses counts. The README has the task.
-- Try it with:  perigee check gpu/histogram
local gpu = require "perigee.gpu"

local count = gpu.kernel(function(x, counts)
  local i = gpu.grid(1)
  if i <= #x then
    counts[x[i] + 1] = counts[x[i] + 1] + 1
  end
end)

-- x: uint8 array. Returns an int32 array of 256 counts.
local function solve(x)
  local counts = gpu.zeros(256, { dtype = "int32" })
  count { grid = math.ceil(#x / 256), block = 256 } (gpu.array(x), counts)
  return counts:to_host()
end

return { solve = solve }
