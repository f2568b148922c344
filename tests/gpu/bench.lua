-- Benchmarks of perigee.gpu on a GPU (tests/gpu/run): lines of JSON, one a figure, on standard output. On the simulator
-- (PERIGEE_GPU=sim) the same code runs with small sizes, to show that it works; its figures mean nothing.
local pg = require "perigee"

local gpu, array, timer, kernel = pg.gpu, pg.array, pg.timer, pg.kernel

local backend = os.getenv("PERIGEE_GPU") or "cuda"
gpu.use(backend)
local cuda = backend == "cuda"
local real = cuda and not os.getenv("PERIGEE_GPU_SMALL") -- small: to show that it runs, on a stand-in for the driver

local function emit(name, unit, value, note)
  io.write(string.format('{"name": %q, "unit": %q, "value": %.6g, "note": %q}\n', name, unit, value, note or ""))
  io.flush()
end

-- Median of the times of f, in seconds, by events; the first calls compile.
local function median_time(f, rounds)
  rounds = real and (rounds or 30) or 3
  for _ = 1, real and 5 or 1 do
    f()
  end
  gpu.synchronize()
  local times = {}
  for i = 1, rounds do
    times[i] = gpu.timer(f)
  end
  table.sort(times)
  return times[math.ceil(#times / 2)]
end

-- Times of several, interleaved, so that clocks that change meet all alike.
local function median_times(list, rounds)
  rounds = real and (rounds or 30) or 3
  local times = {}
  for i, f in ipairs(list) do
    times[i] = {}
    for _ = 1, real and 5 or 1 do
      f()
    end
  end
  gpu.synchronize()
  for _ = 1, rounds do
    for i, f in ipairs(list) do
      table.insert(times[i], (gpu.timer(f)))
    end
  end
  local medians = {}
  for i, t in ipairs(times) do
    table.sort(t)
    medians[i] = t[math.ceil(#t / 2)]
  end
  return medians
end

local function check(what, a, b, tolerance)
  if not array.allclose(a:to_host(), b:to_host(), { rtol = tolerance or 1e-5, atol = 1e-5 }) then
    error(what .. ": the results differ")
  end
end

-- What the simulator expects of this GPU, beside what was measured: estimates by gpu.report() of the same launch on the checked
-- simulator. make() gives the launch and its arguments on the device in use. Sizes are what the simulator does in seconds.
local model = os.getenv("PERIGEE_GPU_MODEL")
for _, name in ipairs { "H200", "H100", "A100", "V100", "L40S", "T4", "L4", "RTX 4090", "RTX 3060" } do
  if not model and gpu.info().name:find(name, 1, true) then
    model = name
  end
end
if cuda and not model then
  io.stderr:write("bench: no model of '" .. gpu.info().name .. "' (gpu.model; PERIGEE_GPU_MODEL names one): estimates are not compared\n")
end

local estimates = {} -- {name, measured seconds, make}, until the GPU has nothing more to do
local function expect(name, make)
  if model or not cuda then
    local launch, arguments = make()
    estimates[#estimates + 1] = { name, median_time(function() launch(unpack(arguments)) end), make }
  end
end

local n = real and 2 ^ 27 or 2 ^ 12
local bytes = 4 * n

-- ------------------------------------------------------------------------------------------------------------ copies --
do
  local host, pinned = array.ones(n, "float32"), gpu.pinned(n, "float32")
  local d, e = gpu.empty(n, "float32"), gpu.empty(n, "float32")
  local s = gpu.stream()
  emit("host to device, pageable", "GB/s", bytes / median_time(function() d:copy_from(host) end, 10) / 1e9)
  local function timed(f)
    local start = timer.now()
    f()
    s:synchronize()
    return timer.now() - start
  end
  local up, down = math.huge, math.huge
  for _ = 1, real and 10 or 2 do
    up = math.min(up, timed(function() d:copy_from(pinned, { stream = s }) end))
    down = math.min(down, timed(function() d:to_host { out = pinned, stream = s } end))
  end
  emit("host to device, pinned", "GB/s", bytes / up / 1e9)
  emit("device to host, pinned", "GB/s", bytes / down / 1e9)
  emit("device to device", "GB/s", 2 * bytes / median_time(function() e:copy_from(d) end) / 1e9, "read and written")
end

-- ------------------------------------------------------------------------------------------------------------- saxpy --
local function saxpy_lua(a, x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = a * x[i] + y[i]
  end
end
do
  local x, y = gpu.ones(n, "float32"), gpu.ones(n, "float32")
  local z = gpu.empty(n, "float32")
  -- As nvcc compiles what is written by hand: with fused multiply-adds.
  local k = gpu.kernel(saxpy_lua, { name = "saxpy", fastmath = "fma" })
  local launch = k { grid = gpu.grid_for(n, 256), block = 256 }
  local candidates = { function() z:copy_from(x) end, function() launch(1e-9, x, y) end }
  if cuda then
    local c = gpu.cuda_source([[
      extern "C" __global__ void saxpy(float a, const float *x, float *y, int n) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n)
          y[i] = a * x[i] + y[i];
      }]])
    local launch_c = c { grid = gpu.grid_for(n, 256), block = 256 }
    candidates[3] = function() launch_c(1e-9, x, y, n) end
  end
  local t = median_times(candidates)
  emit("saxpy in Lua", "GB/s", 3 * bytes / t[2] / 1e9)
  emit("saxpy in Lua, against a copy's bandwidth", "ratio", (3 * bytes / t[2]) / (2 * bytes / t[1]), "goal 0.9")
  if cuda then
    emit("saxpy in Lua, time against CUDA C++ by hand", "ratio", t[2] / t[3], "goal 1.03")
  end
  check("saxpy", y, gpu.full({ n }, y:to_host()[1], "float32"))
  local m = real and 2 ^ 24 or 2 ^ 12
  expect("saxpy", function()
    return k { grid = gpu.grid_for(m, 256), block = 256 }, { 1e-9, gpu.ones(m, "float32"), gpu.ones(m, "float32") }
  end)
end

-- ----------------------------------------------------------------------------------------------------------- stencil --
do
  local m = real and 8192 or 64
  local u, v, w = gpu.random(1):uniform { shape = { m, m }, dtype = "float32" }, gpu.zeros({ m, m }, "float32"),
    gpu.zeros({ m, m }, "float32")
  local k = gpu.kernel(function(a, b)
    local j, i = gpu.grid(2)
    if i > 1 and i < a:dim(1) and j > 1 and j < a:dim(2) then
      b[i][j] = 0.25 * (a[i - 1][j] + a[i + 1][j] + a[i][j - 1] + a[i][j + 1])
    end
  end, { name = "stencil", fastmath = "fma" })
  local launch = k { grid = gpu.grid_for({ m, m }, { 32, 8 }), block = { 32, 8 } }
  local candidates = { function() launch(u, v) end }
  if cuda then
    local c = gpu.cuda_source([[
      extern "C" __global__ void stencil(const float *a, float *b, int m) {
        int j = blockIdx.x * blockDim.x + threadIdx.x, i = blockIdx.y * blockDim.y + threadIdx.y;
        if (i > 0 && i < m - 1 && j > 0 && j < m - 1)
          b[i * m + j] = 0.25f * (a[(i - 1) * m + j] + a[(i + 1) * m + j] + a[i * m + j - 1] + a[i * m + j + 1]);
      }]])
    local launch_c = c { grid = gpu.grid_for({ m, m }, { 32, 8 }), block = { 32, 8 } }
    candidates[2] = function() launch_c(u, w, m) end
  end
  local t = median_times(candidates)
  emit("stencil in Lua", "GB/s", 2 * 4 * m * m / t[1] / 1e9, m .. " x " .. m .. " float32")
  if cuda then
    check("stencil", v, w)
    emit("stencil in Lua, time against CUDA C++ by hand", "ratio", t[1] / t[2], "goal 1.03")
  end
  local s = real and 2048 or 64
  expect("stencil", function()
    return k { grid = gpu.grid_for({ s, s }, { 32, 8 }), block = { 32, 8 } }, { gpu.ones(s, s, "float32"),
      gpu.zeros(s, s, "float32") }
  end)
end

-- --------------------------------------------------------------------------------------------------------- transpose --
do
  local m = real and 8192 or 64
  local a, b, c = gpu.random(2):uniform { shape = { m, m }, dtype = "float32" }, gpu.zeros({ m, m }, "float32"),
    gpu.zeros({ m, m }, "float32")
  local naive = gpu.kernel(function(from, to)
    local j, i = gpu.grid(2)
    if i <= from:dim(1) and j <= from:dim(2) then
      to[j][i] = from[i][j]
    end
  end, { name = "transpose_naive" })
  local tiled = gpu.kernel(function(from, to)
    local tile = gpu.shared("float32", 32, 33)
    local x, y = gpu.threadIdx.x, gpu.threadIdx.y
    local j, i = (gpu.blockIdx.x - 1) * 32 + x, (gpu.blockIdx.y - 1) * 32 + y
    for r = 0, 24, 8 do
      if i + r <= from:dim(1) and j <= from:dim(2) then
        tile[y + r][x] = from[i + r][j]
      end
    end
    gpu.sync()
    j, i = (gpu.blockIdx.y - 1) * 32 + x, (gpu.blockIdx.x - 1) * 32 + y
    for r = 0, 24, 8 do
      if i + r <= to:dim(1) and j <= to:dim(2) then
        to[i + r][j] = tile[x][y + r]
      end
    end
  end, { name = "transpose_tiled" })
  local first = naive { grid = gpu.grid_for({ m, m }, { 32, 8 }), block = { 32, 8 } }
  local second = tiled { grid = gpu.grid_for({ m, m }, { 32, 32 }), block = { 32, 8 } }
  local t = median_times { function() first(a, b) end, function() second(a, c) end, function() b:copy_from(a) end }
  first(a, b)
  check("transpose", b, c)
  emit("transpose, naive, in Lua", "GB/s", 8 * m * m / t[1] / 1e9)
  emit("transpose, tiled, in Lua", "GB/s", 8 * m * m / t[2] / 1e9)
  emit("transpose, tiled, against a copy's bandwidth", "ratio", t[3] / t[2])
  local s = real and 2048 or 64
  local function arrays()
    return { gpu.ones(s, s, "float32"), gpu.zeros(s, s, "float32") }
  end
  expect("transpose, naive", function()
    return naive { grid = gpu.grid_for({ s, s }, { 32, 8 }), block = { 32, 8 } }, arrays()
  end)
  expect("transpose, tiled", function()
    return tiled { grid = gpu.grid_for({ s, s }, { 32, 32 }), block = { 32, 8 } }, arrays()
  end)
end

-- --------------------------------------------------------------------------------------------------------- reduction --
do
  local x = gpu.random(3):uniform { shape = n, dtype = "float32" }
  local total = gpu.zeros(1, "float64")
  local k = gpu.kernel(function(a, out)
    local sums = gpu.shared("float64", 256)
    local t, sum = gpu.threadIdx.x, 0.0
    for i = gpu.grid(1), #a, gpu.gridsize(1) do
      sum = sum + a[i]
    end
    sums[t] = sum
    gpu.sync()
    local half = 128
    while half > 0 do
      if t <= half then
        sums[t] = sums[t] + sums[t + half]
      end
      gpu.sync()
      half = bit.rshift(half, 1)
    end
    if t == 1 then
      gpu.atomic.add(out, 1, sums[1])
    end
  end, { name = "reduction" })
  local blocks = gpu.grid_for(real and 2 ^ 20 or 512, 256)
  local launch = k { grid = blocks, block = 256 }
  total:fill(0)
  launch(x, total)
  local expected = x:to_host():sum()
  local got = total:item()
  assert(math.abs(got - expected) < 1e-6 * math.abs(expected), "reduction: the results differ")
  assert(math.abs(x:sum() - expected) < 1e-6 * math.abs(expected), "d:sum(): the results differ")
  emit("reduction in Lua", "GB/s", bytes / median_time(function() launch(x, total) end) / 1e9)
  emit("d:sum()", "GB/s", bytes / median_time(function() x:sum() end) / 1e9)
  local m = real and 2 ^ 24 or 2 ^ 12
  expect("reduction", function()
    return k { grid = real and 1056 or 2, block = 256 }, { gpu.ones(m, "float32"), gpu.zeros(1, "float64") }
  end)
end

-- ------------------------------------------------------------------------------------------------------------ matmul --
do
  local m = real and 4096 or 48
  local a, b = gpu.random(4):uniform { shape = { m, m }, dtype = "float32" }, gpu.random(5):uniform { shape = { m, m },
    dtype = "float32" }
  local c, d = gpu.zeros({ m, m }, "float32"), gpu.zeros({ m, m }, "float32")
  local naive = gpu.kernel(function(x, y, z)
    local j, i = gpu.grid(2)
    if i <= z:dim(1) and j <= z:dim(2) then
      local sum = kernel.float32(0)
      for k = 1, x:dim(2) do
        sum = sum + x[i][k] * y[k][j]
      end
      z[i][j] = sum
    end
  end, { name = "matmul_naive", fastmath = "fma" })
  local shared = gpu.kernel(function(x, y, z)
    local s, t = gpu.shared("float32", 16, 16), gpu.shared("float32", 16, 16)
    local tx, ty = gpu.threadIdx.x, gpu.threadIdx.y
    local j, i = gpu.grid(2)
    local sum = kernel.float32(0)
    for k = 0, x:dim(2) - 1, 16 do
      s[ty][tx] = i <= x:dim(1) and k + tx <= x:dim(2) and x[i][k + tx] or 0
      t[ty][tx] = k + ty <= y:dim(1) and j <= y:dim(2) and y[k + ty][j] or 0
      gpu.sync()
      for l = 1, 16 do
        sum = sum + s[ty][l] * t[l][tx]
      end
      gpu.sync()
    end
    if i <= z:dim(1) and j <= z:dim(2) then
      z[i][j] = sum
    end
  end, { name = "matmul_shared", fastmath = "fma" })
  local grid, block = gpu.grid_for({ m, m }, { 16, 16 }), { 16, 16 }
  local first, second = naive { grid = grid, block = block }, shared { grid = grid, block = block }
  local candidates = { function() first(a, b, c) end, function() second(a, b, d) end, function() gpu.matmul(a, b) end }
  if cuda then
    local by_hand = gpu.cuda_source([[
      extern "C" __global__ void matmul(const float *x, const float *y, float *z, int m) {
        __shared__ float s[16][16], t[16][16];
        int tx = threadIdx.x, ty = threadIdx.y;
        int j = blockIdx.x * 16 + tx, i = blockIdx.y * 16 + ty;
        float sum = 0;
        for (int k = 0; k < m; k += 16) {
          s[ty][tx] = i < m && k + tx < m ? x[i * m + k + tx] : 0;
          t[ty][tx] = k + ty < m && j < m ? y[(k + ty) * m + j] : 0;
          __syncthreads();
          for (int l = 0; l < 16; ++l)
            sum += s[ty][l] * t[l][tx];
          __syncthreads();
        }
        if (i < m && j < m)
          z[i * m + j] = sum;
      }]])
    local e = gpu.zeros({ m, m }, "float32")
    local launch_c = by_hand { grid = grid, block = block }
    candidates[4] = function() launch_c(a, b, e, m) end
  end
  local t = median_times(candidates, 10)
  check("matmul", c, d, 1e-3)
  check("matmul", c, gpu.matmul(a, b), 1e-3)
  local flops = 2 * m ^ 3
  emit("matmul, naive, in Lua", "TFLOP/s", flops / t[1] / 1e12, m .. " x " .. m .. " float32")
  emit("matmul, shared memory, in Lua", "TFLOP/s", flops / t[2] / 1e12)
  emit("matmul, cuBLAS", "TFLOP/s", flops / t[3] / 1e12)
  if cuda then
    emit("matmul, shared memory, time against CUDA C++ by hand", "ratio", t[2] / t[4], "goal 1.03")
  end
  local s = real and 512 or 32
  for name, kernel_of in pairs { ["matmul, naive"] = naive, ["matmul, shared memory"] = shared } do
    expect(name, function()
      return kernel_of { grid = gpu.grid_for({ s, s }, { 16, 16 }), block = { 16, 16 } }, { gpu.ones(s, s, "float32"),
        gpu.ones(s, s, "float32"), gpu.zeros(s, s, "float32") }
    end)
  end
end

-- ------------------------------------------------------------------------------------------------ copies beside kernels
local overlap
do
  local k = gpu.kernel(function(x, y)
    local i = gpu.grid(1)
    if i <= #x then
      y[i] = math.sqrt(x[i])
    end
  end, { name = "root" })
  local m = real and 2 ^ 22 or 2 ^ 12
  -- In how many pieces on how many streams: a function that does it, on the device in use.
  local function pieces(chunks, count)
    local from, to = gpu.pinned(array.ones(m, "float32")), gpu.pinned(m, "float32")
    local x, y, streams = gpu.empty(m, "float32"), gpu.empty(m, "float32"), {}
    for i = 1, count do
      streams[i] = gpu.stream()
    end
    return function()
      for c = 1, chunks do
        local part, s = { { (c - 1) * m / chunks + 1, c * m / chunks } }, streams[c % count + 1]
        x[part]:copy_from(from[part], { stream = s })
        k { grid = gpu.grid_for(m / chunks, 256), block = 256, stream = s } (x[part], y[part])
        y[part]:to_host { out = to[part], stream = s }
      end
      gpu.synchronize()
    end
  end
  local function speedup(time_of)
    return time_of(pieces(1, 1)) / time_of(pieces(16, 3))
  end
  local measured = speedup(function(f) return median_time(f, 10) end)
  emit("copies beside kernels, 16 chunks on 3 streams against one piece", "ratio", measured, m .. " float32 there and back")
  overlap = { measured, speedup }
end

-- --------------------------------------------------------------------------------------------------- launch latency ---
do
  local x = gpu.zeros(32, "float32")
  local k = gpu.kernel(function(a)
    a[gpu.threadIdx.x] = 1
  end, { name = "tiny" })
  local launch = k { grid = 1, block = 32 }
  local count = real and 20000 or 50
  local function per_call(f)
    for _ = 1, 100 do
      f()
    end
    gpu.synchronize()
    local best = math.huge
    for _ = 1, 5 do
      local start = timer.now()
      for _ = 1, count do
        f()
      end
      best = math.min(best, (timer.now() - start) / count)
      gpu.synchronize()
    end
    return best
  end
  local ours = per_call(function() launch(x) end)
  emit("launch from Lua", "us", ours * 1e6)
  if cuda then
    local bare = per_call(gpu._bare_launch(launch))
    emit("launch, the driver's call alone", "us", bare * 1e6)
    emit("launch, Lua's share", "us", (ours - bare) * 1e6, "goal 1")
  end
  local start = timer.now()
  for _ = 1, real and 200 or 5 do
    launch(x)
    gpu.synchronize()
  end
  emit("launch and wait", "us", (timer.now() - start) / (real and 200 or 5) * 1e6)
end

-- ------------------------------------------------------------------------------------- estimates against measurements --
if model or not cuda then
  gpu.use("sim")
  gpu.mode("checked")
  gpu.model(model or "H200")
  for _, e in ipairs(estimates) do
    local name, measured, make = e[1], e[2], e[3]
    local launch, arguments = make()
    launch(unpack(arguments))
    local r = gpu.report()
    emit("estimate over measured time: " .. name, "ratio", r.estimate.time / measured,
      ("%.1f us measured, bound by %s"):format(measured * 1e6, r.estimate.bound))
  end
  emit("estimate over measured gain: copies beside kernels", "ratio", overlap[2](function(f) return gpu.timeline(f).time end) /
    overlap[1])
end
