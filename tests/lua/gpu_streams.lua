-- Streams on the simulator: what they leave in no order, what the host does not wait for, and what it would take on a GPU.
local lu = require "luaunit"
local pg = require "perigee"
local gpu, array = pg.gpu, pg.array

gpu.use("sim")

local function raises(what, f, ...)
  local ok, message = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertStrContains(message, what)
  return message
end

local square = gpu.kernel(function(x, y)
  local i = gpu.grid(1)
  if i <= #x then
    y[i] = x[i] * x[i]
  end
end, { name = "square" })

local function launch(x, y, s)
  square { grid = gpu.grid_for(#x, 64), block = 64, stream = s } (x, y)
end

TestOrder = {}

function TestOrder.test_a_kernel_beside_the_copy_that_it_needs()
  local s, t = gpu.stream(), gpu.stream()
  local x, y, a = gpu.empty(100), gpu.empty(100), gpu.pinned(array.range(1, 100))
  x:copy_from(a, { stream = s })
  local message = raises("race between streams: 'square', launched at line 23, on stream", launch, x, y, t)
  lu.assertStrContains(message, "reads memory that the copy to the device of line 31 on stream")
  lu.assertStrContains(message, "may still be writing")
end

function TestOrder.test_what_orders_streams()
  local a, out = gpu.pinned(array.range(1, 100)), gpu.pinned(100)
  local ways = {
    function(s, t) t:wait(gpu.event():record(s)) end,
    function(s) s:synchronize() end,
    function(s) gpu.event():record(s):synchronize() end,
    function() gpu.synchronize() end,
    function(s) lu.assertTrue(s:done()) end,
    function() gpu.zeros(1):to_host() end, -- the default stream waits for all, and the host for it
    function(s, t, u) -- by way of a third
      u:wait(gpu.event():record(s))
      t:wait(gpu.event():record(u))
    end,
  }
  for i, order in ipairs(ways) do
    local s, t, u = gpu.stream(), gpu.stream(), gpu.stream()
    local x, y = gpu.empty(100), gpu.empty(100)
    x:copy_from(a, { stream = s })
    order(s, t, u)
    launch(x, y, t)
    out:fill(0)
    y:to_host { out = out, stream = t }
    t:synchronize()
    lu.assertEquals(out[10], 100, i)
  end
  -- The default stream waits for others, and they for it.
  local s, x, y = gpu.stream(), gpu.empty(100), gpu.empty(100)
  x:copy_from(a, { stream = s })
  launch(x, y)
  y:to_host { out = out, stream = s }
  s:synchronize()
  lu.assertEquals(out[9], 81)
  -- An event stands for what was before it.
  local t = gpu.stream()
  local e = gpu.event():record(s)
  x:copy_from(a, { stream = s })
  t:wait(e)
  raises("race between streams", launch, x, y, t)
end

function TestOrder.test_chunks_of_one_array()
  local streams = { gpu.stream(), gpu.stream() }
  local a, out = gpu.pinned(array.range(1, 1003)), gpu.pinned(1003)
  local x, y = gpu.empty(1003), gpu.empty(1003)
  for k = 1, 4 do
    local part = { { (k - 1) * 251 + 1, math.min(k * 251, 1003) } }
    local s = streams[k % 2 + 1]
    x[part]:copy_from(a[part], { stream = s })
    launch(x[part], y[part], s)
    y[part]:to_host { out = out[part], stream = s }
  end
  gpu.synchronize()
  lu.assertEquals(out[1003], 1003 ^ 2)
  -- Kernels that get whole arrays and touch a part: what they touch counts.
  local offset = gpu.kernel(function(p, q, first, last)
    local i = first + gpu.grid(1) - 1
    if i <= last then
      q[i] = p[i] + 1
    end
  end)
  offset { grid = 2, block = 256, stream = streams[1], partial = true } (x, y, 1, 501)
  offset { grid = 2, block = 256, stream = streams[2], partial = true } (x, y, 502, 1003)
  raises("race between streams", offset { grid = 2, block = 256, stream = streams[1], partial = true }, x, y, 400, 600)
  gpu.synchronize()
end

function TestOrder.test_memory_that_is_used_again()
  local s, t = gpu.stream(), gpu.stream()
  local a = gpu.pinned(array.ones(5000))
  local x = gpu.empty(5000)
  x:copy_from(a, { stream = s })
  x:release() -- given to others only once that copy is done
  local y = gpu.empty(5000)
  y:copy_from(a, { stream = t })
  gpu.synchronize()
end

function TestOrder.test_in_fast_mode_nothing_is_found()
  if not pg.available("llvm") then -- in a bundle
    return
  end
  gpu.mode("fast")
  local s, t = gpu.stream(), gpu.stream()
  local x, y = gpu.empty(100), gpu.empty(100)
  x:copy_from(gpu.pinned(100), { stream = s })
  launch(x, y, t)
  gpu.synchronize()
  gpu.mode("checked")
end

TestHost = {}

function TestHost.test_what_is_copied_to_the_host_is_there_later()
  local s, out = gpu.stream(), gpu.pinned(4)
  local d = gpu.array { 1, 2, 3, 4 }
  d:to_host { out = out, stream = s }
  lu.assertEquals(out:sum(), 0)
  local e = gpu.event():record(s)
  d:fill(0) -- after the copy
  e:synchronize()
  lu.assertEquals(out:sum(), 10)
end

function TestHost.test_an_array_that_changes_while_it_is_copied()
  local s, a = gpu.stream(), gpu.pinned(array.range(1, 10))
  local d = gpu.empty(10)
  d:copy_from(a, { stream = s })
  a:fill(7)
  raises("race with the host: the array that line 143 copies", function() s:synchronize() end)
  d:copy_from(a, { stream = s })
  s:synchronize()
  a:fill(0) -- now it may
  s:synchronize()
  lu.assertEquals(d:to_host():sum(), 70)
  -- The same page-locked array under two copies.
  local t, e = gpu.stream(), gpu.array { 1, 2 }
  local out = gpu.pinned(2)
  e:to_host { out = out, stream = s }
  raises("race between streams", function() gpu.empty(2):copy_from(out, { stream = t }) end)
  gpu.synchronize()
end

TestTimeline = {}

local function chunked(a, out, streams, chunks)
  local n = #a
  local x, y, size = gpu.empty(n, { dtype = "float32" }), gpu.empty(n, { dtype = "float32" }), n / chunks
  for k = 1, chunks do
    local part, s = { { (k - 1) * size + 1, k * size } }, streams[k % #streams + 1]
    local dx, dy = x[part], y[part]
    dx:copy_from(a[part], { stream = s })
    launch(dx, dy, s)
    dy:to_host { out = out[part], stream = s }
  end
  gpu.synchronize()
  return out
end

function TestTimeline.test_overlap()
  local n = 2 ^ 16
  local host = array.ones(n, "float32")
  local a, out = gpu.pinned(host), gpu.pinned(n, "float32")
  local s = { gpu.stream(), gpu.stream(), gpu.stream() }
  local m = gpu.model()
  local one, result = gpu.timeline(chunked, a, out, { s[1] }, 1)
  lu.assertTrue(result == out)
  lu.assertEquals(#one.operations, 3)
  local copy = 1.5e-6 + 4 * n / m.link_bandwidth
  lu.assertAlmostEquals(one.time, 1.5e-6 + 2 * copy + one.busy["kernels"], 1e-9)
  lu.assertAlmostEquals(one.busy["to device"], copy, 1e-12)
  local four = gpu.timeline(chunked, a, out, s, 2)
  lu.assertTrue(four.time < one.time)
  -- One after the other on one stream is no faster in pieces.
  lu.assertTrue(gpu.timeline(chunked, a, out, { s[1] }, 2).time > one.time)
  -- Memory that is not page-locked: slower, and the host waits.
  local slow = gpu.timeline(chunked, host, array.zeros(n, "float32"), s, 2)
  lu.assertTrue(slow.time > 2 * one.time)
  lu.assertStrContains(tostring(slow), "gpu.pinned")
  lu.assertStrContains(tostring(one), "to device  |.....111")
  lu.assertStrContains(tostring(one), "kernels    |")
  lu.assertEquals(one.operations[2].name, "square")
  lu.assertEquals(one.operations[1].pinned, true)
  lu.assertEquals(slow.operations[1].pinned, false)
end

function TestTimeline.test_errors()
  raises("a function is expected", gpu.timeline, 1)
  raises("boom", gpu.timeline, function() error("boom") end)
  raises("recorded already", gpu.timeline, function() gpu.timeline(function() end) end)
  lu.assertEquals(#gpu.timeline(function() end).operations, 0)
  lu.assertStrContains(tostring(gpu.timeline(function() end)), "to host")
end

os.exit(lu.LuaUnit.run(), true)
