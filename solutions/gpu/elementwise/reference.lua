-- Teaches: one kernel that reads each element once and writes it once; there and back once.
local gpu = require "perigee.gpu"

local polynomial = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    local v = x[i]
    y[i] = ((0.25 * v + 0.75) * v - 1.5) * v - 2
  end
end)

local function solve(x)
  local dx, dy = gpu.array(x), gpu.empty(#x, { dtype = "float32" })
  polynomial { grid = math.ceil(#x / 256), block = 256 } (dx, dy)
  return dy:to_host()
end

return { solve = solve }
