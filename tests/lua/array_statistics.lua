-- Statistics against their definitions; NumPy's values are in tests/conformance.
local lu = require "luaunit"
local pg = require "perigee"
local array = pg.array

TestStatistics = {}

local function fails(expected, f, ...)
  lu.assertErrorMsgContains(expected, f, ...)
end

local function close(a, b, tolerance)
  tolerance = tolerance or 1e-12
  lu.assertTrue(array.allclose(a, b, { rtol = tolerance, atol = tolerance }), tostring(a) .. "\n" .. tostring(b))
end

local function same(a, b)
  lu.assertEquals(a.dtype, b.dtype)
  lu.assertTrue(array.equal(a, b, { equal_nan = true }), tostring(a) .. "\n" .. tostring(b))
end

local reals = { "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64" }
local nan, inf = 0 / 0, math.huge

-- Integers from low to high, always the same.
local function integers(seed, n, low, high, dtype)
  local a = array.empty(n, dtype or "float64")
  for i = 1, n do
    seed = (seed * 16807) % 2147483647
    a[i] = low + seed % (high - low + 1)
  end
  return a
end

-- ----------------------------------------------------------------------------------------------------- convolution ----
-- The full convolution by its definition; integers small enough to be exact.
local function naive_convolve(a, v)
  local n, m = #a, #v
  local out = array.zeros(n + m - 1)
  for i = 1, n do
    for j = 1, m do
      out[i + j - 1] = out[i + j - 1] + a[i] * v[j]
    end
  end
  return out
end

