-- What the checked simulator counts, against numbers worked out by hand; estimates, advice and pictures.
local lu = require "luaunit"
local pg = require "perigee"
local gpu, array = pg.gpu, pg.array
gpu.use("sim")

local function f32(shape) return array.zeros(shape, "float32") end

local function launch(fn, how, ...)
  gpu.kernel(fn, { name = "k" })(how)(...)
  return gpu.counts()
end

TestCounts = {}

function TestCounts.test_coalesced()
  local c = launch(function(x, y)
    local i = gpu.grid(1)
    y[i] = 2 * x[i]
  end, { grid = 4, block = 64 }, f32(256), f32(256)) -- 8 warps of 128 bytes: 4 sectors each
  lu.assertEquals({ c.load_requests, c.load_sectors, c.load_ideal, c.load_bytes }, { 8, 32, 32, 1024 })
  lu.assertEquals({ c.store_requests, c.store_sectors, c.store_ideal, c.store_bytes }, { 8, 32, 32, 1024 })
  lu.assertEquals({ c.footprint_sectors, c.written_sectors, c.level2_sectors }, { 64, 32, 64 })
  lu.assertEquals({ c.float32, c.float64, c.special }, { 256, 0, 0 })
  lu.assertEquals(c.statements, 2 * 256)
end

function TestCounts.test_strided()
  local c = launch(function(x, y)
    local i = gpu.grid(1)
    y[i] = x[8 * i]
  end, { grid = 1, block = 32 }, f32(256), f32(32)) -- each lane reads a sector of its own
  lu.assertEquals({ c.load_sectors, c.load_ideal, c.store_sectors }, { 32, 4, 4 })
  c = launch(function(x, y)
    local i = gpu.grid(1)
    y[i] = x[1]
  end, { grid = 1, block = 32 }, f32(256), f32(32)) -- all lanes read the same one
  lu.assertEquals({ c.load_sectors, c.load_ideal }, { 1, 1 })
  c = launch(function(x, y)
    local i = gpu.grid(1)
    y[i] = x[i + 1]
  end, { grid = 1, block = 32 }, f32(256), f32(32)) -- one element off: a sector more
  lu.assertEquals({ c.load_sectors, c.load_ideal }, { 5, 4 })
end

function TestCounts.test_rows_and_columns()
  local function of(fn)
    local c = launch(fn, { grid = { 1, 8 }, block = { 32, 4 } }, f32({ 32, 32 }))
    return c.store_sectors
  end
  lu.assertEquals(of(function(a)
    local i, j = gpu.grid(2)
    a[j][i] = 1
  end), 128)
  lu.assertEquals(of(function(a)
    local i, j = gpu.grid(2)
    a[i][j] = 1
  end), 1024)
end

function TestCounts.test_views_keep_their_alignment()
  local x = f32(264)
  local c = launch(function(x, y)
    y[gpu.grid(1)] = x[gpu.grid(1)]
  end, { grid = 1, block = 32 }, x[{ { 2, 33 } }], f32(32))
  lu.assertEquals(c.load_sectors, 5)
end

function TestCounts.test_banks()
  local function rounds(stride, dtype)
    local kernels = {
      float32 = function(y, stride)
        local s = gpu.shared("float32", 1024)
        local t = gpu.threadIdx.x
        s[(t - 1) * stride + 1] = t
        y[t] = s[(t - 1) * stride + 1]
      end,
      float64 = function(y, stride)
        local s = gpu.shared("float64", 1024)
        local t = gpu.threadIdx.x
        s[(t - 1) * stride + 1] = t
        y[t] = s[(t - 1) * stride + 1]
      end,
    }
    local c = launch(kernels[dtype], { grid = 1, block = 32 }, f32(32), 1LL * stride)
    return c.shared_wavefronts / c.shared_requests, c.shared_ideal / c.shared_requests
  end
  for _, case in ipairs { { 1, 1 }, { 2, 2 }, { 3, 1 }, { 4, 4 }, { 16, 16 }, { 31, 1 }, { 32, 32 } } do
    lu.assertEquals({ rounds(case[1], "float32") }, { case[2], 1 })
  end
  lu.assertEquals({ rounds(1, "float64") }, { 2, 2 }) -- two half warps
  lu.assertEquals({ rounds(2, "float64") }, { 4, 2 })
