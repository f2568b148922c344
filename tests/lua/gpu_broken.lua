-- Broken kernels: the checked simulator names what is wrong, at the line marked with <<<.
local lu = require "luaunit"
local pg = require "perigee"
local gpu, array = pg.gpu, pg.array
gpu.use("sim")

local source = {}
for line in io.lines((debug.getinfo(1, "S").source:sub(2))) do
  source[#source + 1] = line
end

-- The marked lines of a function: <<< where the problem is, and <2< the other place that is named.
local function marked(fn, mark)
  local info = debug.getinfo(fn, "S")
  for n = info.linedefined, info.lastlinedefined do
    if source[n]:find(mark, 1, true) then
      return n
    end
  end
end

local function f32(...) return array.zeros(..., "float32") end
local function i32(...) return array.zeros(..., "int32") end

-- A case: kind, kernel, launch, arguments, {what the message must say, ...}; helper: a function that holds the marks where
-- it is not the kernel.
local cases = {}
local function case(name, kind, launch, arguments, fn, says, helper)
  cases[#cases + 1] = { name = name, kind = kind, fn = fn, launch = launch, arguments = arguments, says = says or {},
    helper = helper }
end

-- ------------------------------------------------------------------------------------------ outside, guards ----------
case("missing_guard", "missing_guard", { grid = 4, block = 32 }, { f32(100), f32(100) }, function(x, y)
  local i = gpu.grid(1)
  y[i] = 2 * x[i] -- <<<
end, { "100 elements", "thread 5 of block 4", "if i <= #" })

case("guard_of_another_array", "missing_guard", { grid = 2, block = 64 }, { f32(128), f32(100) }, function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = x[i] -- <<<
  end
end, { "'y'", "100" })

case("guard_off_by_one", "missing_guard", { grid = 2, block = 64 }, { f32(100) }, function(y)
  local i = gpu.grid(1)
  if i <= #y + 1 then
    y[i] = 1 -- <<<
  end
end, { "thread 37 of block 2" })

case("guard_in_two_dimensions", "missing_guard", { grid = { 2, 2 }, block = { 8, 8 } }, { f32({ 10, 16 }) }, function(a)
  local i, j = gpu.grid(2)
  if i <= a.shape[2] then
    a[j][i] = i + j -- <<<
  end
end, { "axis 1", "10 elements" })

case("zero_based_thread", "outside", { grid = 2, block = 32 }, { f32(64) }, function(y)
  local i = (gpu.blockIdx.x - 1) * gpu.blockDim.x + gpu.threadIdx.x - 1
  y[i] = 1 -- <<<
end, { "index 0", "count from 1" })

case("zero_based_block", "outside", { grid = 2, block = 32 }, { f32(64) }, function(y)
  local i = gpu.blockIdx.x * gpu.blockDim.x + gpu.threadIdx.x
  y[i] = 1 -- <<<
end, { "index 65" })

case("left_neighbour", "outside", { grid = 1, block = 32 }, { f32(32), f32(32) }, function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = x[i - 1] + x[i] -- <<<
  end
end, { "index 0" })

case("right_neighbour", "outside", { grid = 1, block = 32 }, { f32(32), f32(32) }, function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = x[i + 1] - x[i] -- <<<
  end
end, { "index 33" })

case("from_the_end", "outside", { grid = 1, block = 32 }, { f32(32) }, function(y)
  local i = gpu.grid(1)
  y[-i] = i -- <<<
end, { "do not count from the end" })

case("tile_without_halo", "outside", { grid = 1, block = 32 }, { f32(32), f32(32) }, function(x, y)
  local tile = gpu.shared("float32", 32)
  local t = gpu.threadIdx.x
  tile[t] = x[t]
  gpu.sync()
  y[t] = tile[t] + tile[t + 1] -- <<<
end, { "'tile'", "index 33" })

case("swapped_indices", "outside", { grid = 1, block = { 8, 4 } }, { f32({ 4, 8 }) }, function(a)
  local i, j = gpu.grid(2)
  a[i][j] = 1 -- <<<
end, { "axis 1", "swapped" })

case("in_a_device_function", "outside", { grid = 1, block = 32 }, { f32(32), f32(32) }, nil, { "index 33" })
local function next_of(x, i)
  return x[i + 1] -- <<<
end
cases[#cases].helper = next_of
cases[#cases].fn = function(x, y)
  local i = gpu.grid(1)
  y[i] = next_of(x, i)
end

case("atomic_outside", "outside", { grid = 1, block = 32 }, { i32(32), i32(8) }, function(x, bins)
  local i = gpu.grid(1)
  gpu.atomic.add(bins, x[i], 1) -- <<<
end, { "index 0" })

case("own_array", "outside", { grid = 1, block = 32 }, { f32(32) }, function(y)
  local t = array.zeros(4)
  for k = 1, 5 do
    t[k] = k -- <<<
  end
  y[gpu.grid(1)] = t[1]
end, { "index 5", "'t'" })

case("into_the_neighbour", "outside", { grid = 1, block = 32 }, { f32(32) }, function(y)
  local first = gpu.shared("float32", 32)
  local second = gpu.shared("float32", 32)
  local t = gpu.threadIdx.x
  second[t] = 5
  first[t + 1] = t -- <<<
  gpu.sync()
  y[t] = second[t]
end, { "'first'", "index 33" })

case("stride_loop_from_zero", "outside", { grid = 2, block = 32 }, { f32(100) }, function(y)
  for i = gpu.grid(1) - 1, #y, gpu.gridsize(1) do
    y[i] = 1 -- <<<
  end
end, { "index 0", "count from 1" })

case("swapped_in_three_dimensions", "outside", { grid = 1, block = { 8, 4, 2 } }, { f32({ 2, 4, 8 }) }, function(a)
  local i, j, k = gpu.grid(3)
  a[i][j][k] = 1 -- <<<
end, { "axis 1", "swapped" })

case("swapped_lengths_in_the_guard", "missing_guard", { grid = { 2, 2 }, block = { 8, 8 } }, { f32({ 9, 16 }) }, function(a)
  local i, j = gpu.grid(2)
  if i <= a.shape[1] and j <= a.shape[2] then
    a[j][i] = 1 -- <<<
  end
end, { "axis 1", "9 elements" })

case("row_of_a_matrix", "outside", { grid = 1, block = 16 }, { f32({ 4, 16 }) }, function(a)
  local i = gpu.grid(1)
  a[5][i] = i -- <<<
end, { "axis 1", "4 elements" })

-- ------------------------------------------------------------------------------------------- shared memory -----------
case("one_thread_reads_too_early", "uninitialised", { grid = 1, block = 64 }, { f32(64), f32(1) }, function(x, y)
  local s = gpu.shared("float32", 65)
  local t = gpu.threadIdx.x
  s[t] = x[t]
  gpu.sync()
  if t == 10 then
    y[1] = s[65] -- <<<
  end
end, { "s[65]", "thread 10" })

case("tile_never_filled", "uninitialised", { grid = 1, block = 32 }, { f32(32) }, function(y)
  local tile = gpu.shared("float32", 32)
  y[gpu.threadIdx.x] = tile[gpu.threadIdx.x] -- <<<
end, { "tile[1]", "before anything wrote it" })

case("boundary_of_matmul", "uninitialised", { grid = 1, block = { 8, 8 } }, { f32({ 6, 6 }), f32({ 6, 6 }) }, function(a, c)
  local tile = gpu.shared("float32", 8, 8)
  local i, j = gpu.grid(2)
  local n = a.shape[1]
  if i <= n and j <= n then
    tile[j][i] = a[j][i]
  end
  gpu.sync()
  local s = 0.0
  if i <= n and j <= n then
    for k = 1, 8 do
      s = s + tile[j][k] -- <<<
    end
    c[j][i] = s
  end
end, { "tile[1][7]" })

case("histogram_not_cleared", "uninitialised", { grid = 1, block = 32 }, { i32(32), i32(8) }, function(x, bins)
  local own = gpu.shared("int32", 8)
  local t = gpu.threadIdx.x
  gpu.atomic.add(own, x[t] + 1, 1) -- <<<
  gpu.sync()
  if t <= 8 then
    bins[t] = own[t]
  end
end, { "own[1]" })

case("half_filled", "uninitialised", { grid = 1, block = 64 }, { f32(64), f32(1) }, function(x, y)
  local tile = gpu.shared("float32", 64)
  local t = gpu.threadIdx.x
  if t % 2 == 0 then
    tile[t] = x[t]
  end
  gpu.sync()
  if t == 1 then
    local s = 0.0
    for k = 1, 64 do
      s = s + tile[k] -- <<<
    end
    y[1] = s
  end
end, { "tile[1]" })

case("launch_memory_not_filled", "uninitialised", { grid = 1, block = 32, shared = 128 }, { f32(32) }, function(y)
  local tile = gpu.shared("float32")
  local t = gpu.threadIdx.x
  if t < 32 then
    tile[t] = t
  end
  gpu.sync()
  y[t] = tile[t] -- <<<
end, { "tile[32]" })

-- --------------------------------------------------------------------------------------------------- races -----------
case("no_barrier_before_read", "race", { grid = 1, block = 64 }, { f32(64), f32(64) }, function(x, y)
  local tile = gpu.shared("float32", 64)
  local t = gpu.threadIdx.x
  tile[t] = x[t] -- <2<
  y[t] = tile[65 - t] -- <<<
end, { "gpu.sync() between" })

case("no_barrier_before_overwrite", "race", { grid = 1, block = 64 }, { f32({ 2, 64 }), f32(64) }, function(x, y)
  local tile = gpu.shared("float32", 64)
  local t = gpu.threadIdx.x
  local s = 0.0
  for k = 1, 2 do
    tile[t] = x[k][t] + t -- <2<
    gpu.sync()
    s = s + tile[65 - t] -- <<<
  end
  y[t] = s
end, { "gpu.sync() between" })

case("reduction_without_barrier", "race", { grid = 1, block = 64 }, { f32(64), f32(1) }, function(x, y)
  local s = gpu.shared("float32", 64)
  local t = gpu.threadIdx.x
  s[t] = x[t] + t
  gpu.sync()
  local half = 32
  while half >= 1 do
    if t <= half then
      s[t] = s[t] + s[t + half] -- <<<
    end
    half = bit.rshift(half, 1)
  end
  if t == 1 then
    y[1] = s[1]
  end
end, { "s[" })

case("warp_without_syncwarp", "race", { grid = 1, block = 32 }, { f32(32), f32(32) }, function(x, y)
  local s = gpu.shared("float32", 32)
  local t = gpu.threadIdx.x
  s[t] = x[t] + t -- <2<
  y[t] = s[33 - t] -- <<<
end, { "thread" })

case("all_write_one", "race", { grid = 1, block = 64 }, { f32(1) }, function(y)
  y[1] = gpu.threadIdx.x -- <<<
end, { "gpu.atomic.add" })

case("sum_without_atomic", "race", { grid = 4, block = 32 }, { array.ones(128, "float32"), f32(1) }, function(x, y)
  local i = gpu.grid(1)
  y[1] = y[1] + x[i] -- <<<
end, {})

case("histogram_without_atomic", "race", { grid = 1, block = 64 }, { i32(64), i32(8) }, function(x, bins)
  local b = x[gpu.grid(1)] + 1
  bins[b] = bins[b] + 1 -- <<<
end, { "bins[1]" })

case("blocks_write_one", "race", { grid = 4, block = 1 }, { f32(1) }, function(y)
  y[1] = gpu.blockIdx.x -- <<<
end, { "nothing orders blocks" })

case("stencil_in_place", "race", { grid = 4, block = 32 }, { array.range(128, "float32") }, function(x)
  local i = gpu.grid(1)
  if i > 1 and i < #x then
    x[i] = (x[i - 1] + x[i + 1]) / 2 -- <<<
  end
end, {})

case("reverse_in_place", "race", { grid = 4, block = 32 }, { array.range(128, "float32") }, function(x)
  local i = gpu.grid(1)
  x[i] = x[#x + 1 - i] -- <<<
end, {})

case("scatter_to_one_index", "race", { grid = 2, block = 32 }, { array.range(64, "float32"), f32(64) }, function(x, y)
  local i = gpu.grid(1)
  y[bit.rshift(i + 1, 1)] = x[i] -- <<<
end, { "y[1]" })

case("atomic_and_plain", "race", { grid = 1, block = 64 }, { i32(2) }, function(bins)
  gpu.atomic.add(bins, 1, 1) -- <2<
  if gpu.threadIdx.x == 64 then
    bins[2] = bins[1] -- <<<
  end
end, { "by an atomic" })

case("flag_between_blocks", "race", { grid = 2, block = 32 }, { f32(64), f32(64) }, function(x, y)
  local i = gpu.grid(1)
  x[i] = i -- <2<
  y[i] = x[65 - i] -- <<<
end, { "split the kernel" })

-- Somebody else's access lies between the two that race: those that come later do not hide it.
case("earlier_reader", "race", { grid = 3, block = 32 }, { f32(96), f32(96) }, function(x, y)
  local i = gpu.grid(1)
  y[i] = x[1] -- <2<
  if i == 96 then
    local twice = x[1] + x[1]
    x[1] = twice + 1 -- <<<
  end
end, { "nothing orders blocks" })

case("own_read_last", "race", { grid = 1, block = 64 }, { f32(64), f32(64) }, function(x, y)
  local s = gpu.shared("float32", 64)
  local t = gpu.threadIdx.x
  s[t] = x[t]
  gpu.sync()
  local left = s[1] -- <2<
  gpu.syncwarp()
  if t == 64 then
    left = left + s[1]
    s[1] = 7 -- <<<
  end
  y[t] = left
end, { "s[1]" })

case("total_read_in_the_last_block", "race", { grid = 3, block = 32 }, { i32(1), i32(1) }, function(total, y)
  gpu.atomic.add(total, 1, 1) -- <2<
  gpu.sync()
  if gpu.blockIdx.x == 3 and gpu.threadIdx.x == 1 then
    y[1] = total[1] -- <<<
  end
end, { "by an atomic" })

case("total_zeroed_by_one_block", "race", { grid = 3, block = 32 }, { i32(1) }, function(total)
  if gpu.grid(1) == 1 then
    total[1] = 5 -- <2<
  end
  gpu.sync()
  gpu.atomic.add(total, 1, 1) -- <<<
end, { "by an atomic" })

case("warps_after_a_warp_barrier", "race", { grid = 1, block = 64 }, { f32(64) }, function(y)
  local s = gpu.shared("float32", 32)
  local t = gpu.threadIdx.x
  if t <= 32 then
    s[t] = t -- <2<
  end
  gpu.syncwarp()
  y[t] = s[gpu.laneid] -- <<<
end, { "gpu.sync() between" })

case("tree_within_a_warp", "race", { grid = 1, block = 32 }, { f32(32), f32(1) }, function(x, y)
  local s = gpu.shared("float32", 32)
  local t = gpu.threadIdx.x
  s[t] = x[t] + t
  gpu.syncwarp()
  if t <= 16 then
    s[t] = s[t] + s[t + 16]
  end
  if t <= 8 then
    s[t] = s[t] + s[t + 8] -- <<<
  end
  if t == 1 then
    y[1] = s[1]
  end
end, { "s[" })

case("stride_loop_of_the_block_only", "race", { grid = 2, block = 32 }, { f32(100) }, function(y)
  for i = gpu.threadIdx.x, #y, gpu.blockDim.x do
    y[i] = y[i] + 1 -- <<<
  end
end, { "nothing orders blocks" })

-- ------------------------------------------------------------------------------------------------ barriers -----------
case("barrier_under_break", "barrier_divergence", { grid = 1, block = 64 }, { f32(64) }, function(y)
  local t = gpu.threadIdx.x
  for k = 1, 8 do
    if k * 8 > t then
      break
    end
    gpu.sync() -- <<<
  end
  y[t] = t
end, { "not reached by all" })

case("barrier_in_a_stride_loop", "barrier_divergence", { grid = 1, block = 64 }, { f32(100) }, function(y)
  local s = gpu.shared("float32", 64)
  for i = gpu.grid(1), #y, gpu.gridsize(1) do
    s[gpu.threadIdx.x] = i
    gpu.sync() -- <<<
    y[i] = s[gpu.threadIdx.x]
  end
end, { "not reached by all" })

case("return_of_a_part_of_a_warp", "barrier_divergence", { grid = 1, block = 32 }, { f32(20) }, function(y)
  local s = gpu.shared("float32", 32)
  local t = gpu.threadIdx.x
  if t > #y then
    return -- <2<
  end
  s[t] = t
  gpu.sync() -- <<<
  y[t] = s[#y + 1 - t]
end, { "thread 21 of block 1 and 11 more ended at line" })

case("vote_of_a_part", "warp_divergence", { grid = 1, block = 32 }, { i32(32) }, function(y)
  local t = gpu.threadIdx.x
  if t % 2 == 0 then
    y[t] = gpu.ballot(t > 3) -- <<<
  end
end, { "not reached by all of the warp" })

case("barrier_in_guard", "barrier_divergence", { grid = 2, block = 32 }, { f32(50), f32(50) }, function(x, y)
  local tile = gpu.shared("float32", 32)
  local i = gpu.grid(1)
  local t = gpu.threadIdx.x
  if i <= #x then
    tile[t] = x[i]
    gpu.sync() -- <<<
    y[i] = tile[t]
  end
end, { "not reached by all" })

case("return_before_barrier", "barrier_divergence", { grid = 2, block = 64 }, { f32(100), f32(100) }, function(x, y)
  local tile = gpu.shared("float32", 64)
  local i = gpu.grid(1)
  local t = gpu.threadIdx.x
  if i > #x then
    return -- <2<
  end
  tile[t] = x[i]
  gpu.sync() -- <<<
  y[i] = tile[t]
end, { "ended at line", "27 more" })

case("barrier_of_half_the_warps", "barrier_divergence", { grid = 1, block = 64 }, { f32(64) }, function(y)
  local t = gpu.threadIdx.x
  if t <= 32 then
    gpu.sync() -- <<<
  end
  y[t] = t
end, {})

case("two_barriers", "barrier_divergence", { grid = 1, block = 64 }, { f32(64) }, function(y)
  local t = gpu.threadIdx.x
  if t <= 32 then
    gpu.sync() -- <<<
    y[t] = 1
  else
    gpu.sync() -- <2<
    y[t] = 2
  end
end, { "two barriers" })

case("barrier_in_uneven_loop", "barrier_divergence", { grid = 1, block = 32 }, { f32(32) }, function(y)
  local t = gpu.threadIdx.x
  local s = 0
  for k = 1, t do
    s = s + k
    gpu.sync() -- <<<
  end
  y[t] = s
end, {})

case("shuffle_under_condition", "warp_divergence", { grid = 1, block = 32 }, { f32(32) }, function(y)
  local t = gpu.threadIdx.x
  local v = 1.0 * t
  if t <= 16 then
    v = v + gpu.shfl_down(v, 16) -- <<<
  end
  y[t] = v
end, { "not reached by all of the warp" })

case("shuffle_from_no_lane", "lane_missing", { grid = 1, block = 16 }, { f32(16) }, function(y)
  local t = gpu.threadIdx.x
  y[t] = gpu.shfl(1.0 * t, 20) -- <<<
end, { "lane 20" })

-- -------------------------------------------------------------------------------------------- launch sizes -----------
case("too_few_blocks", "never_written", { grid = 3, block = 32 }, { f32(128), f32(128) }, function(x, y)
  local i = gpu.grid(1)
  if i <= #y then
    y[i] = x[i] + 1 -- <<<
  end
end, { "32 elements", "gpu.grid_for(128, block)" })

case("floor_instead_of_ceil", "never_written", { grid = math.floor(100 / 32), block = 32 }, { f32(100) }, function(y)
  local i = gpu.grid(1)
  if i <= #y then
    y[i] = i -- <<<
  end
end, { "4 elements" })

case("too_few_rows", "never_written", { grid = { 2, 1 }, block = { 8, 8 } }, { f32({ 16, 16 }) }, function(a)
  local i, j = gpu.grid(2)
  if i <= a.shape[2] and j <= a.shape[1] then
    a[j][i] = 1 -- <<<
  end
end, { "axis 1", "128 elements" })

case("one_block_only", "never_written", { grid = 1, block = 256 }, { f32(1000) }, function(y)
  local i = gpu.grid(1)
  if i <= #y then
    y[i] = i -- <<<
  end
end, { "744 elements" })

case("stride_of_the_wrong_grid", "never_written", { grid = 2, block = 32 }, { f32(100) }, function(y)
  local i = gpu.grid(1)
  local n = 0
  while i <= #y and n < 1 do
    y[i] = 1 -- <<<
    i = i + gpu.gridsize(1)
    n = n + 1
  end
end, { "36 elements" })

case("columns_left_out", "never_written", { grid = { 1, 2 }, block = { 8, 8 } }, { f32({ 16, 12 }) }, function(a)
  local i, j = gpu.grid(2)
  if i <= a.shape[2] and j <= a.shape[1] then
    a[j][i] = i -- <<<
  end
end, { "axis 2", "64 elements" })

-- -------------------------------------------------------------------------------------------------- values -----------
case("fraction_into_integers", "misfit", { grid = 1, block = 32 }, { i32(32) }, function(y)
  local i = gpu.grid(1)
  y[i] = i / 2 -- <<<
end, { "0.5", "math.floor" })

case("fractional_index", "fraction", { grid = 1, block = 32 }, { f32(32) }, function(y)
  local i = gpu.grid(1)
  y[i] = y[(i + 1) / 2] -- <<<
end, { "1.5" })

case("modulo_zero", "modulo_zero", { grid = 1, block = 32 }, { i32(32), i32(32) }, function(x, y)
  local i = gpu.grid(1)
  y[i] = i % x[i] -- <<<
end, { "modulo by zero" })

case("step_zero", "step_zero", { grid = 1, block = 32 }, { i32(1), i32(32) }, function(x, y)
  local i = gpu.grid(1)
  local s = 0
  for k = 1, 10, x[1] do -- <<<
    s = s + k
  end
  y[i] = s
end, {})

TestBroken = {}

for _, c in ipairs(cases) do
  TestBroken["test_" .. c.name] = function()
    local k = gpu.kernel(c.fn, { name = c.name })
    local copies = {}
    for i, a in ipairs(c.arguments) do
      copies[i] = a:copy()
    end
    local ok, message = pcall(k(c.launch), unpack(copies))
    local p = gpu.problems()[1]
    lu.assertTrue(p ~= nil, "nothing found: " .. tostring(message))
    lu.assertEquals(ok, c.kind == "never_written", tostring(message))
    lu.assertEquals(p.kind, c.kind, p.message)
    lu.assertEquals(p.line, marked(c.helper or c.fn, "<<<"), p.message)
    local other = marked(c.helper or c.fn, "<2<")
    if other then
      lu.assertEquals(p.other_line, other, p.message)
    end
    for _, text in ipairs(c.says) do
      lu.assertStrContains(p.message, text)
    end
    if not ok then
      lu.assertStrContains(message, ("gpu_broken.lua:%d: "):format(p.line))
    end
  end
end

os.exit(lu.LuaUnit.run(), true)
