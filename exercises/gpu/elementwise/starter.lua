-- GPU elementwise: four kernels, eight copies, and a grid that is too small. The README has the task.
-- Try it with:  perigee check gpu/elementwise
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

-- Runs a kernel on copies of both arrays; y is brought back.
local function run(kernel, x, y)
  local dx, dy = gpu.array(x), gpu.array(y)
  kernel { grid = math.max(1, math.floor(#x / 256)), block = 256 } (dx, dy)
  return dy:to_host()
end

-- x: float32 array. Returns the float32 array of the polynomial's values.
local function solve(x)
  local y = x:copy()
  y = run(cube, x, y)
  y = run(add_square, x, y)
  return run(add_linear, x, y)
end

return { solve = solve }
