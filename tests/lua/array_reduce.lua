-- Reductions and running sums, against plain loops.
local lu = require "luaunit"
local array = require "perigee.array"

TestReductions = {}

local function values(n, seed)
  local t, x = {}, seed or 1
  for i = 1, n do
    x = (x * 16807) % 2147483647
    t[i] = x % 2001 - 1000
  end
  return t
end

local function fails(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrContains(tostring(message), pattern)
end

-- Odd lengths around those of lanes and blocks, adjacent and strided, in types of every width.
function TestReductions.test_lengths()
  for _, n in ipairs { 1, 2, 7, 15, 16, 31, 33, 63, 65, 127, 129, 255, 257, 1023, 1025, 4099 } do
    local t = values(2 * n, n)
    for _, dtype in ipairs { "float64", "float32", "int64", "int32" } do
      local a = array.from(t, dtype)
      for step = 1, 2 do
        local v = step == 1 and a[{ { 1, n } }] or a[{ { 1, 2 * n - 1, 2 } }]
        local sum, low, high, at_low, at_high, squares, nonzero = 0, math.huge, -math.huge, 0, 0, 0, 0
        for i = 1, n do
          local x = t[(i - 1) * step + 1]
          sum, squares = sum + x, squares + x * x
          nonzero = nonzero + (x ~= 0 and 1 or 0)
          if x < low then low, at_low = x, i end
          if x > high then high, at_high = x, i end
        end
        lu.assertEquals(v:sum(), sum)
        lu.assertEquals(v:min(), low)
        lu.assertEquals(v:max(), high)
        lu.assertEquals(v:argmin(), at_low)
        lu.assertEquals(v:argmax(), at_high)
        lu.assertEquals(v:ptp(), high - low)
        lu.assertEquals(v:count_nonzero(), nonzero)
        local mean = sum / n
        lu.assertAlmostEquals(v:var(), squares / n - mean * mean, 0.5)
        local c, running = v:cumsum(), 0
        for i = 1, n do
          running = running + t[(i - 1) * step + 1]
          lu.assertEquals(c[i], running)
        end
      end
    end
  end
end

function TestReductions.test_axes()
  local a = array.range(24):reshape(2, 3, 4)
  lu.assertEquals(a:sum(), 300)
  lu.assertEquals(a:sum(1):totable(), { { 14, 16, 18, 20 }, { 22, 24, 26, 28 }, { 30, 32, 34, 36 } })
  lu.assertEquals(a:sum(-1):totable(), { { 10, 26, 42 }, { 58, 74, 90 } })
  lu.assertEquals(a:sum({ 1, 3 }):totable(), { 68, 100, 132 })
  lu.assertEquals(a:sum { axis = { 1, 3 }, keepdims = true }.shape, { 1, 3, 1 })
  lu.assertEquals(a.T:sum({ 1, 3 }):totable(), { 68, 100, 132 })
  lu.assertEquals(a:max { axis = 2 }:totable(), { { 9, 10, 11, 12 }, { 21, 22, 23, 24 } })
  lu.assertEquals(a:argmax(2):totable(), { { 3, 3, 3, 3 }, { 3, 3, 3, 3 } })
  lu.assertEquals(a:argmin(3):totable(), { { 1, 1, 1 }, { 1, 1, 1 } })
  lu.assertEquals(a:cumsum(1)[2]:totable(), { { 14, 16, 18, 20 }, { 22, 24, 26, 28 }, { 30, 32, 34, 36 } })
  lu.assertEquals(a:cumsum()[24], 300)
  lu.assertEquals(array.range(5):cumprod():totable(), { 1, 2, 6, 24, 120 })
  lu.assertEquals(array.range(5):prod(), 120)
  lu.assertEquals(array.range(4):var(), 1.25)
  lu.assertEquals(array.range(3):var { ddof = 1 }, 1)
  lu.assertEquals(array.range(3):std { ddof = 1 }, 1)
  local out = array.zeros(3, 4)
  a:mean { axis = 1, out = out }
  lu.assertEquals(out[1]:totable(), { 7, 8, 9, 10 })
  lu.assertTrue(a:gt(0):all())
  lu.assertFalse(a:gt(24):any())
  lu.assertEquals(a:gt(12):any(1):totable()[1], { true, true, true, true })
end

function TestReductions.test_dtypes()
  lu.assertEquals(array.full({ 300 }, 255, "uint8"):sum { keepdims = true }.dtype, "uint64")
  lu.assertEquals(array.full({ 300 }, 255, "uint8"):sum(), 76500)
  lu.assertEquals(array.full({ 300 }, -128, "int8"):sum(), -38400)
  lu.assertEquals(array.full({ 3000 }, 65535, "uint16"):sum(), 196605000)
  lu.assertEquals(array.ones({ 2, 2 }, "int16"):sum(1).dtype, "int64")
  lu.assertEquals(array.ones({ 2, 2 }, "float32"):var(1).dtype, "float32")
  lu.assertEquals(array.ones({ 2, 2 }, "int32"):mean(1).dtype, "float64")
  lu.assertEquals(array.ones({ 2, 2 }, "int32"):sum { axis = 1, dtype = "float32" }.dtype, "float32")
end

function TestReductions.test_nan_and_empty()
  local nan = 0 / 0
  for _, n in ipairs { 3, 40, 600, 5000 } do
    for _, dtype in ipairs { "float64", "float32" } do
      local a = array.ones({ n }, dtype)
      a[n - 1] = nan
      lu.assertNotEquals(a:sum(), a:sum())
      lu.assertNotEquals(a:min(), a:min())
      lu.assertNotEquals(a:max(), a:max())
      lu.assertEquals(a:argmax(), n - 1)
      lu.assertEquals(a:argmin(), n - 1)
      lu.assertEquals(a:nansum(), n - 1)
      lu.assertEquals(a:nanmean(), 1)
      lu.assertEquals(a:nanmin(), 1)
      lu.assertEquals(a:nanmax(), 1)
      lu.assertEquals(a:nanstd(), 0)
    end
  end
  local e = array.zeros(0)
  lu.assertEquals(e:sum(), 0)
  lu.assertEquals(e:prod(), 1)
  lu.assertTrue(e:all())
  lu.assertFalse(e:any())
  fails("min of no elements", function() return e:min() end)
  fails("argmax of no elements", function() return e:argmax() end)
  lu.assertEquals(array.zeros(0, 3):sum(1):totable(), { 0, 0, 0 })
  fails("axis 3 is out of range", function() return array.zeros(2, 2):sum(3) end)
  fails("given twice", function() return array.zeros(2, 2):sum({ 1, -2 }) end)
  fails("unknown option", function() return array.zeros(2, 2):sum { axes = 1 } end)
end

function TestReductions.test_without_nan()
  local nan = 0 / 0
  local a = array.from { { nan, 3, math.huge }, { 2, nan, -1 } }
  lu.assertEquals(array.from { 2, nan, 3 }:nanprod(), 6)
  lu.assertEquals(array.from { 2, nan, 3 }:nancumsum():totable(), { 2, 2, 5 })
  lu.assertEquals(array.from { 2, nan, 3 }:nancumprod():totable(), { 2, 2, 6 })
  lu.assertEquals(a:nanargmin(), 6)
  lu.assertEquals(a:nanargmax(), 3)
  lu.assertEquals(a:nanargmin(2):totable(), { 2, 3 })
  lu.assertEquals(array.from { nan, math.huge }:nanargmin(), 2)
  lu.assertEquals(a:nanmedian(2)[2], 0.5)
  lu.assertEquals(a:nanquantile(0.5, 1)[1], 2)
  lu.assertEquals(array.from({ 3, 1 }, "int32"):nanargmin(), 2)
  fails("nanargmin of no elements", function() return array.zeros(0):nanargmin() end)
  fails("nothing but NaN", function() return array.from { nan }:nanargmin() end)
end

function TestReductions.test_running_extremes()
  local a = array.from { 2, 1, 0 / 0, 3 }
  lu.assertEquals(array.from { 2, 1, 4, 3 }:cummax():totable(), { 2, 2, 4, 4 })
  lu.assertEquals(array.from({ 2, 1, 4, 3 }, "uint8"):cummin().dtype, "uint8")
  lu.assertEquals(a:cummin()[2], 1)
  lu.assertTrue(a:cummin()[4] ~= a:cummin()[4])
  lu.assertEquals(array.from { { 1, 5 }, { 3, 2 } }:cummax(1):totable(), { { 1, 5 }, { 3, 5 } })
  fails("one axis", function() return array.zeros(2, 2):cumsum({ 1, 2 }) end)
end

function TestReductions.test_quantiles()
  local a = array.from { { 3, 1, 2 }, { 9, 7, 8 } }
  lu.assertEquals(a:median(), 5)
  lu.assertEquals(a:median(1):totable(), { 6, 4, 5 })
  lu.assertEquals(a:median { axis = { 1, 2 }, keepdims = true }.shape, { 1, 1 })
  lu.assertEquals(a:quantile { 0, 0.25, 1 }:totable(), { 1, 2.25, 9 })
  lu.assertEquals(a:quantile({ 0.5, 1 }, 2):totable(), { { 2, 8 }, { 3, 9 } })
  lu.assertEquals(a:percentile(75, { method = "lower" }), 7)
  lu.assertEquals(array.from({ 1, 2 }, "float32"):quantile { 0.5 }.dtype, "float32")
  lu.assertEquals(array.from({ true, false, true }):median(), 1)
  local infinite = array.from { math.huge, math.huge, 1 }
  lu.assertEquals(infinite:median(), math.huge)
  local out = array.zeros(3)
  lu.assertTrue(a:median { axis = 1, out = out } == out)
  lu.assertEquals(out:totable(), { 6, 4, 5 })
  lu.assertTrue(array.zeros(0):median() ~= array.zeros(0):median())
  fails("q is from 0 to 1, got 2", function() return a:quantile(2) end)
  fails("q is from 0 to 100, got -1", function() return a:percentile(-1) end)
  fails("q is a number", function() return a:quantile() end)
  fails("not a method; legal are linear", function() return a:quantile(0.5, { method = "spline" }) end)
  fails("complex numbers", function() return array.zeros(2, "complex64"):median() end)
end

function TestReductions.test_errors()
  local a = array.zeros(2, 3)
  fails("axes count from 1", function() return a:sum(0) end)
  fails("keepdims is true or false", function() return a:sum { keepdims = 1 } end)
  fails("ddof is a number", function() return a:var { ddof = "1" } end)
  fails("out has the shape (2), the result (3)", function() return a:sum { axis = 1, out = array.zeros(2) } end)
  fails("cannot be written into", function() return a:mean { axis = 1, out = array.zeros(3, "int32") } end)
  fails("not a dtype", function() return a:sum { axis = 1, dtype = "float16" } end)
  fails("one axis", function() return a:argmax({ 1, 2 }) end)
  fails("beyond 2^53", function() return array.full({ 2 }, 2 ^ 61, "int64"):sum() end)
end

-- Results do not depend on the number of threads, to the last bit.
function TestReductions.test_threads()
  local pg = require "perigee"
  local before = pg.threads()
  local a = array.from(values(1000)):reshape(1000, 1) * array.linspace(0.1, 0.7, 600)
  local results = {}
  for threads = 1, 3, 2 do
    pg.threads(threads)
    results[#results + 1] = { a:sum(), a:sum(1), a:sum(2), a:var(), a:cumsum(), a:argmax(), a:cumsum(2) }
  end
  pg.threads(before)
  for i = 1, #results[1] do
    lu.assertTrue(results[1][i] == results[2][i], "result " .. i)
  end
end

-- Narrow integers are added up in lanes of twice their width: the ends of their ranges, as often as lanes can hold and more.
function TestReductions.test_sums_of_narrow_integers()
  for dtype, ends in pairs { int8 = { -128, 127 }, uint8 = { 0, 255 }, int16 = { -32768, 32767 }, uint16 = { 0, 65535 } } do
    for _, value in ipairs(ends) do
      local a = array.full(700000, value, dtype)
      for _, n in ipairs { 1, 2, 31, 63, 64, 65, 7679, 7680, 7681, 16384, 16385, 100003, 700000 } do
        local part = a[{ { 1, n } }]
        lu.assertEquals(part:sum(), n * value)
        lu.assertEquals(part:min(), value)
        lu.assertEquals(part:max(), value)
      end
    end
    local mixed = array.from(values(5000), "int64"):remainder(101):astype(dtype)
    lu.assertEquals(mixed:sum(), mixed:astype("int64"):sum())
    lu.assertEquals(mixed[{ { 1, -1, 3 } }]:sum(), mixed[{ { 1, -1, 3 } }]:astype("float64"):sum())
  end
end

function TestReductions.test_running_sums_of_integers()
  for n = 1, 70 do
    local t, sum = values(2 * n, n), 0
    local a = array.from(t, "int64")
    local b, strided = a[{ { 1, n } }]:cumsum(), a[{ { 1, -1, 2 } }]:cumsum()
    local other = 0
    for i = 1, n do
      sum, other = sum + t[i], other + t[2 * i - 1]
      lu.assertEquals(b[i], sum)
      lu.assertEquals(strided[i], other)
    end
  end
  local wide = array.full(20, 2 ^ 62, "int64"):cumsum() -- wraps
  lu.assertTrue(wide:int64(3) == 3 * 4611686018427387904LL)
  lu.assertTrue(wide:int64(17) == 17 * 4611686018427387904LL)
end

os.exit(lu.LuaUnit.run(), true)
