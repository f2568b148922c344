-- The fast simulator: kernels as compiled loops over threads, split at barriers. tests/lua/gpu_kernels.lua runs its whole
-- corpus on it as well; here is what it keeps from one barrier to the next, and what it leaves to the checked one.
local lu = require "luaunit"
local pg = require "perigee"
local gpu, array = pg.gpu, pg.array
if not pg.available("llvm") then
  lu.assertErrorMsgContains('gpu.mode: "fast" runs compiled kernels, and here nothing compiles them', gpu.mode, "fast")
  lu.assertEquals(gpu.mode(), "checked")
  print("not run: " .. select(2, pg.available("llvm")))
  os.exit(0)
end
gpu.use("sim")

TestFast = {}

function TestFast.setUp()
  gpu.mode("fast")
end
function TestFast.tearDown()
  gpu.mode("checked")
end

-- The last argument after the launch, by the fast simulator and by the checked one.
local function both(fn, launch, ...)
  local results = {}
  for _, mode in ipairs { "fast", "checked" } do
    gpu.mode(mode)
    local arguments, last = { ... }, nil
    for i = 1, #arguments do
      if array.is(arguments[i]) then
        arguments[i] = gpu.array(arguments[i])
        last = arguments[i]
      end
    end
    gpu.kernel(fn)(launch)(unpack(arguments))
    results[mode] = last:to_host()
  end
  return results.fast, results.checked
end

local function agree(...)
  local fast, checked = both(...)
  lu.assertEquals(fast:totable(), checked:totable())
end

local function some(n)
  return pg.random.generator(3):uniform(-1, 1, { shape = { n } })
end

function TestFast.test_values_kept_over_barriers()
  agree(function(x, y)
    local s = gpu.shared("float64", 64)
    local i, t = gpu.grid(1), gpu.threadIdx.x
    local v = x[i] * 2
    s[t] = v
    gpu.sync()
    local w = s[65 - t]
    v = v + w
    gpu.sync()
    for r = 1, 3 do
      s[t] = v + r
      gpu.sync()
      v = v + s[t % 64 + 1]
      gpu.sync()
    end
    if v > 3 then
      y[i] = v
      return
    end
    y[i] = -v
  end, { grid = 3, block = 64 }, some(192), array.zeros(192))
end

function TestFast.test_parameters_are_each_threads_own()
  agree(function(n, y)
    local i = gpu.grid(1)
    n = n + i
    y[i] = n
  end, { grid = 2, block = 32 }, 5, array.zeros(64))
end

function TestFast.test_uniform_values_change_once()
  agree(function(x, y)
    local s = gpu.shared("float64", 32)
    local t, step = gpu.threadIdx.x, 1
    s[t] = x[t]
    gpu.sync()
    while step < 32 do
      local v = 0.0
      if t > step then
        v = s[t - step]
      end
      gpu.sync()
      s[t] = s[t] + v
      gpu.sync()
      step = step * 2
    end
    y[t] = s[t]
  end, { grid = 1, block = 32 }, some(32), array.zeros(32))
end

function TestFast.test_memory_of_the_launch()
  agree(function(x, y)
    local s = gpu.shared("float32")
    local t, i = gpu.threadIdx.x, gpu.grid(1)
    s[t] = x[i]
    gpu.sync()
    y[i] = s[gpu.blockDim.x + 1 - t] + #s
  end, { grid = 2, block = 64, shared = 256 }, some(128):astype("float32"), array.zeros(128, { dtype = "float32" }))
end

function TestFast.test_three_dimensions_and_functions()
  local function place(n)
    return gpu.threadIdx.z * 100 + gpu.blockIdx.y * 10 + n
  end
  agree(function(y)
    local i, j, k = gpu.grid(3)
    y[k][j][i] = place(gpu.laneid) + gpu.gridDim.x
  end, { grid = { 2, 3, 1 }, block = { 4, 2, 3 } }, array.zeros(3, 6, 8))
end

-- What only threads that run together can do runs on the checked simulator.
function TestFast.test_warps_run_checked()
  agree(function(x, y)
    local i = gpu.grid(1)
    y[i] = gpu.shfl_xor(x[i], 1)
  end, { grid = 2, block = 64 }, some(128), array.zeros(128))
end

function TestFast.test_barriers_that_not_all_reach_are_found()
  local k = gpu.kernel(function(x)
    if gpu.threadIdx.x < 5 then
      gpu.sync()
    end
    x[gpu.threadIdx.x] = 1
  end)
  lu.assertErrorMsgContains("not reached by all threads", k { grid = 1, block = 8 }, gpu.zeros(8))
end

function TestFast.test_errors_name_the_line()
  local k = gpu.kernel(function(y)
    local i = gpu.grid(1)
    y[i - 1] = 1 -- here
  end)
  local line = debug.getinfo(1, "l").currentline - 2
  local launch = k { grid = 4, block = 64 }
  for _ = 1, 5 do
    lu.assertErrorMsgContains((":%d: index 0 is out of range for axis 1 of 'y', of 256 elements there; legal are 1 to 256")
      :format(line), launch, gpu.zeros(256))
  end
  local later = gpu.kernel(function(y)
    y[gpu.grid(1) + 1] = 1
  end)
  lu.assertErrorMsgContains("index 257 is out of range", later { grid = 4, block = 64 }, gpu.zeros(256))
end

os.exit(lu.LuaUnit.run(), true)
