-- Copies beside kernels: two streams that know nothing of each other. The README has the task.
-- Try it with:  perigee check gpu/streams
local gpu = require "perigee.gpu"

local squash = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = x[i] / (1 + math.abs(x[i]))
  end
end)

local copies, kernels = gpu.stream(), gpu.stream()

-- a: float32 array. Returns a / (1 + |a|), computed by the device.
local function solve(a)
  local n = #a
  local x, y = gpu.empty(n, { dtype = "float32" }), gpu.empty(n, { dtype = "float32" })
  x:copy_from(a, { stream = copies })
  squash { grid = gpu.grid_for(n, 256), block = 256, stream = kernels } (x, y)
  return y:to_host()
end

return { solve = solve }