end

function TestCounts.test_one_word_for_all()
  local c = launch(function(y)
    local s = gpu.shared("float32", 32)
    local t = gpu.threadIdx.x
    s[t] = t
    gpu.sync()
    y[t] = s[1]
  end, { grid = 1, block = 32 }, f32(32))
  lu.assertEquals({ c.shared_requests, c.shared_wavefronts, c.syncs }, { 2, 2, 1 })
end

function TestCounts.test_branches()
  local function of(fn)
    local c = launch(fn, { grid = 1, block = 64 }, f32(64))
    return { c.branches, c.divergent }
  end
  lu.assertEquals(of(function(y)
    local t = gpu.threadIdx.x
    if t <= 32 then y[t] = 1 else y[t] = 2 end
  end), { 2, 0 })
  lu.assertEquals(of(function(y)
    local t = gpu.threadIdx.x
    if t % 2 == 0 then y[t] = 1 else y[t] = 2 end
  end), { 2, 2 })
end

function TestCounts.test_atomics()
  local bins = array.zeros(32, "int32")
  local c = launch(function(b) gpu.atomic.add(b, 1, 1) end, { grid = 1, block = 32 }, bins)
  lu.assertEquals({ c.atomics, c.atomic_serial, bins[1] }, { 32, 31, 32 })
  c = launch(function(b) gpu.atomic.add(b, gpu.threadIdx.x, 1) end, { grid = 1, block = 32 }, bins)
  lu.assertEquals({ c.atomics, c.atomic_serial }, { 32, 0 })
end

function TestCounts.test_same_for_any_number_of_threads()
  local function of(threads)
    local before = pg.threads()
    pg.threads(threads)
    local x, y = array.range(1, 200000):astype("float32"), f32(200000)
    local c = launch(function(x, y)
      local i = gpu.grid(1)
      if i <= #x then
        if x[i] % 3 == 0 then y[i] = x[(i * 7) % #x + 1] else y[i] = 1 end
      end
    end, { grid = gpu.grid_for(200000, 128), block = 128 }, x, y)
    pg.threads(before)
    return c, y
  end
  local one, first = of(1)
  local four, second = of(4)
  lu.assertEquals(one, four)
  lu.assertTrue(array.equal(first, second))
end

TestReplay = {}

local function square(x) return x * x end

-- What the grader does: f's record, run again without it.
local function graded(f, ...)
  local grading = gpu._grading()
  local record, result = grading.recorder()(f, ...)
  local sums, why = grading.replay(record, { ... }, result)
  return sums, why, result, record
end

local factor = 3
local tripled = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = factor * square(x[i])
  end
end, { name = "tripled" })

function TestReplay.test_a_record_runs_again()
  local sums, why, y = graded(function(x)
    local y = f32(100)
    tripled { grid = 4, block = 32 } (x, y)
    local d = gpu.array(y)
    tripled { grid = 4, block = 32 } (d, gpu.zeros(100, "float32"))
    return y
  end, array.range(1, 100):astype("float32"))
  lu.assertNil(why)
  lu.assertEquals(y[10], 300)
  -- The kernel's arrays of the host's: there, there and back; then y there again.
  lu.assertEquals(sums.gpu_transfers, 4 * 400)
  lu.assertEquals(sums.gpu_launches, 2)
  lu.assertEquals(sums.gpu_sectors, 2 * gpu.counts().load_sectors + 2 * gpu.counts().store_sectors)
end

