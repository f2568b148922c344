-- Teaches: the data stays on the device between kernels. Each of them still reads and writes all of it.
local gpu = require "perigee.gpu"

local cube = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = 0.25 * x[i] * x[i] * x[i]
  end
end)

local add_square = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = y[i] + 0.75 * x[i] * x[i]
  end
end)

local add_linear = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = y[i] - 1.5 * x[i] - 2
  end
end)

local function solve(x)
  local dx, dy = gpu.array(x), gpu.empty(#x, { dtype = "float32" })
  for _, kernel in ipairs { cube, add_square, add_linear } do
    kernel { grid = math.ceil(#x / 256), block = 256 } (dx, dy)
  end
  return dy:to_host()
end

return { solve = solve }
