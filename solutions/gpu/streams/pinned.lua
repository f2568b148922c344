-- Teaches: pinned memory, so that the link sets the pace. Still one thing after the other.
local gpu = require "perigee.gpu"

local squash = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = x[i] / (1 + math.abs(x[i]))
  end
end)

local stream = gpu.stream()

local function solve(a)
  local n = #a
  local from, to = gpu.pinned(a), gpu.pinned(n, { dtype = "float32" })
  local x, y = gpu.empty(n, { dtype = "float32" }), gpu.empty(n, { dtype = "float32" })
  x:copy_from(from, { stream = stream })
  squash { grid = gpu.grid_for(n, 256), block = 256, stream = stream } (x, y)
  y:to_host { out = to, stream = stream }
  stream:synchronize()
  return to
end

return { solve = solve }