function TestStatistics.test_convolve()
  -- Lengths around those of vectors, tiles, edge blocks and blocks of taps.
  for _, lengths in ipairs { { 1, 1 }, { 2, 1 }, { 5, 3 }, { 31, 31 }, { 33, 32 }, { 65, 17 }, { 100, 99 }, { 129, 64 }, { 300, 7 },
    { 1200, 530 }, { 5000, 3 } } do
    local a, v = integers(1, lengths[1], -3, 4), integers(2, lengths[2], -2, 3)
    local want = naive_convolve(a, v)
    for _, dtype in ipairs { "float64", "float32", "int64", "int32", "int16", "complex128" } do
      same(array.convolve(a:astype(dtype), v:astype(dtype)), want:astype(dtype))
    end
    same(array.convolve(v, a), want)
    same(array.convolve(a:astype("int8"), v:astype("int8")), want:astype("int8", { overflow = "wrap" }))
    local n, m = math.max(#a, #v), math.min(#a, #v)
    same(array.convolve(a, v, "valid"), want[{ { m, n } }])
    same(array.convolve(a, v, "same"), want[{ { m - math.floor(m / 2), m - math.floor(m / 2) + n - 1 } }])
    same(array.correlate(a, v[{ { -1, 1, -1 } }], "full"), want)
    for _, mode in ipairs { "full", "same", "valid" } do
      close(array.convolve(a, v, { mode = mode, method = "fft" }), array.convolve(a, v, mode), 1e-9)
      close(array.correlate(a, v, { mode = mode, method = "fft" }), array.correlate(a, v, mode), 1e-9)
      close(array.correlate(v, a, { mode = mode, method = "fft" }), array.correlate(v, a, mode), 1e-9)
    end
  end
  local strided = array.range(20)
  same(array.convolve(strided[{ { -1, 1, -3 } }], array.from { 1, 1 }), array.from { 20, 37, 31, 25, 19, 13, 7, 2 })
  same(array.convolve(array.from { true, false, false }, array.from { true, true }), array.from { true, true, false, false })
  same(array.convolve(array.from { 1, 2 }, array.from { inf, 1 }), array.from { inf, inf, 2 }) -- nothing is padded
  local z, y = array.from({ array.complex(1, 2), array.complex(0, -1) }, "complex128"), array.from({ array.complex(0, 1) }, "complex128")
  same(array.correlate(z, y), array.from({ array.complex(2, -1), array.complex(-1, 0) }, "complex128"))
  fails("convolve: an array is empty", array.convolve, array.zeros(0), array.zeros(2))
  fails("convolve: both arrays must have one dimension, not the shape (2, 2)", array.convolve, array.zeros(2, 2), array.zeros(2))
  fails('mode is "full", "same" or "valid", got the string "all"', array.convolve, array.ones(3), array.ones(2), "all")
  fails('method is "direct" or "fft"', array.convolve, array.ones(3), array.ones(2), { method = "magic" })
  fails("is not for int32 arrays", array.convolve, array.ones(3, "int32"), array.ones(2), { method = "fft" })
end

function TestStatistics.test_convolve_does_not_depend_on_threads()
  local before = pg.threads()
  local a, v = array.sin(array.range(200000)), array.cos(array.range(300))
  pg.threads(1)
  local want = array.convolve(a, v)
  for _, n in ipairs { 2 } do
    pg.threads(n)
    same(array.convolve(a, v), want)
  end
  pg.threads(before)
end

-- -------------------------------------------------------------------------------------------------------- counting ----
local function naive_histogram(a, edges, weights)
  local counts = array.zeros(#edges - 1)
  for i = 1, a.size do
    for k = 1, #edges - 1 do
      if a[i] >= edges[k] and (a[i] < edges[k + 1] or k == #edges - 1 and a[i] == edges[k + 1]) then
        counts[k] = counts[k] + (weights and weights[i] or 1)
      end
    end
  end
  return counts
end

function TestStatistics.test_histogram()
  local a = integers(3, 1500, -50, 50) / 10 -- many of them exactly on edges
  for _, bins in ipairs { 1, 2, 7, 10, 100 } do
    local counts, edges = array.histogram(a, bins)
    lu.assertEquals(#edges, bins + 1)
    lu.assertEquals(counts:sum(), 1500)
    same(counts, naive_histogram(a, edges):astype("int64"))
    same(array.histogram(a, { bins = bins, range = { -3, 2.5 } }),
      naive_histogram(a, array.linspace(-3, 2.5, bins + 1)):astype("int64"))
    same((array.histogram(a:reshape(30, 50).T, bins)), counts)
    same((array.histogram(a[{ { -1, 1, -1 } }], bins)), counts)
  end
  local edges = array.from { -4, -1, -1, 0.5, 3 }
  same((array.histogram(a, edges)), naive_histogram(a, edges):astype("int64"))
  same((array.histogram(a, { -4, -1, 0.5, 3 })), naive_histogram(a, array.from { -4, -1, 0.5, 3 }):astype("int64"))
  for _, dtype in ipairs(reals) do
    local b = integers(4, 333, 0, 99, dtype)
    local counts, e = array.histogram(b, { bins = 9, range = { 0, 99 } })
    same(counts, naive_histogram(b:astype("float64"), e:astype("float64")):astype("int64"))
    lu.assertEquals(e.dtype, dtype == "float32" and "float32" or "float64")
  end
  local w = integers(5, 1500, 1, 9)
  same((array.histogram(a, 7, { weights = w })), naive_histogram(a, select(2, array.histogram(a, 7)), w))
  same((array.histogram(a, 7, { weights = w:astype("int32") })):astype("float64"), (array.histogram(a, 7, { weights = w })))
  local density, e = array.histogram(a, 13, { density = true })
  close(array.from { (density * array.diff(e)):sum() }, array.ones(1))
  -- NaN and infinities are in no bin.
  same((array.histogram(array.from { nan, inf, -inf, 0.5 }, { bins = 2, range = { 0, 1 } })), array.from({ 0, 1 }, "int64"))
  same((array.histogram(array.zeros(0))), array.zeros(10, "int64"))
  same((array.histogram(array.full(4, 7), 1)), array.from({ 4 }, "int64"))
  same((array.histogram(array.from { true, false, true }, 2)), array.from({ 1, 2 }, "int64"))
  fails("the range from", array.histogram, array.from { 1, nan })
  fails("bins must be an integer", array.histogram, a, 0)
  fails("bins must be an integer", array.histogram, a, 2.5)
  fails("the edges of bins must be ascending", array.histogram, a, { 3, 2, 1 })
  fails("ends before it begins", array.histogram, a, { range = { 2, 1 } })
  fails("unknown option 'bin'", array.histogram, a, { bin = 3 })
  fails("weights has the shape (3), the array (1500)", array.histogram, a, { weights = array.ones(3) })
  fails("complex numbers have no order", array.histogram, array.zeros(3, "complex64"))
end

function TestStatistics.test_bincount()
  for _, dtype in ipairs { "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64" } do
    local a = integers(6, 1000, 0, 20, dtype)
    local want = array.zeros(21, "int64")
    for i = 1, 1000 do
      want[a[i] + 1] = want[a[i] + 1] + 1
    end
    same(array.bincount(a), want)
    same(array.bincount(a[{ { -1, 1, -1 } }]), want)
  end
  same(array.bincount(array.from { true, false, true }), array.from({ 1, 2 }, "int64"))
  same(array.bincount(array.zeros(0, "int32")), array.zeros(0, "int64"))
  same(array.bincount(array.zeros(0, "int32"), { minlength = 3 }), array.zeros(3, "int64"))
  same(array.bincount(array.from({ 1, 1, 0 }, "int32"), { weights = array.from { 0.5, 2, 3 } }), array.from { 3, 2.5 })
  fails("element 2 is -1; only 0 and larger", array.bincount, array.from({ 3, -1 }, "int64"))
  fails("the elements must be integers", array.bincount, array.from { 1, 2 })
  fails("2 weights for 3 elements", array.bincount, array.from({ 1, 2, 3 }, "int64"), { weights = array.ones(2) })
  fails("must have one dimension", array.bincount, array.zeros({ 2, 2 }, "int64"))
  fails("too large to count up to", array.bincount, array.full({ 1 }, 2 ^ 62, "int64"))
end

function TestStatistics.test_unique()
  for _, dtype in ipairs { "int8", "int32", "int64", "uint16", "uint64", "float32", "float64", "complex128" } do
    for _, factor in ipairs { 1, dtype:find("8") and 3 or 1000 } do -- by a table, and by sorting
      local a = integers(7, 400, 0, 40, dtype):multiply(factor):reshape(20, 20)
      local u, index, inverse, counts = array.unique(a, { index = true, inverse = true, counts = true })
      lu.assertEquals(u.dtype, dtype)
      lu.assertEquals(inverse.shape, { 20, 20 })
      lu.assertEquals(counts:sum(), 400)
      same(array.unique(a), u)
      local flat = a:reshape(400)
      local seen = 0
      for i = 1, 400 do
        local k = inverse:reshape(400)[i]
        lu.assertTrue(u[k] == flat[i])
        lu.assertTrue(index[k] <= i)
        lu.assertTrue(flat[index[k]] == u[k])
      end
      for k = 1, #u do
        lu.assertEquals(counts[k], inverse:eq(k):astype("int64"):sum())
        seen = seen + counts[k]
        if k > 1 and dtype ~= "complex128" then
          lu.assertTrue(u[k - 1] < u[k])
        end
      end
      lu.assertEquals(seen, 400)
    end
  end
  same(array.unique(array.from { nan, 2, -inf, nan, 2 }), array.from { -inf, 2, nan })
  same(array.unique(array.from { true, true }), array.from { true })
  same(array.unique(array.zeros(0, "int32")), array.zeros(0, "int32"))
  local u, counts = array.unique(array.from { nan, 2, nan }, { counts = true })
  same(counts, array.from({ 1, 2 }, "int64"))
  lu.assertEquals(#u, 2)
  local edges = array.from({ -128, 127, -128, 0 }, "int8")
  same(array.unique(edges), array.from({ -128, 0, 127 }, "int8"))
  local rows = array.from { { 2, 1 }, { 1, 5 }, { 2, 1 }, { nan, 0 }, { nan, 0 } }
  same(array.unique(rows, { axis = 1 }), array.from { { 1, 5 }, { 2, 1 }, { nan, 0 }, { nan, 0 } })
  lu.assertEquals(array.unique(rows[{ { 1, 1 } }], { axis = 1 }).shape, { 1, 2 })
  lu.assertEquals(array.unique(array.zeros(0, 2), { axis = 1 }).shape, { 0, 2 })
  lu.assertEquals(array.unique(array.zeros(3, 0), { axis = 1 }).shape, { 1, 0 })
  fails("axis 3 is out of range", array.unique, rows, { axis = 3 })
  fails("unknown option 'return_index'; it is called 'index' here", array.unique, array.ones(3), { return_index = true })
  fails("counts is true or false", array.unique, array.ones(3), { counts = 1 })
end

-- ------------------------------------------------------------------------------------------------------- searching ----
function TestStatistics.test_searchsorted()
  for _, dtype in ipairs(reals) do
    for _, n in ipairs { 0, 1, 2, 7, 8, 100 } do
      local sorted = array.unique(integers(8, math.max(n, 1), 0, 50, dtype))[{ n == 0 and { 1, 0 } or {} }]
      local values = integers(9, 61, 0, 55, dtype)
      for _, side in ipairs { "left", "right" } do
        local got = array.searchsorted(sorted, values, side)
        lu.assertEquals(got.dtype, "int64")
        for i = 1, #values do
          local want = 1
          for k = 1, #sorted do
            if sorted[k] < values[i] or side == "right" and sorted[k] == values[i] then
              want = k + 1
            end
          end
          lu.assertEquals(got[i], want)
        end
      end
    end
  end
  local s = array.from { 1, 2, 2, 3, nan, nan }
  same(array.searchsorted(s, array.from { { nan, 3 }, { inf, 2 } }), array.from({ { 5, 4 }, { 5, 2 } }, "int64"))
  same(array.searchsorted(s, array.from { nan, 3, inf, 2 }, { side = "right" }), array.from({ 7, 5, 5, 4 }, "int64"))
  lu.assertEquals(array.searchsorted(s, 2.5), 4)
  lu.assertEquals(array.from({ 1, 5, 9 }, "uint8"):searchsorted(300), 4)
  lu.assertEquals(array.from({ 1, 5, 9 }, "int32"):searchsorted(5, "right"), 3)
  fails('side is "left" or "right"', array.searchsorted, s, 1, "middle")
  fails("must have one dimension", array.searchsorted, array.zeros(2, 2), 1)
  same(array.digitize(array.from { 0.5, 1, 2.5, 9 }, { 1, 2, 3 }), array.from({ 1, 2, 3, 4 }, "int64"))
  same(array.digitize(array.from { 0.5, 1, 2.5, 9 }, { 1, 2, 3 }, { right = true }), array.from({ 1, 1, 3, 4 }, "int64"))
  same(array.digitize(array.from { 0.5, 1, 2.5, 9 }, { 3, 2, 1 }), array.from({ 4, 3, 2, 1 }, "int64"))
  lu.assertEquals(array.digitize(1.5, { 1, 2, 3 }), 2)
  fails("ascending or descending", array.digitize, array.ones(2), { 1, 3, 2 })
end

function TestStatistics.test_isin()
  for _, dtype in ipairs(reals) do
    for _, factor in ipairs { 1, 2 ^ 20 } do
      if factor == 1 or not dtype:find("8") and not dtype:find("16") then
        local a, v = integers(10, 300, 0, 90, dtype) * factor, integers(11, 20, 0, 120, dtype) * factor
        local got = array.isin(a, v)
        for i = 1, 300 do
          local want = false
          for k = 1, 20 do
            want = want or v[k] == a[i]
          end
          lu.assertEquals(got[i], want)
        end
        same(array.isin(a, v, { invert = true }), array.logical_not(got))
      end
    end
  end
  same(array.isin(array.from { { 1, nan }, { 3, inf } }, { nan, 3, inf }), array.from { { false, false }, { true, true } })
  same(array.isin(array.from({ 1, 2, 300 }, "int32"), { 2, 7 }), array.from { false, true, false })
  same(array.isin(array.from({ 1, 2 }, "int8"), { 1.5, 2 }), array.from { false, true })
  local wide = array.from({ 2 ^ 63, 5, 2 ^ 53 }, "uint64") + array.from({ 1, 0, 1 }, "uint64")
  same(array.isin(wide, array.from({ -1, 5, 2 ^ 53, -2 ^ 63 }, "int64")), array.from { false, true, false })
  same(array.isin(array.from({ -1, 5, -2 ^ 63 }, "int64"), wide), array.from { false, true, false })
  same(array.isin(array.from { 1, 2 }, array.zeros(0)), array.from { false, false })
  same(array.isin(array.from({ 1, 2 }, "uint8"), 2), array.from { false, true })
  same(array.isin(array.from({ array.complex(1, 2), array.complex(1, 3) }, "complex128"),
    array.from({ array.complex(1, 3) }, "complex128")), array.from { false, true })
end

function TestStatistics.test_sets()
  local a, b = array.from({ 3, 1, 3, 7 }, "int16"), array.from({ { 7, 8 }, { 1, 1 } }, "int32")
  same(array.union1d(a, b), array.from({ 1, 3, 7, 8 }, "int32"))
  same(array.intersect1d(a, b), array.from({ 1, 7 }, "int32"))
  same(array.setdiff1d(a, b), array.from({ 3 }, "int32"))
  same(array.setxor1d(a, b), array.from({ 3, 8 }, "int32"))
  same(array.setdiff1d(a, array.zeros(0)), array.from { 1, 3, 7 })
  same(array.intersect1d(array.from { nan, 2 }, array.from { nan, 2 }), array.from { 2 })
end

function TestStatistics.test_interp()
  local xp, fp = array.from { 0, 1, 1, 4 }, array.from { 2, 4, -1, 5 } -- with a step
  same(array.interp(array.from { -1, 0, 0.5, 1, 2.5, 4, 5, nan }, xp, fp), array.from { 2, 2, 3, -1, 2, 5, 5, nan })
  same(array.interp(array.from { -1, 5 }, xp, fp, { left = 0, right = nan }), array.from { 0, nan })
  lu.assertEquals(array.interp(0.25, { 0, 1 }, { 10, 20 }), 12.5)
  local x = array.linspace(0, 1, 1001)
  close(array.interp(x, array.linspace(0, 1, 101), array.linspace(0, 1, 101) * 3 + 1), x * 3 + 1, 1e-14)
  lu.assertEquals(array.interp(array.zeros({ 2, 3 }, "int32"), xp, fp).shape, { 2, 3 })
  fails("xp must be ascending; element 2 is smaller", array.interp, 1, { 2, 1 }, { 1, 2 })
  fails("xp has 2 points and fp 3", array.interp, 1, { 1, 2 }, { 1, 2, 3 })
end

-- ----------------------------------------------------------------------------------------------------- differences ----
function TestStatistics.test_diff()
  local a = array.from { { 1, 4, 9 }, { 0, -1, 5 } }
  same(array.diff(a), array.from { { 3, 5 }, { -1, 6 } })
  same(a:diff { axis = 1 }, array.from { { -1, -5, -4 } })
  same(a:diff(2), array.from { { 2 }, { 7 } })
  same(a:diff(3), array.zeros(2, 0))
  same(a:diff(0), a)
  same(a:diff { prepend = 0 }, array.from { { 1, 3, 5 }, { 0, -1, 6 } })
  same(a:diff { axis = 1, append = array.from { { 1, 1, 1 } } }, array.from { { -1, -5, -4 }, { 1, 2, -4 } })
  same(array.diff(array.from { true, true, false }), array.from { false, true })
  same(array.diff(array.from({ 3, 1 }, "uint8")), array.from({ 254 }, "uint8"))
  fails("n must be an integer, 0 or more", array.diff, a, -1)
  fails("axis 3 is out of range", array.diff, a, { axis = 3 })
end

function TestStatistics.test_gradient_and_trapz()
  local x = array.linspace(0, 2, 41)
  local y = x * x
  local d = array.gradient(y, 0.05)
  close(d[{ { 2, -2 } }], (x * 2)[{ { 2, -2 } }]) -- exact for parabolas inside,
  close(array.gradient(y, 0.05, { edge_order = 2 }), x * 2) -- and with three points at the ends
  local uneven = array.from { 0, 0.5, 0.75, 2, 2.25 }
  close(array.gradient(uneven * uneven, uneven, { edge_order = 2 }), uneven * 2)
  local f = x:reshape(41, 1) * 3 + x * 5
  local dy, dx = array.gradient(f, 0.05)
  close(dy, array.full({ 41, 41 }, 3))
  close(dx, array.full({ 41, 41 }, 5))
  close(array.gradient(f, 0.05, { axis = 2 }), dx)
  lu.assertEquals(array.gradient(array.from({ 1, 2, 4 }, "float32")).dtype, "float32")
  same(array.gradient(array.from({ 1, 2, 4 }, "uint8")), array.from { 1, 1.5, 2 })
  fails("at least 2 are needed", array.gradient, array.ones(1))
  fails("edge_order is 1 or 2", array.gradient, x, { edge_order = 3 })
  lu.assertAlmostEquals(array.trapz(y, x), 8 / 3, 1e-2)
  lu.assertAlmostEquals(array.trapz(array.ones(11), { dx = 0.1 }), 1, 1e-12)
  close(array.trapz(f, x, { axis = 1 }), array.trapz(f.T, { dx = 0.05 }))
  lu.assertEquals(array.trapz(array.ones(1)), 0)
  fails("3 coordinates for the 41 elements of axis 1", array.trapz, y, array.ones(3))
end

-- ---------------------------------------------------------------------------------------------------------- moments ----
function TestStatistics.test_average_and_covariance()
  local a = array.from { { 1, 2 }, { 3, 5 } }
  lu.assertEquals(array.average(a), 2.75)
  same(array.average(a, { axis = 1, weights = array.from { 3, 1 } }), array.from { 1.5, 2.75 })
  same(a:average { axis = 2, weights = array.from { { 1, 0 }, { 1, 1 } } }, array.from { 1, 4 })
  fails("the weights add up to 0", array.average, a, { weights = array.zeros(2, 2) })
  fails("need an axis", array.average, a, { weights = array.ones(2) })
  fails("weights has the shape (2, 3)", array.average, a, { weights = array.ones(2, 3) })
  local x = array.from { { 1, 2, 4, 3 }, { 2, 1, 0, 5 } }
  close(array.cov(x), array.from { { 5 / 3, -1 / 3 }, { -1 / 3, 14 / 3 } })
  close(array.cov(x.T, { rowvar = false }), array.cov(x))
  close(array.cov(x[{ 1 }], x[{ 2 }]), array.cov(x))
  close(array.cov(x, { bias = true }), array.cov(x) * 0.75)
  lu.assertAlmostEquals(array.cov(x[{ 1 }]), 5 / 3, 1e-12)
  local weights = array.from { 1, 2, 1, 3 }
  local repeated = array.from { { 1, 2, 2, 4, 3, 3, 3 }, { 2, 1, 1, 0, 5, 5, 5 } }
  close(array.cov(x, { fweights = weights }), array.cov(repeated))
  local r = array.corrcoef(x)
  close(r[{ {}, 1 }], array.from { 1, -1 / 3 / math.sqrt(5 / 3 * 14 / 3) })
  lu.assertEquals(r[1][1], 1)
  fails("unknown option 'ddof'", array.corrcoef, x, { ddof = 1 })
end

function TestStatistics.test_released_and_wrong_arguments()
  local gone = array.ones(3)
  gone:release()
  for _, name in ipairs { "diff", "gradient", "trapz", "histogram", "bincount", "unique", "average", "cov" } do
    lu.assertError(array[name], gone)
    fails("an array is expected, got nil", array[name], nil)
    fails("an array is expected, got a table", array[name], { 1, 2 })
  end
  fails("released", array.searchsorted, gone, 1)
  fails("released", array.isin, gone, array.ones(2))
  fails("released", array.convolve, gone, array.ones(2))
end

os.exit(lu.LuaUnit.run(), true)