function TestReplay.test_what_is_wrong_with_a_record()
  local x = array.range(1, 100):astype("float32")
  local function refused(what, f)
    local sums, why = graded(f, x)
    lu.assertNil(sums)
    lu.assertStrContains(why, what)
  end
  local launch = tripled { grid = 4, block = 32 }
  refused("no kernel was launched", function(a) return gpu.array(a):to_host() end)
  refused("the host has changed it", function(a)
    local d, e = gpu.array(a * 2), gpu.empty(100, "float32")
    launch(d, e)
    return e:to_host()
  end)
  refused("copied back from there", function(a)
    local d, e = gpu.array(a), gpu.empty(100, "float32")
    launch(d, e)
    return e:to_host() + 1
  end)
  refused("the device must compute it", function(a)
    local d, e = gpu.array(a), gpu.empty(100, "float32")
    launch(d, e)
    return e:to_host():sum()
  end)
  refused("'add' of device arrays is the library's", function(a)
    local d, e = gpu.array(a) + 1, gpu.empty(100, "float32")
    launch(d, e)
    return e:to_host()
  end)
  refused("nothing waits", function(a)
    local d, e, out = gpu.array(a), gpu.empty(100, "float32"), gpu.pinned(100, "float32")
    launch(d, e)
    e:to_host { out = out, stream = gpu.stream() }
    return out
  end)
  -- Memory that nothing wrote is not zero there, whatever it was here.
  refused("nothing had written", function(a)
    local d = gpu.empty(100, "float32")
    gpu.kernel(function(p, q)
      local i = gpu.grid(1)
      if i <= #p then
        q[i] = q[i] + p[i]
      end
    end) { grid = 4, block = 32 } (gpu.array(a), d)
    return d:to_host()
  end)
  -- What the simulator finds is found again, though the script went on.
  refused("missing", function(a)
    local d, e = gpu.array(a), gpu.empty(100, "float32")
    pcall(gpu.kernel(function(y) y[gpu.grid(1)] = 1 end, { name = "bad" }) { grid = 4, block = 32 }, gpu.empty(10))
    launch(d, e)
    return e:to_host()
  end)
end

function TestReplay.test_a_record_that_was_changed()
  local x = array.range(1, 100):astype("float32")
  local _, why, result, record = graded(function(a)
    local d, e = gpu.array(a), gpu.empty(100, "float32")
    tripled { grid = 4, block = 32 } (d, e)
    return e:to_host()
  end, x)
  lu.assertNil(why)
  local function replayed(change)
    local list = {}
    for i, e in ipairs(record) do
      list[i] = {}
      for key, value in pairs(e) do
        list[i][key] = value
      end
    end
    change(list)
    return select(2, gpu._grading().replay(list, { x }, result))
  end
  lu.assertNil(replayed(function() end))
  lu.assertStrContains(replayed(function(list) table.remove(list, 1) end), "nothing had written") -- the copy there
  lu.assertStrContains(replayed(function(list) table.remove(list) end), "copied back") -- and back
  for _, bad in ipairs { { at = -4 }, { at = 2 ^ 41 }, { shape = { 1e9 } }, { strides = { -1 } }, { dtype = "float16" },
    { memory = 0.5 }, { bytes = 2 ^ 40 } } do
    lu.assertStrContains(replayed(function(list)
      local array_of = {}
      for key, value in pairs(list[1].array) do
        array_of[key] = value
      end
      for key, value in pairs(bad) do
        array_of[key] = value
      end
      list[1].array = array_of
    end), "malformed")
  end
  lu.assertStrContains(replayed(function(list) list[1].kind = "nothing" end), "malformed")
  lu.assertStrContains(select(2, gpu._grading().replay(1, { x }, result)), "malformed")
end

TestReports = {}

function TestReports.test_models()
  lu.assertEquals(gpu.model().name, "H200")
  lu.assertEquals(gpu.model("A100").multiprocessors, 108)
  lu.assertEquals(gpu.model("H200").memory_bandwidth, 4.8e12)
  local ok, message = pcall(gpu.model, "H900")
  lu.assertFalse(ok)
  lu.assertStrContains(message, "known are: A100")
end

function TestReports.test_occupancy()
  lu.assertEquals(gpu.occupancy(256), { blocks = 8, warps = 64, fraction = 1, limit = "threads" })
  lu.assertEquals(gpu.occupancy(32).limit, "blocks")
  lu.assertEquals(gpu.occupancy(32).fraction, 0.5)
  lu.assertEquals(gpu.occupancy(256, { shared = 100000 }), { blocks = 2, warps = 16, fraction = 0.25, limit = "shared memory" })
  lu.assertEquals(gpu.occupancy({ 16, 16 }, { model = "T4" }).blocks, 4)
end

local function report(fn, how, ...)
  gpu.kernel(fn, { name = "k" })(how)(...)
  return gpu.report()
