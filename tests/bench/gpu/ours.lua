-- What scripts/bench gpu times of ours, on the simulator, one case a run, named by the first argument, as rival.py defines it:
--   fast CASE             the fast simulator and the same loop as a kernel of the processor, by turns, on one thread: prints
--                         "check VALUE fast SECONDS kernel SECONDS"
--   checked CASE SIZE     the checked simulator: prints "check VALUE seconds SECONDS statements NUMBER"
-- The best of a few repeats each, compiled before.
local pg = require "perigee"
local gpu, kernel, array, timer = pg.gpu, pg.kernel, pg.array, pg.timer
gpu.use("sim")
pg.threads(1)

local function ramp(shape, factor)
  local n = 1
  for _, m in ipairs(shape) do
    n = n * m
  end
  return (array.range(1, n):astype("float64") * factor % 1):astype("float32"):reshape(shape)
end

local saxpy = gpu.kernel(function(a, x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = a * x[i] + y[i]
  end
end)
local saxpy_loop = kernel.jit(function(a, x, y)
  for i = 1, #x do
    y[i] = a * x[i] + y[i]
  end
end)

local stencil = gpu.kernel(function(u, v)
  local j, i = gpu.grid(2)
  if i > 1 and i < u.shape[1] and j > 1 and j < u.shape[2] then
    v[i][j] = 0.25 * (u[i - 1][j] + u[i + 1][j] + u[i][j - 1] + u[i][j + 1])
  end
end)
local stencil_loop = kernel.jit(function(u, v)
  for i = 2, u:dim(1) - 1 do
    for j = 2, u:dim(2) - 1 do
      v[i][j] = 0.25 * (u[i - 1][j] + u[i + 1][j] + u[i][j - 1] + u[i][j + 1])
    end
  end
end)

local transpose = gpu.kernel(function(a, b)
  local j, i = gpu.grid(2)
  if i <= a.shape[1] and j <= a.shape[2] then
    b[j][i] = a[i][j]
  end
end)
local transpose_loop = kernel.jit(function(a, b)
  for i = 1, a:dim(1) do
    for j = 1, a:dim(2) do
      b[j][i] = a[i][j]
    end
  end
end)

local matmul = gpu.kernel(function(a, b, c)
  local left, right = gpu.shared("float32", 16, 16), gpu.shared("float32", 16, 16)
  local x, y = gpu.threadIdx.x, gpu.threadIdx.y
  local j, i = gpu.grid(2)
  local n = a.shape[1]
  local s = kernel.float32(0)
  for first = 0, n - 1, 16 do
    left[y][x] = a[i][first + x]
    right[y][x] = b[first + y][j]
    gpu.sync()
    for k = 1, 16 do
      s = s + left[y][k] * right[k][x]
    end
    gpu.sync()
  end
  c[i][j] = s
end)

-- case(size) -> launch, loop, result, how often fast runs repeat it
local cases = {}
function cases.saxpy(n)
  local x, y = ramp({ n }, 0.37), ramp({ n }, 0.61)
  local k = saxpy { grid = gpu.grid_for(n, 256), block = 256 }
  return function() k(0.5, x, y) end, function() saxpy_loop(0.5, x, y) end, y
end
function cases.stencil(n)
  local u, v = ramp({ n, n }, 0.37), array.zeros({ n, n }, "float32")
  local k = stencil { grid = gpu.grid_for({ n, n }, { 32, 8 }), block = { 32, 8 } }
  return function() k(u, v) end, function() stencil_loop(u, v) end, v
end
function cases.transpose(n)
  local a, b = ramp({ n, n }, 0.37), array.zeros({ n, n }, "float32")
  local k = transpose { grid = gpu.grid_for({ n, n }, { 32, 8 }), block = { 32, 8 } }
  return function() k(a, b) end, function() transpose_loop(a, b) end, b
end
function cases.matmul(n)
  local a, b, c = ramp({ n, n }, 0.37), ramp({ n, n }, 0.61), array.zeros({ n, n }, "float32")
  local k = matmul { grid = { n / 16, n / 16 }, block = { 16, 16 } }
  return function() k(a, b, c) end, nil, c
end

local sizes = { saxpy = 4000000, stencil = 2048, transpose = 1024 }

local mode, name, size = arg[1], arg[2], tonumber(arg[3])
gpu.mode(mode)
local launch, loop, result = cases[name](size or sizes[name])

local function seconds(f)
  local start = timer.now()
  f()
  return timer.now() - start
end

launch()
local check = result:sum()
if mode == "fast" then
  loop()
  local fast, plain = math.huge, math.huge
  for _ = 1, 15 do
    fast = math.min(fast, seconds(launch))
    plain = math.min(plain, seconds(loop))
  end
  print(("check %.9g fast %.9g kernel %.9g"):format(check, fast, plain))
else
  local best = math.huge
  for _ = 1, 5 do
    best = math.min(best, seconds(launch))
  end
  print(("check %.9g seconds %.9g statements %d"):format(check, best, gpu.counts().statements))
end
