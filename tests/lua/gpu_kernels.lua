-- Kernels of a GPU on the checked simulator: what they compute is what a plain loop computes, and no alarm is raised.
local lu = require "luaunit"
local pg = require "perigee"
local gpu, array, kernel, random = pg.gpu, pg.array, pg.kernel, pg.random
local on_gpu = os.getenv("PERIGEE_GPU") == "cuda" -- tests/gpu/run, and CTest on a stand-in for the driver
gpu.use(on_gpu and "cuda" or "sim")

local function f32(...) return array.zeros(..., "float32") end
local function f64(...) return array.zeros(...) end
local function i32(...) return array.zeros(..., "int32") end
local function i64(...) return array.zeros(..., "int64") end
local function rand(shape)
  return random.generator(7):uniform { shape = shape, dtype = "float32" }
end
local function integers(low, high, shape)
  return random.generator(7):integers(low, high - 1, { shape = shape, dtype = "int32" })
end

local function fails_with(text, f, ...)
  local ok, message = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertStrContains(tostring(message), text)
end

TestCorrect = {}

-- Assembles PTX by the toolkit's ptxas, where it is.
local ptxas
for _, path in ipairs { "ptxas", (os.getenv("CUDA_HOME") or "/usr/local/cuda") .. "/bin/ptxas" } do
  ptxas = ptxas or os.execute(("'%s' --version > /dev/null 2>&1"):format(path)) == 0 and path or nil
end
local compiler, no_compiler = gpu.compiler()
if not compiler or not ptxas then
  print("CUDA C++ is not compiled and assembled here: " .. (no_compiler or "no ptxas"))
end
local architectures, next_architecture = { "75", "80", "90" }, 0

local function assemble(name, k)
  next_architecture = next_architecture % #architectures + 1
  local architecture = architectures[next_architecture]
  local ptx = gpu.cuda_source(k:inspect("cuda"), { architecture = "compute_" .. architecture }):inspect("ptx",
    "compute_" .. architecture)
  lu.assertStrContains(ptx, ".target sm_" .. architecture)
  local path = os.tmpname()
  local file = io.open(path, "w")
  file:write(ptx)
  file:close()
  local status = os.execute(("'%s' -arch=sm_%s '%s' -o '%s.cubin'"):format(ptxas, architecture, path, path))
  os.remove(path)
  os.remove(path .. ".cubin")
  lu.assertEquals(status, 0, name .. " does not assemble")
end

-- Launches fn and compares each argument after it with what `expected` makes of copies: checked, as compiled code and on a
-- GPU. Its CUDA C++ is compiled and assembled.
local function check(name, launch, arguments, fn, expected, tolerance)
  for _, mode in ipairs(on_gpu and { "cuda" } or pg.available("llvm") and { "checked", "fast" } or { "checked" }) do
    TestCorrect["test_" .. name .. "_" .. mode] = function()
      if not on_gpu then
        gpu.mode(mode)
      end
      local ours, theirs = {}, {}
      for i, a in ipairs(arguments) do
        local copied = type(a) == "cdata" and array.is(a)
        ours[i], theirs[i] = copied and a:copy() or a, copied and a:copy() or a
      end
      local k = gpu.kernel(fn, { name = name })
      k(launch)(unpack(ours))
      if not on_gpu then
        gpu.mode("checked")
        lu.assertEquals(gpu.problems(), {})
        if mode == "checked" and compiler and ptxas then
          assemble(name, k)
        end
      end
      expected(unpack(theirs))
      for i, a in ipairs(arguments) do
        if type(a) == "cdata" and array.is(a) then
          lu.assertTrue(array.allclose(ours[i], theirs[i], { rtol = tolerance or 1e-6, atol = tolerance or 1e-6 }),
            "argument " .. i .. ": " .. tostring(ours[i]) .. " instead of " .. tostring(theirs[i]))
        end
      end
    end
  end
end

