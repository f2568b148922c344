-- An atomic addition an element.
local gpu = require "perigee.gpu"

local add_up = gpu.kernel(function(x, total)
  local i = gpu.grid(1)
  if i <= #x then
    gpu.atomic.add(total, 1, x[i])
  end
end)

local function solve(x)
  local total = gpu.zeros(1, { dtype = "int64" })
  add_up { grid = math.ceil(#x / 256), block = 256 } (gpu.array(x), total)
  return total:to_host()[1]
end

return { solve = solve }
