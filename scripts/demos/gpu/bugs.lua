-- What hardware hides: three bugs that a GPU may well run without a word, and what the simulator says of each.
-- perigee run scripts/demos/gpu/bugs.lua
local pg = require "perigee"
local gpu, array = pg.gpu, pg.array
gpu.use("sim")

local function try(title, launch, ...)
  local ok, message = pcall(launch, ...)
  print(title .. "\n  " .. (ok and "no complaint" or message) .. "\n")
end

-- 1. A guard is missing: 1000 elements, and 4 blocks of 256 threads are 1024.
local unguarded = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  y[i] = 2 * x[i]
end, { name = "unguarded" })
local x, y = array.ones(1000, "float32"), array.zeros(1000, "float32")
try("A missing guard", unguarded { grid = gpu.grid_for(1000, 256), block = 256 }, x, y)

-- 2. A barrier is missing between writing a tile and reading what others wrote.
local unordered = gpu.kernel(function(x, y)
  local tile = gpu.shared("float32", 256)
  local i, t = gpu.grid(1), gpu.threadIdx.x
  if i <= #x then
    tile[t] = x[i]
  else
    tile[t] = 0
  end
  if i <= #y then
    y[i] = tile[257 - t]
  end
end, { name = "unordered" })
try("A missing barrier", unordered { grid = 4, block = 256 }, x, y)

-- 3. The barrier is there, but threads beyond the end never reach it.
local diverging = gpu.kernel(function(x, y)
  local tile = gpu.shared("float32", 256)
  local i, t = gpu.grid(1), gpu.threadIdx.x
  if i > #x then
    return
  end
  tile[t] = x[i]
  gpu.sync()
  y[i] = tile[t]
end, { name = "diverging" })
try("A barrier that not all reach", diverging { grid = 4, block = 256 }, x, y)

-- Right: all threads fill the tile and reach the barrier; the guard is around the store alone.
local right = gpu.kernel(function(x, y)
  local tile = gpu.shared("float32", 256)
  local i, t = gpu.grid(1), gpu.threadIdx.x
  if i <= #x then
    tile[t] = x[i]
  else
    tile[t] = 0
  end
  gpu.sync()
  if i <= #y then
    y[i] = tile[257 - t]
  end
end, { name = "right" })
try("As it should be", right { grid = 4, block = 256 }, x, y)