-- ------------------------------------------------------------------------------------------- elementwise -------------
check("saxpy", { grid = gpu.grid_for(1000, 256), block = 256 }, { 2.5, rand(1000), rand(1000) }, function(a, x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = a * x[i] + y[i]
  end
end, function(a, x, y)
  for i = 1, #x do y[i] = a * x[i] + y[i] end
end)

check("indices_by_hand", { grid = 4, block = 32 }, { i64(128) }, function(y)
  local i = (gpu.blockIdx.x - 1) * gpu.blockDim.x + gpu.threadIdx.x
  y[i] = i + 1000 * gpu.gridDim.x
end, function(y)
  for i = 1, #y do y[i] = i + 4000 end
end)

check("grid_stride", { grid = 3, block = 32 }, { rand(1000), f32(1000) }, function(x, y)
  for i = gpu.grid(1), #x, gpu.gridsize(1) do
    y[i] = x[i] * x[i]
  end
end, function(x, y)
  for i = 1, #x do y[i] = x[i] * x[i] end
end)

check("stride_helper", { grid = gpu.grid_stride(1000, 64), block = 64 }, { rand(1000), f32(1000) }, function(x, y)
  for i in gpu.stride(#x) do
    if x[i] > 0.5 then
      y[i] = 1
    else
      y[i] = -x[i]
    end
  end
end, function(x, y)
  for i = 1, #x do y[i] = x[i] > 0.5 and 1 or -x[i] end
end)

check("two_dimensions", { grid = { 3, 2 }, block = { 8, 8 } }, { f32({ 13, 20 }) }, function(a)
  local i, j = gpu.grid(2)
  if i <= a.shape[2] and j <= a.shape[1] then
    a[j][i] = 100 * j + i
  end
end, function(a)
  for j = 1, 13 do for i = 1, 20 do a[j][i] = 100 * j + i end end
end)

check("three_dimensions", { grid = { 2, 2, 2 }, block = { 4, 2, 2 } }, { i32({ 3, 4, 7 }) }, function(a)
  local i, j, k = gpu.grid(3)
  if i <= a:dim(3) and j <= a:dim(2) and k <= a:dim(1) then
    a:set(k, j, i, 100 * k + 10 * j + i)
  end
end, function(a)
  for k = 1, 3 do for j = 1, 4 do for i = 1, 7 do a[k][j][i] = 100 * k + 10 * j + i end end end
end)

check("assigned_grid", { grid = { 2, 2 }, block = { 8, 4 } }, { i32({ 8, 16 }) }, function(a)
  local i, j = 0, 0
  i, j = gpu.grid(2)
  a[j][i] = i * j
end, function(a)
  for j = 1, 8 do for i = 1, 16 do a[j][i] = i * j end end
end)

check("mathematics", { grid = 4, block = 64 }, { random.generator(3):uniform { shape = 256 }, f64(256) }, function(x, y)
  local i = gpu.grid(1)
  local v = x[i]
  y[i] = math.sin(v) + math.cos(v) * math.exp(-v) + math.sqrt(v) + math.log(v + 1) + math.floor(7 * v) + v ^ 2 + v ^ 0.3 +
    math.max(v, 0.5) - math.min(v, 0.25) + math.abs(v - 0.5) + math.atan2(v, 2) + math.fmod(9 * v, 2) + (9 * v) % 2
end, function(x, y)
  for i = 1, #x do
    local v = x[i]
    y[i] = math.sin(v) + math.cos(v) * math.exp(-v) + math.sqrt(v) + math.log(v + 1) + math.floor(7 * v) + v ^ 2 + v ^ 0.3 +
      math.max(v, 0.5) - math.min(v, 0.25) + math.abs(v - 0.5) + math.atan2(v, 2) + math.fmod(9 * v, 2) + (9 * v) % 2
  end
end, 1e-12)

check("integers_and_bits", { grid = 2, block = 64 }, { integers(-1000, 1000, 128), i64(128) }, function(x, y)
  local i = gpu.grid(1)
  local v = x[i]
  y[i] = bit.bxor(v, i) + bit.lshift(v, 2) + v % 7 + bit.band(v, 255) - bit.rshift(v, 28) + bit.arshift(v, 3)
end, function(x, y)
  for i = 1, #x do
    local v = x[i]
    y[i] = bit.bxor(v, i) + bit.lshift(v, 2) + v % 7 + bit.band(v, 255) - bit.rshift(v, 28) + bit.arshift(v, 3)
  end
end)

local function mandelbrot(cr, ci, most)
  local zr, zi = 0.0, 0.0
  for k = 1, most do
    local r = zr * zr - zi * zi + cr
    zi = 2 * zr * zi + ci
    zr = r
    if zr * zr + zi * zi > 4 then
      return k
    end
  end
  return most
end
check("device_function", { grid = { 4, 4 }, block = { 8, 8 } }, { i32({ 30, 31 }) }, function(out)
  local i, j = gpu.grid(2)
  if i <= out.shape[2] and j <= out.shape[1] then
    out[j][i] = mandelbrot(-2 + i / 10, -1.5 + j / 10, 50)
  end
end, function(out)
  for j = 1, 30 do for i = 1, 31 do out[j][i] = mandelbrot(-2 + i / 10, -1.5 + j / 10, 50) end end
end)

local function two(x, y) return x + y, x - y end
local function dot(a, b)
  local s = 0.0
  for k = 1, #a do s = s + a[k] * b[k] end
  return s
end
check("rows_to_functions", { grid = 1, block = 32 }, { rand({ 20, 5 }), rand({ 20, 5 }), f64(20), f64(20) },
  function(a, b, y, z)
    local i = gpu.grid(1)
    if i <= #y then
      y[i], z[i] = two(dot(a[i], b[i]), 1.0)
    end
  end, function(a, b, y, z)
    for i = 1, 20 do y[i], z[i] = two(dot(a[i], b[i]), 1.0) end
  end)

check("control_flow", { grid = 2, block = 50 }, { i64(100) }, function(y)
  local i = gpu.grid(1)
  local s, n = 0, i
  while n ~= 1 do
    if n % 2 == 0 then n = bit.rshift(n, 1) else n = 3 * n + 1 end
    s = s + 1
    if s > 60 then break end
  end
  repeat
    s = s + 1
    local done = s % 3 == 0
  until done
  for k = 10, 1, -3 do
    if (k + i) % 2 == 0 then goto continue end
    for m = 1, 3 do
      if m * k > i then break end
      s = s + m
    end
    ::continue::
  end
  y[i] = s
end, function(y)
  for i = 1, 100 do
    local s, n = 0, i
    while n ~= 1 do
      if n % 2 == 0 then n = bit.rshift(n, 1) else n = 3 * n + 1 end
      s = s + 1
      if s > 60 then break end
    end
    repeat
      s = s + 1
      local done = s % 3 == 0
    until done
    for k = 10, 1, -3 do
      if (k + i) % 2 == 0 then goto continue end
      for m = 1, 3 do
        if m * k > i then break end
        s = s + m
      end
      ::continue::
    end
    y[i] = s
  end
end)

check("short_circuit", { grid = 1, block = 64 }, { rand(40), f32(64) }, function(x, y)
  local i = gpu.grid(1)
  if i <= #x and x[i] > 0.5 or i > 60 then
    y[i] = 1
  else
    y[i] = i <= #x and x[i] or -1
  end
end, function(x, y)
  for i = 1, 64 do
    if i <= 40 and x[i] > 0.5 or i > 60 then y[i] = 1 else y[i] = i <= 40 and x[i] or -1 end
  end
end)

check("own_arrays", { grid = 2, block = 32 }, { rand(64), f64(64) }, function(x, y)
  local i = gpu.grid(1)
  local t = array.zeros(4)
  local flags = array.zeros(4, "bool")
  for k = 1, 4 do
    t[k] = x[i] * k
    flags[k] = k > 2
  end
  local s = 0.0
  for k = 1, 4 do
    if flags[k] then s = s + t[k] end
  end
  y[i] = s
end, function(x, y)
  for i = 1, 64 do y[i] = x[i] * 3 + x[i] * 4 end
end)

check("complex_numbers", { grid = 1, block = 32 }, { array.zeros(32, "complex128"), f64(32) }, function(z, y)
  local i = gpu.grid(1)
  z[i] = kernel.complex(i, 2) * kernel.complex(1, -1) / kernel.complex(2, 0.5)
  y[i] = z[i].re + math.abs(z[i])
end, kernel.jit(function(z, y)
  for i = 1, #y do
    z[i] = kernel.complex(i, 2) * kernel.complex(1, -1) / kernel.complex(2, 0.5)
    y[i] = z[i].re + math.abs(z[i])
  end
end), 1e-12)

check("strided_and_other_dtypes", { grid = 1, block = 64 }, { rand({ 10, 6 }):transpose(), array.zeros(60, "uint8"),
  array.zeros(60, "int16"), array.zeros(60, "bool") }, function(a, b, c, d)
  local i = gpu.grid(1)
  if i <= 60 then
    local row, column = (i - 1) % 6 + 1, math.floor((i - 1) / 6) + 1
    b[i] = math.floor(a[row][column] * 200)
    c[i] = b[i] - 300
    d[i] = b[i] > 100
  end
end, function(a, b, c, d)
  for i = 1, 60 do
    local row, column = (i - 1) % 6 + 1, math.floor((i - 1) / 6) + 1
    b[i] = math.floor(a[row][column] * 200)
    c[i] = b[i] - 300
    d[i] = b[i] > 100
  end
end)

-- ----------------------------------------------------------------------------------------- shared memory -------------
-- Right, though it looks like a race from afar.
check("many_barriers", { grid = 2, block = 64 }, { rand(128), f32(128) }, function(x, y)
  local s = gpu.shared("float32", 64)
  local t = gpu.threadIdx.x
  s[t] = x[gpu.grid(1)]
  gpu.sync()
  local first = s[65 - t]
  for _ = 1, 1024 do
    gpu.sync()
  end
  s[t] = first
  y[gpu.grid(1)] = s[t]
end, function(x, y)
  for b = 0, 1 do for t = 1, 64 do y[b * 64 + t] = x[b * 64 + 65 - t] end end
end)

check("many_barriers_of_warps", { grid = 1, block = 64 }, { rand(64), f32(64) }, function(x, y)
  local s = gpu.shared("float32", 64)
  local t = gpu.threadIdx.x
  s[t] = x[t]
  for k = 1, 64 do
    gpu.syncwarp()
    local v = s[bit.bxor(t - 1, 1) + 1]
    gpu.syncwarp()
    s[t] = v
  end
  y[t] = s[t]
end, function(x, y)
  for t = 1, 64 do y[t] = x[t] end
end)

check("read_by_all_then_written_by_one", { grid = 1, block = 96 }, { rand(96), f32(97) }, function(x, y)
  local s = gpu.shared("float32", 1)
  local t = gpu.threadIdx.x
  if t == 1 then
    s[1] = x[1]
  end
  gpu.sync()
  y[t] = s[1] + s[1]
  gpu.sync()
  if t == 96 then
    s[1] = s[1] + 1
    y[97] = s[1]
  end
end, function(x, y)
  for t = 1, 96 do y[t] = x[1] + x[1] end
  y[97] = x[1] + 1
end)

check("atomics_then_a_barrier_then_one_reads", { grid = 1, block = 96 }, { integers(0, 100, 96), i32(1), i32(1) }, function(x, total, y)
  local t = gpu.threadIdx.x
  gpu.atomic.add(total, 1, x[t])
  gpu.sync()
  if t == 5 then
    y[1] = total[1]
  end
end, function(x, total, y)
  for t = 1, 96 do total[1] = total[1] + x[t] end
  y[1] = total[1]
end)

check("strided_loop_over_rows", { grid = { 2, 2 }, block = { 16, 4 } }, { rand({ 21, 50 }), f32({ 21, 50 }) }, function(a, b)
  local j, i = gpu.grid(2)
  local columns, rows = gpu.gridsize(2)
  for r = i, a.shape[1], rows do
    for c = j, a.shape[2], columns do
      b[r][c] = a[r][c] + r
    end
  end
end, function(a, b)
  for r = 1, 21 do for c = 1, 50 do b[r][c] = a[r][c] + r end end
end)

check("reverse_in_blocks", { grid = 3, block = 32 }, { rand(96), f32(96) }, function(x, y)
  local tile = gpu.shared("float32", 32)
  local i, t = gpu.grid(1), gpu.threadIdx.x
  tile[t] = x[i]
  gpu.sync()
  y[i] = tile[33 - t]
end, function(x, y)
  for b = 0, 2 do for t = 1, 32 do y[b * 32 + t] = x[b * 32 + 33 - t] end end
end)

check("launch_memory", { grid = 2, block = 64, shared = 64 * 4 }, { rand(128), f32(128) }, function(x, y)
  local tile = gpu.shared("float32")
  local i, t = gpu.grid(1), gpu.threadIdx.x
  tile[t] = x[i]
  gpu.sync()
  y[i] = tile[#tile + 1 - t]
end, function(x, y)
  for b = 0, 1 do for t = 1, 64 do y[b * 64 + t] = x[b * 64 + 65 - t] end end
end)

local T = 8
check("matmul", { grid = { 3, 3 }, block = { 8, 8 } }, { rand({ 20, 17 }), rand({ 17, 23 }), f32({ 20, 23 }) },
  function(a, b, c)
    local ta, tb = gpu.shared("float32", T, T + 1), gpu.shared("float32", T, 2 * T - 4)
    local i, j = gpu.grid(2)
    local tx, ty = gpu.threadIdx.x, gpu.threadIdx.y
    local n = a.shape[2]
    local s = 0.0
    for first = 1, n, T do
      if j <= a.shape[1] and first + tx - 1 <= n then ta[ty][tx] = a[j][first + tx - 1] else ta[ty][tx] = 0 end
      if i <= b.shape[2] and first + ty - 1 <= n then tb[ty][tx] = b[first + ty - 1][i] else tb[ty][tx] = 0 end
      gpu.sync()
      for k = 1, T do
        s = s + ta[ty][k] * tb[k][tx]
      end
      gpu.sync()
    end
    if i <= c.shape[2] and j <= c.shape[1] then
      c[j][i] = s
    end
  end, function(a, b, c)
    for j = 1, 20 do for i = 1, 23 do
      local s = 0
      for k = 1, 17 do s = s + a[j][k] * b[k][i] end
      c[j][i] = s
    end end
  end, 1e-5)

check("transpose", { grid = { 2, 3 }, block = { 16, 16 } }, { rand({ 40, 30 }), f32({ 30, 40 }) }, function(a, b)
  local tile = gpu.shared("float32", 16, 17)
  local i, j = gpu.grid(2)
  local tx, ty = gpu.threadIdx.x, gpu.threadIdx.y
  if i <= a.shape[2] and j <= a.shape[1] then
    tile[ty][tx] = a[j][i]
  end
  gpu.sync()
  local column = (gpu.blockIdx.y - 1) * 16 + tx
  local row = (gpu.blockIdx.x - 1) * 16 + ty
  if row <= b.shape[1] and column <= b.shape[2] then
    b[row][column] = tile[tx][ty]
  end
end, function(a, b)
  for j = 1, 40 do for i = 1, 30 do b[i][j] = a[j][i] end end
end)

check("stencil", { grid = gpu.grid_for(100, 32), block = 32 }, { rand(100), f32(100) }, function(x, y)
  local i = gpu.grid(1)
  if i > 1 and i < #x then
    y[i] = 0.25 * x[i - 1] + 0.5 * x[i] + 0.25 * x[i + 1]
  end
end, function(x, y)
  for i = 2, 99 do y[i] = 0.25 * x[i - 1] + 0.5 * x[i] + 0.25 * x[i + 1] end
end)

check("stencil_with_halo", { grid = gpu.grid_for({ 30, 22 }, { 8, 8 }), block = { 8, 8 } }, { rand({ 22, 30 }), f32({ 22, 30 }) },
  function(u, v)
    local tile = gpu.shared("float32", 10, 10)
    local i, j = gpu.grid(2)
    local x, y = gpu.threadIdx.x, gpu.threadIdx.y
    local n, m = u.shape[2], u.shape[1]
    for q = y, 10, 8 do
      for p = x, 10, 8 do
        local column, row = (gpu.blockIdx.x - 1) * 8 + p - 1, (gpu.blockIdx.y - 1) * 8 + q - 1
        if column >= 1 and column <= n and row >= 1 and row <= m then
          tile[q][p] = u[row][column]
        end
      end
    end
    gpu.sync()
    if i > 1 and i < n and j > 1 and j < m then
      v[j][i] = 0.25 * (tile[y][x + 1] + tile[y + 2][x + 1] + tile[y + 1][x] + tile[y + 1][x + 2])
    end
  end, function(u, v)
    for j = 2, 21 do for i = 2, 29 do v[j][i] = 0.25 * (u[j - 1][i] + u[j + 1][i] + u[j][i - 1] + u[j][i + 1]) end end
  end)

check("block_sums", { grid = 4, block = 64 }, { rand(250), f32(4) }, function(x, partial)
  local s = gpu.shared("float32", 64)
  local i, t = gpu.grid(1), gpu.threadIdx.x
  if i <= #x then s[t] = x[i] else s[t] = 0 end
  gpu.sync()
  local half = 32
  while half >= 1 do
    if t <= half then
      s[t] = s[t] + s[t + half]
    end
    gpu.sync()
    half = bit.rshift(half, 1)
  end
  if t == 1 then
    partial[gpu.blockIdx.x] = s[1]
  end
end, function(x, partial)
  for b = 1, 4 do
    local s = 0
    for i = 64 * b - 63, math.min(64 * b, 250) do s = s + x[i] end
    partial[b] = s
  end
end, 1e-5)

check("scan", { grid = 1, block = 64 }, { rand(64), f32(64) }, function(x, y)
  local s = gpu.shared("float32", 64)
  local t = gpu.threadIdx.x
  s[t] = x[t]
  gpu.sync()
  local away = 1
  while away < 64 do
    local v = 0.0
    if t > away then v = s[t - away] end
    gpu.sync()
    s[t] = s[t] + v
    gpu.sync()
    away = away * 2
  end
  y[t] = s[t]
end, function(x, y)
  local s = 0
  for i = 1, 64 do s = s + x[i] y[i] = s end
end, 1e-5)

check("flag_of_many", { grid = 1, block = 128 }, { rand(128), i32(1) }, function(x, found)
  local flag = gpu.shared("int32", 1)
  local t = gpu.threadIdx.x
  if t == 1 then flag[1] = 0 end
  gpu.sync()
  if x[t] > 0.9 then flag[1] = 1 end -- all write the same
  gpu.sync()
  if t == 1 then found[1] = flag[1] end
end, function(x, found)
  for i = 1, 128 do if x[i] > 0.9 then found[1] = 1 end end
end)

check("barrier_in_uniform_branch", { grid = 3, block = 32 }, { f32(96) }, function(y)
  local s = gpu.shared("float32", 32)
  local t = gpu.threadIdx.x
  if gpu.blockIdx.x ~= 2 then
    s[t] = t
    gpu.sync()
    y[gpu.grid(1)] = s[33 - t]
  else
    y[gpu.grid(1)] = 0
  end
end, function(y)
  for b = 0, 2 do for t = 1, 32 do y[32 * b + t] = b == 1 and 0 or 33 - t end end
end)

check("block_returns_early", { grid = 4, block = 32 }, { f32(64) }, function(y)
  local s = gpu.shared("float32", 32)
  if gpu.blockIdx.x > 2 then
    return
  end
  s[gpu.threadIdx.x] = gpu.grid(1)
  gpu.sync()
  y[gpu.grid(1)] = s[gpu.threadIdx.x]
end, function(y)
  for i = 1, 64 do y[i] = i end
end)

-- ---------------------------------------------------------------------------------------- atomics, warps -------------
check("atomic_sum", { grid = 4, block = 64 }, { integers(0, 100, 256), i64(1) }, function(x, total)
  gpu.atomic.add(total, 1, x[gpu.grid(1)])
end, function(x, total)
  for i = 1, 256 do total[1] = total[1] + x[i] end
end)

check("atomic_least_and_most", { grid = 2, block = 64 }, { rand(128), array.full({ 1 }, 10, { dtype = "float32" }), f32(1), i32(2) },
  function(x, least, most, bits)
    local i = gpu.grid(1)
    gpu.atomic.min(least, 1, x[i])
    gpu.atomic.max(most, 1, x[i])
    gpu.atomic.bor(bits, 1, bit.lshift(1, i % 8))
    gpu.atomic.bxor(bits, 2, i)
  end, function(x, least, most, bits)
    for i = 1, 128 do
      least[1], most[1] = math.min(least[1], x[i]), math.max(most[1], x[i])
      bits[1], bits[2] = bit.bor(bits[1], bit.lshift(1, i % 8)), bit.bxor(bits[2], i)
    end
  end)

check("histogram", { grid = 8, block = 64 }, { integers(0, 10, 512), i32(10) }, function(x, bins)
  gpu.atomic.add(bins, x[gpu.grid(1)] + 1, 1)
end, function(x, bins)
  for i = 1, 512 do bins[x[i] + 1] = bins[x[i] + 1] + 1 end
end)

check("histogram_in_shared", { grid = 8, block = 64 }, { integers(0, 10, 512), i32(10) }, function(x, bins)
  local own = gpu.shared("int32", 10)
  local t = gpu.threadIdx.x
  if t <= 10 then own[t] = 0 end
  gpu.sync()
  gpu.atomic.add(own, x[gpu.grid(1)] + 1, 1)
  gpu.sync()
  if t <= 10 then gpu.atomic.add(bins, t, own[t]) end
end, function(x, bins)
  for i = 1, 512 do bins[x[i] + 1] = bins[x[i] + 1] + 1 end
end)

check("exchange_and_cas", { grid = 1, block = 64 }, { i32(2), i32(64) }, function(state, winners)
  local t = gpu.threadIdx.x
  winners[t] = 0
  if gpu.atomic.cas(state, 1, 0, 1) == 0 then
    winners[t] = 1
  end
  gpu.atomic.exchange(state, 2, 5)
end, function(state, winners)
  state[1], state[2], winners[1] = 1, 5, 1
end)

check("last_block_adds_up", { grid = 4, block = 32 }, { rand(128), f32(4), i32(1), f32(1) }, function(x, partial, done, total)
  local s = gpu.shared("float32", 32)
  local last = gpu.shared("bool", 1)
  local t = gpu.threadIdx.x
  s[t] = x[gpu.grid(1)]
  gpu.sync()
  if t == 1 then
    local sum = 0.0
    for k = 1, 32 do sum = sum + s[k] end
    partial[gpu.blockIdx.x] = sum
    gpu.threadfence()
    last[1] = gpu.atomic.add(done, 1, 1) == gpu.gridDim.x - 1
  end
  gpu.sync()
  if last[1] and t == 1 then
    local sum = 0.0
    for k = 1, gpu.gridDim.x do sum = sum + partial[k] end
    total[1] = sum
  end
end, function(x, partial, done, total)
  done[1] = 4
  for b = 1, 4 do
    for t = 1, 32 do partial[b] = partial[b] + x[32 * b - 32 + t] end
    total[1] = total[1] + partial[b]
  end
end, 1e-5)

check("warp_sum", { grid = 2, block = 64 }, { rand(128), f32(4) }, function(x, sums)
  local i = gpu.grid(1)
  local v = x[i]
  local away = 16
  while away > 0 do
    v = v + gpu.shfl_down(v, away)
    away = bit.rshift(away, 1)
  end
  if gpu.laneid == 1 then
    sums[math.floor((i - 1) / gpu.warpsize) + 1] = v
  end
end, function(x, sums)
  for i = 1, 128 do
    local w = math.floor((i - 1) / 32) + 1
    sums[w] = sums[w] + x[i]
  end
end, 1e-5)

check("shuffles", { grid = 1, block = 32 }, { i64(32), i64(32), i64(32), i64(32), i64(32) }, function(a, b, c, d, e)
  local t = gpu.threadIdx.x
  a[t] = gpu.shfl(10 * t, 3)
  b[t] = gpu.shfl_up(10 * t, 2)
  c[t] = gpu.shfl_xor(10 * t, 1)
  d[t] = gpu.shfl_down(10 * t, 1, 8)
  e[t] = gpu.shfl(10 * t, 33 - gpu.laneid)
end, function(a, b, c, d, e)
  for t = 1, 32 do
    a[t] = 30
    b[t] = t > 2 and 10 * (t - 2) or 10 * t
    c[t] = 10 * (bit.bxor(t - 1, 1) + 1)
    d[t] = t % 8 == 0 and 10 * t or 10 * (t + 1)
    e[t] = 10 * (33 - t)
  end
end)

check("votes", { grid = 1, block = 64 }, { rand(64), i64(64), i32(64) }, function(x, masks, votes)
  local t = gpu.threadIdx.x
  masks[t] = gpu.ballot(x[t] > 0.5)
  votes[t] = (gpu.any(x[t] > 0.999) and 1 or 0) + (gpu.all(x[t] > -1) and 2 or 0) + 4 * gpu.popc(masks[t])
end, function(x, masks, votes)
  for w = 0, 1 do
    local mask, count, any = 0, 0, false
    for l = 0, 31 do
      if x[32 * w + l + 1] > 0.5 then mask, count = mask + 2 ^ l, count + 1 end
      any = any or x[32 * w + l + 1] > 0.999
    end
    for l = 1, 32 do masks[32 * w + l], votes[32 * w + l] = mask, (any and 1 or 0) + 2 + 4 * count end
  end
end)

check("warp_with_syncwarp", { grid = 1, block = 32 }, { rand(32), f32(32) }, function(x, y)
  local s = gpu.shared("float32", 32)
  local t = gpu.threadIdx.x
  s[t] = x[t]
  gpu.syncwarp()
  y[t] = s[33 - t]
end, function(x, y)
  for t = 1, 32 do y[t] = x[33 - t] end
end)

check("captured_and_prefixed", { grid = 1, block = 32 }, { f32(32) }, function(y)
  y[pg.gpu.grid(1)] = pg.kernel.float32(1) / T
end, function(y)
  for t = 1, 32 do y[t] = 1 / T end
end)

check("part_of_an_array", { grid = 1, block = 32, partial = true }, { f32(100) }, function(y)
  local i = gpu.grid(1)
  y[i + 10] = i
end, function(y)
  for i = 1, 32 do y[i + 10] = i end
end)

check("result_of_the_last_thread", { grid = 4, block = 32 }, { rand(128), f32(100) }, function(x, out)
  local i = gpu.grid(1)
  if i == #x then
    out[1] = x[i]
  end
end, function(x, out) out[1] = x[128] end)

check("lock", { grid = 4, block = 1 }, { i32(1), i64(1) }, function(lock, total)
  while gpu.atomic.cas(lock, 1, 0, 1) ~= 0 do end
  total[1] = total[1] + gpu.blockIdx.x
  gpu.threadfence()
  gpu.atomic.exchange(lock, 1, 0)
end, function(_, total) total[1] = 10 end)

check("double_buffer", { grid = 1, block = 64 }, { rand(64), f32(64) }, function(x, y)
  local s = gpu.shared("float32", 2, 64)
  local t = gpu.threadIdx.x
  local now, old = 1, 2
  s[1][t] = x[t]
  gpu.sync()
  for k = 1, 6 do
    now, old = old, now
    local v = s[old][t]
    if t > 1 then v = v + s[old][t - 1] end
    s[now][t] = v
    gpu.sync()
  end
  y[t] = s[now][t]
end, function(x, y)
  local s = {}
  for t = 1, 64 do s[t] = x[t] end
  for _ = 1, 6 do
    for t = 64, 2, -1 do s[t] = s[t] + s[t - 1] end
  end
  for t = 1, 64 do y[t] = s[t] end
end, 1e-4)

check("interior_by_offset", { grid = 3, block = 32 }, { rand(98), f32(98) }, function(x, y)
  local i = gpu.grid(1) + 1
  if i < #x then
    y[i] = x[i - 1] + x[i + 1]
  end
end, function(x, y)
  for i = 2, 97 do y[i] = x[i - 1] + x[i + 1] end
end)

check("many_blocks_in_parallel", { grid = 1200, block = 64 }, { array.range(76800, "float32"), f32(76800), i64(1) },
  function(x, y, count)
    local i = gpu.grid(1)
    y[i] = 2 * x[i]
    if i % 2 == 0 then
      gpu.atomic.add(count, 1, 1)
    end
  end, function(x, y, count)
    for i = 1, 76800 do y[i] = 2 * x[i] end
    count[1] = 38400
  end)

-- ------------------------------------------------------------------------------------ other forms on a GPU -----------
TestForms = {}

function TestForms.test_elementwise()
  local f = kernel.elementwise(function(a, b)
    return a * b + 1, a > b
  end)
  local g = f:on("gpu")
  local x, y = rand({ 20, 30 }), rand({ 30 })
  local r, s = f(x, y)
  local r2, s2 = g(x, y)
  lu.assertTrue(array.equal(r, r2) and array.equal(s, s2))
  lu.assertEquals({ r2.dtype, s2.dtype, r2.shape[1] }, { "float32", "bool", 20 })
  r2 = g(gpu.array(x), 0.5) -- stays on the device
  lu.assertTrue(gpu.is_array(r2))
  lu.assertTrue(array.equal(r2:to_host(), (f(x, 0.5))))
  lu.assertStrContains(g:inspect("ir"), "grid.x")
  fails_with("at least one argument is an array", g, 1, 2)
  fails_with("has 2 parameters, and got 1", g, x)
end

function TestForms.test_parallel_for()
  local p = kernel.parallel_for(function(i, j, u, v)
    if u[i][j] < 0.5 then
      return
    end
    v[i][j] = u[i][j] * i + j
  end)
  local u, v, w = rand({ 13, 40 }), f32({ 13, 40 }), f32({ 13, 40 })
  p({ 13, 40 }, u, v)
  local q = p:on("gpu")
  q({ 13, 40 }, u, w)
  lu.assertEquals(gpu.problems(), {})
  lu.assertTrue(array.equal(v, w))
  q({ 0, 40 }, u, w)
  local function double(i, x) x[i] = 2 * x[i] end
  local d = gpu.array(array.range(1, 1000))
  kernel.parallel_for(double):on("gpu")(1000, d)
  lu.assertTrue(array.equal(d:to_host(), array.range(1, 1000) * 2))
  fails_with("takes 1 arguments after the lengths", kernel.parallel_for(double):on("gpu"), 10)
end

-- ------------------------------------------------------------------------------------- what is refused ---------------
-- What a kernel may do with floats: by default what the processor's kernels do.
TestFastmath = {}

local function axpy(a, x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = a / x[i] + a * y[i]
  end
end

function TestFastmath.test_instructions()
  if not (compiler and ptxas) or on_gpu then
    return
  end
  local function instructions(fastmath)
    local k = gpu.kernel(axpy, { fastmath = fastmath })
    k { grid = 1, block = 32 } (2, array.ones(10, "float32"), f32(10))
    local ptx = k:inspect("ptx")
    return ptx:find("fma.rn%S*f32") ~= nil, ptx:find("div.approx") ~= nil
  end
  lu.assertEquals({ instructions(nil) }, { false, false })
  lu.assertEquals({ instructions(false) }, { false, false })
  lu.assertEquals({ instructions("fma") }, { true, false })
  lu.assertEquals({ instructions(true) }, { true, true })
end

function TestFastmath.test_results_are_close()
  for _, fastmath in ipairs { "fma", true } do
    for _, mode in ipairs(on_gpu and { "cuda" } or pg.available("llvm") and { "checked", "fast" } or { "checked" }) do
      if not on_gpu then
        gpu.mode(mode)
      end
      local x, y = rand(100) + 1, rand(100)
      local expected = 2 / x + 2 * y
      gpu.kernel(axpy, { fastmath = fastmath }) { grid = 4, block = 32 } (2, x, y)
      lu.assertTrue(array.allclose(y, expected, { rtol = 1e-5 }))
    end
  end
  if not on_gpu then
    gpu.mode("checked")
  end
  fails_with('fastmath is true, false or "fma", got "fast"', gpu.kernel, axpy, { fastmath = "fast" })
  fails_with("fastmath is true, false", gpu.kernel, axpy, { fastmath = 1 })
end

TestErrors = {}

local function fails(text, f, ...)
  local ok, message = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertStrContains(tostring(message), text)
  lu.assertStrContains(tostring(message), "gpu_kernels.lua:")
end

function TestErrors.test_outside_of_kernels()
  fails("for kernels", function() return gpu.grid(1) end)
  fails("for kernels", function() return gpu.threadIdx.x end)
  fails("for kernels", function() return gpu.laneid end)
  fails("for kernels", function() return gpu.atomic.add(f32(1), 1, 1) end)
  fails("make this one with gpu.kernel", function()
    kernel.jit(function(y)
      y[gpu.grid(1)] = 1
    end)(f32(3))
  end)
  fails("make this one with gpu.kernel", function()
    kernel.jit(function(y)
      gpu.sync()
      y[1] = 1
    end)(f32(3))
  end)
  lu.assertEquals(gpu.warpsize, 32)
end

function TestErrors.test_what_kernels_are()
  local launch = { grid = 1, block = 32 }
  fails("returns a value", function()
    gpu.kernel(function(x)
      return x[1]
    end)(launch)(f32(1))
  end)
  fails("1, 2 or 3", function()
    gpu.kernel(function(x)
      x[gpu.grid(4)] = 1
    end)(launch)(f32(1))
  end)
  fails("take its .x", function()
    gpu.kernel(function(x)
      x[gpu.threadIdx] = 1
    end)(launch)(f32(1))
  end)
  fails("returns nothing", function()
    gpu.kernel(function(x)
      x[1] = gpu.sync()
    end)(launch)(f32(1))
  end)
  fails("int32, uint32", function()
    gpu.kernel(function(x)
      gpu.atomic.add(x, 1, 1)
    end)(launch)(array.zeros(1, "uint8"))
  end)
  fails("lengths known", function()
    gpu.kernel(function(x)
      local s = gpu.shared("float32", #x)
      s[1] = 1
    end)(launch)(f32(1))
  end)
  fails("232448", function()
    gpu.kernel(function(x)
      local s = gpu.shared("float64", 200, 200)
      s[1][1] = 1
    end)(launch)(f32(1))
  end)
  fails("needs a name", function()
    gpu.kernel(function(x)
      x[1] = gpu.shared("float32", 4)
    end)(launch)(f32(1))
  end)
  fails("is nothing that kernels know", function()
    gpu.kernel(function(x)
      x[1] = gpu.synk()
    end)(launch)(f32(1))
  end)
end

function TestErrors.test_names_of_others()
  local launch = { grid = 1, block = 32 }
  fails("write gpu.threadIdx", function()
    gpu.kernel(function(x)
      x[threadIdx.x] = 1
    end)(launch)(f32(1))
  end)
  fails("gpu.sync() is the barrier", function()
    gpu.kernel(function(x)
      gpu.syncthreads()
      x[1] = 1
    end)(launch)(f32(1))
  end)
  fails("'gpu.atomicAdd' is nothing that kernels know: write gpu.atomic.add(a, i, value)", function()
    gpu.kernel(function(x)
      gpu.atomicAdd(x, 1, 1)
    end)(launch)(f32(1))
  end)
  fails("'gpu.blockidx.x' is nothing that kernels know: write gpu.blockIdx.x", function()
    gpu.kernel(function(x)
      x[gpu.blockidx.x] = 1
    end)(launch)(f32(1))
  end)
  fails("of gpu they know threadIdx", function()
    gpu.kernel(function(x)
      x[gpu.threadIdx.w] = 1
    end)(launch)(f32(1))
  end)
  fails("'print' is a function that prints (store the values in an array, and print that afterwards), which kernels cannot call", function()
    gpu.kernel(function(x)
      print(x[1])
    end)(launch)(f32(1))
  end)
  local outside = f32(1)
  fails("'outside' is an array that the kernel captures: pass it as an argument", function()
    gpu.kernel(function(x)
      x[1] = outside[1]
    end)(launch)(f32(1))
  end)
  fails("round and curly brackets", function()
    gpu.kernel(function(x)
      x[1] = 1
    end)[{ 1, 32 }](f32(1))
  end)
  fails("did you mean 'add'", function() return gpu.atomic.ad end)
end

function TestErrors.test_launches()
  local k = gpu.kernel(function(y)
    y[gpu.grid(1)] = 1
  end)
  fails("the launch's size is missing", function() k(f32(1)) end)
  fails("block is missing", function() k { grid = 1 } end)
  fails("grid is missing", function() k { block = 1 } end)
  fails("at most 1024 threads", function() k { grid = 1, block = { 64, 32 } } end)
  fails("block.z is from 1 to 64, got 128", function() k { grid = 1, block = { 1, 1, 128 } } end)
  fails("grid.y is from 1 to 65535, got 70000", function() k { grid = { 1, 70000 }, block = 1 } end)
  fails("grid.x is from 1 to 2147483647, got 0", function() k { grid = 0, block = 1 } end)
  fails("grid is a whole number, got 1.5 (gpu.grid_for(n, block) rounds up)", function() k { grid = 1.5, block = 1 } end)
  fails("block is a number or a list of up to three, {x, y, z}, got", function() k { grid = 1, block = "256" } end)
  fails("sizes have names: k{grid = 4, block = 256}(arguments)", function() k { 4, 256 } end)
  fails("unknown option 'blok'", function() k { grid = 1, blok = 1 } end)
  fails("has 1 parameter, and got 2 arguments", function() k { grid = 1, block = 1 }(f32(1), 2) end)
  fails("must be a number, a boolean or an array, got", function() k { grid = 1, block = 1 }("x") end)
  fails("read-only", function() k { grid = 1, block = 1 }(f32(1):broadcast_to(1)) end)
  local hog = gpu.kernel(function(y)
    local s = gpu.shared("float32")
    s[1] = 1
    y[1] = s[1]
  end)
  gpu.model("T4")
  local ok, message = pcall(hog { grid = 1, block = 1, shared = 100000 }, f32(1))
  gpu.model("H200")
  lu.assertFalse(ok)
  lu.assertStrContains(message, "T4 gives it 65536")
end

function TestErrors.test_sizes()
  lu.assertEquals(gpu.grid_for(1000, 256), 4)
  lu.assertEquals(gpu.grid_for(1024, 256), 4)
  lu.assertEquals(gpu.grid_for({ 100, 50 }, { 16, 16 }), { 7, 4 })
  lu.assertEquals(gpu.grid_stride(100, 64), 2)
  lu.assertEquals(gpu.grid_stride(1e9, 256), 132 * 8)
  fails("n counts from 1, got -1", function() gpu.grid_for(-1, 256) end)
end

if on_gpu then
  TestErrors = nil -- of the simulator
end

if not pg.available("llvm") then -- in a bundle: what these compare with is compiled for the processor
  TestForms = nil
  for name in pairs(TestCorrect) do
    if name:find("complex_numbers", 1, true) then
      TestCorrect[name] = nil
    end
  end
end

os.exit(lu.LuaUnit.run(), true)