end

function TestReports.test_bounds()
  local n = 2 ^ 21
  local x, y = f32(n), f32(n)
  local r = report(function(x, y)
    local i = gpu.grid(1)
    y[i] = x[i] + 1
  end, { grid = n / 256, block = 256 }, x, y)
  lu.assertEquals(r.estimate.bound, "memory bandwidth")
  lu.assertAlmostEquals(r.estimate.parts["memory bandwidth"], 8 * n / (0.9 * 4.8e12), 1e-9)
  lu.assertStrContains(tostring(r), "fuse this kernel")
  r = report(function(x)
    local i = gpu.grid(1)
    local v = x[i]
    for k = 1, 128 do
      v = math.sin(v)
    end
    x[i] = v
  end, { grid = 256, block = 256 }, x[{ { 1, 65536 } }])
  lu.assertEquals(r.estimate.bound, "special functions")
  lu.assertTrue(gpu.report { model = "T4" }.estimate.time > r.estimate.time)
end

function TestReports.test_advice()
  local a, b = f32({ 512, 512 }), f32({ 512, 512 })
  local r = report(function(a, b)
    local i, j = gpu.grid(2)
    b[i][j] = a[j][i] -- here
  end, { grid = { 16, 64 }, block = { 32, 8 } }, a, b)
  lu.assertStrContains(tostring(r), "writes 'b' with 8.0 times the sectors")
  r = report(function(a)
    local s = gpu.shared("float32", 32, 32)
    local x, y = gpu.threadIdx.x, gpu.threadIdx.y
    for k = 1, 20 do
      s[x][y] = k
    end
    gpu.sync()
    a[y][x] = s[y][x]
  end, { grid = 1, block = { 32, 32 }, partial = true }, a)
  lu.assertStrContains(tostring(r), "bank conflicts at line")
  lu.assertStrContains(tostring(r), "1 block keeps 1 of 132 SMs busy")
  r = report(function(a)
    local t = gpu.threadIdx.x
    if t % 2 == 0 then a[1][t] = 1 else a[1][t] = 2 end
  end, { grid = 20, block = 33, partial = true }, f32({ 512, 512 }))
  lu.assertStrContains(tostring(r), "multiple of 32")
end

function TestReports.test_transfers()
  local before = gpu.transfers()
  local d = gpu.array(f32(1000))
  d:to_host()
  local after = gpu.transfers()
  lu.assertEquals({ after.to_device - before.to_device, after.to_host - before.to_host, d.nbytes }, { 4000, 4000, 4000 })
  local function copy(x, y)
    local i = gpu.grid(1)
    y[i] = x[i]
  end
  local r = report(copy, { grid = 10, block = 100 }, f32(1000), d) -- one of the host's, which is only read
  lu.assertEquals({ r.transfers.to_device - after.to_device, r.transfers.to_host - after.to_host }, { 4000, 0 })
  r = report(copy, { grid = 10, block = 100 }, d, f32(1000)) -- one that is written to
  lu.assertEquals({ r.transfers.to_device - after.to_device, r.transfers.to_host - after.to_host }, { 8000, 4000 })
  lu.assertStrContains(tostring(r), "between host and device up to here")
end

function TestReports.test_maps()
  gpu.kernel(function(a)
    local i, j = gpu.grid(2)
    if i <= a.shape[2] and j <= a.shape[1] then
      a[j][i] = 1
    end
  end, { name = "fill <a>" }) { grid = { 2, 2 }, block = { 4, 4 } }(f32({ 6, 7 }))
  local text = gpu.map { array = "a" }
  lu.assertStrContains(text, "fill &lt;a&gt;")
  lu.assertEquals(select(2, text:gsub("<title>", "")), 42)
  lu.assertStrContains(text, "<title>thread 3, 2, 1 of block 2, 2, 1</title>")
  local ok, message = pcall(gpu.map, { array = "b" })
  lu.assertFalse(ok)
  lu.assertStrContains(message, "has the arrays a")
  local path = os.tmpname()
  gpu.map { array = "a", file = path, access = "read" }
  lu.assertTrue(#io.lines(path)() > 0)
  os.remove(path)
end

os.exit(lu.LuaUnit.run(), true)
