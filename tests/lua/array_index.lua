-- Masks, index arrays and shapes, against plain loops over random shapes (with fixed seeds).
local lu = require "luaunit"
local pg = require "perigee"
local array = pg.array

local state = 12345
local function random(n) -- 1 to n
  state = (state * 1103515245 + 12345) % 2147483648
  return math.floor(state / 65536) % n + 1
end

local function numbers(...) return array.range((array.zeros(...)).size):reshape(...) end
local function same(a, expected) lu.assertEquals(a:totable(), expected) end
local function fails(text, f, ...)
  local fine, message = pcall(f, ...)
  lu.assertFalse(fine)
  lu.assertStrContains(tostring(message), text)
end
local function index(values) return array.from(values, "int64") end

TestMasks = {}

function TestMasks.testAgainstALoop()
  for _, dtype in ipairs { "bool", "uint8", "int32", "int64", "float32", "float64" } do
    for _, n in ipairs { 0, 1, 7, 8, 9, 31, 63, 64, 65, 127, 1000, 4099 } do
      for _, density in ipairs { 1, 2, 9 } do
        local a, mask = array.zeros(n, dtype), array.zeros(n, "bool")
        local expected, after = {}, {}
        for i = 1, n do
          a[i] = dtype == "bool" and random(2) == 1 or dtype ~= "bool" and random(100) or false
          mask[i] = random(density) == 1
          after[i] = a[i]
          if mask[i] then
            expected[#expected + 1] = a[i]
            after[i] = dtype == "bool" and true or 7
          end
        end
        same(a[mask], expected)
        same(a[{ {-1, 1, -1} }][mask[{ {-1, 1, -1} }]]:flip(), expected) -- strided: n = 0 and 1 too
        local b = a:copy()
        b[mask] = dtype == "bool" and true or 7
        same(b, after)
        b[mask] = a[mask]
        same(b, a:totable())
      end
    end
  end
end

function TestMasks.testNothingBeyondTheEndIsWritten()
  local whole = array.full({ 200 }, -1)
  local part = whole[{ {50, 149} }]
  local mask = array.full({ 100 }, true)
  part[mask] = 3
  lu.assertEquals(whole:sum(), 3 * 100 - 100)
  part[mask] = array.range(100)
  lu.assertEquals(whole:sum(), 5050 - 100)
end

function TestMasks.testManyElementsOnSeveralThreads()
  local n = 300001
  local a = array.range(n)
  local mask = (a % 3):eq(0)
  local part = a[mask]
  lu.assertEquals(part.size, 100000)
  lu.assertTrue(part:equal(array.range(3, n, 3)))
  local threads = pg.threads()
  pg.threads(1)
  lu.assertTrue(a[mask]:equal(part))
  pg.threads(threads)
  a[mask] = -part
  lu.assertEquals(a[3], -3)
  lu.assertEquals(a[299999], 299999)
end

function TestMasks.testOfFirstAxesAndErrors()
  local a = numbers(3, 4)
  same(a[array.from { true, false, true }], { { 1, 2, 3, 4 }, { 9, 10, 11, 12 } })
  same(a.T[array.from { true, false, false, true }], { { 1, 5, 9 }, { 4, 8, 12 } })
  same(a[{ array.from { true, false, true }, 2 }], { 2, 10 })
  same(a[{ {}, array.from { false, true, true, false } }], { { 2, 3 }, { 6, 7 }, { 10, 11 } })
  a[array.from { false, true, false }] = array.from { 0, 0, 0, 1 }
  same(a[2], { 0, 0, 0, 1 })
  fails("does not fit", function() return a[array.from { true, false }] end)
  fails("cannot be written", function() a[a:gt(3)] = array.range(4) end)
  fails("read-only", function() a:as_readonly()[a:gt(3)] = 0 end)
  fails("a table cannot be assigned", function() a[a:gt(3)] = { 1 } end)
end

TestIndices = {}

function TestIndices.testAgainstALoop()
  for _ = 1, 60 do
    local rows, columns, n = random(6), random(6), random(8) - 1
    local a = numbers(rows, columns)
    if random(2) == 1 then
      a = numbers(columns, rows).T
    end
    local i, j, pairs_, whole, across = array.zeros(n, "int32"), array.zeros(n, "int64"), {}, {}, {}
    for r = 1, rows do
      across[r] = {}
    end
    for k = 1, n do
      local p, q = random(rows), random(columns)
      i[k], j[k] = random(2) == 1 and p or p - rows - 1, random(2) == 1 and q or q - columns - 1
      pairs_[k], whole[k] = a:at(p, q), a[p]:totable()
      for r = 1, rows do
        across[r][k] = a:at(r, q)
      end
    end
    same(a[{ i, j }], pairs_)
    same(a[i], whole)
    same(a[{ {}, j }], across)
    same(array.take(a, j, 2), across)
    local b, c = a:copy(), a:copy()
    b[{ i, j }] = -array.range(n)
    for k = 1, n do
      c:set(i[k], j[k], -k)
    end
    same(b, c:totable())
  end
end

function TestIndices.testWhereTheAxesGo()
  local a = numbers(2, 3, 4)
  local i = index { 2, 1 }
  lu.assertEquals(a[{ {}, {}, i }].shape, { 2, 3, 2 })
  lu.assertEquals(a[{ i, {}, index { 1, 4 } }].shape, { 2, 3 })
  lu.assertEquals(a[{ 1, {}, i }].shape, { 2, 3 }) -- as NumPy: an integer beside an index array is one
  lu.assertEquals(a[{ {}, i:reshape(2, 1), i }].shape, { 2, 2, 2 })
  lu.assertEquals(a[{ {}, index { {1, 2, 3} } }].shape, { 2, 1, 3, 4 })
  same(a[{ 1, {}, i }], { { 2, 6, 10 }, { 1, 5, 9 } })
  a[{ {}, i }] = 0
  lu.assertEquals(a[{ {}, {1, 2} }]:sum(), 0)
  lu.assertEquals(a:sum(), 9 + 10 + 11 + 12 + 21 + 22 + 23 + 24)
end

function TestIndices.testErrors()
  local v = array.range(7)
  fails("index 8 at position (2)", function() return v[index { 1, 8 }] end)
  fails("index 0 at position (1)", function() return v[index { 0 }] end)
  fails("legal are 1 to 7", function() return v[index { -8 }] end)
  fails("holds integers", function() return v[array.from { 1, 2 }] end)
  fails("2 entries", function() return v[{ index { 1 }, index { 1 } }] end)
  fails("cannot be written", function() v[index { 1, 2, 3 }] = array.range(2) end)
  fails("out of range", function() v[index { 1, 9 }] = 0 end)
  lu.assertEquals(v[1], 1) -- nothing was written
  local released = array.range(3)
  released:release()
  fails("released", function() return v[released] end)
  fails("released", function() return released[index { 1 }] end)
end

function TestIndices.testFunctions()
  local a = array.from { { 5, 0, 2 }, { 0, 7, 0 } }
  local i, j = array.nonzero(a)
  same(i, { 1, 1, 2 })
  same(j, { 1, 3, 2 })
  same(array.argwhere(a), { { 1, 1 }, { 1, 3 }, { 2, 2 } })
  same(array.flatnonzero(a.T), { 1, 4, 5 })
  same(a:take { 1, -1 }, { 5, 0 })
  lu.assertEquals(a:take(3), 2)
  same(array.take_along_axis(a, index { { 3, 1 }, { 2, 2 } }, 2), { { 2, 5 }, { 7, 7 } })
  array.put_along_axis(a, index { { 1 }, { 1 } }, 9, 2)
  a:put({ -1, 2 }, array.from { 8, 6 })
  same(a, { { 9, 6, 2 }, { 9, 7, 8 } })
  same(array.compress(array.from { true, false, true }, a, 2), { { 9, 2 }, { 9, 8 } })
  local r, c = array.unravel_index(index { 1, 6 }, { 2, 3 })
  same(r, { 1, 2 })
  same(c, { 1, 3 })
  same(array.choose(index { 1, 2, 1 }, { array.range(3), -array.range(3) }), { 1, -2, 3 })
end

function TestIndices.testPutOfANumberAndFastGathers()
  local a = numbers(2, 3)
  a:put(3, 9)
  a:put(-1, 8)
  same(a, { { 1, 2, 9 }, { 4, 5, 8 } })
  fails("put: position 7 is out of range", a.put, a, 7, 1)
  fails("put: position 0 is out of range", a.put, a, { 1, 0 }, 1)
  -- One index array of every dtype, strided arrays and strided indices, elements of every size.
  for _, dtype in ipairs { "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64" } do
    for _, of in ipairs { "uint8", "int16", "float32", "float64", "complex128" } do
      local x = array.range(120, of)
      local i = (array.range(99) * 37 % 60 + 1):astype(dtype)
      local y, z = x[i], x[{ {-1, 1, -2} }][i[{ {99, 1, -2} }]]
      for k = 1, 99, 7 do
        lu.assertTrue(y[k] == x[i[k]])
      end
      for k = 1, 50, 7 do
        lu.assertTrue(z[k] == x[122 - 2 * i[101 - 2 * k]])
      end
      if dtype:sub(1, 1) == "i" then
        lu.assertTrue(x[(-i):astype(dtype)][3] == x[121 - i[3]])
      end
      fails("index 121 at position (2) of the index array is out of range", function() return x[array.from({ 1, 121 }, dtype)] end)
      fails("index 0 at position (1)", function() return x[array.from({ 0 }, dtype)] end)
    end
  end
  local empty = array.zeros(0)
  lu.assertEquals(empty[index {}].size, 0)
  fails("out of range for an axis of length 0", function() return empty[index { 1 }] end)
  fails("out of range", function() return array.range(3)[array.full({ 1 }, 2 ^ 63, "uint64")] end)
end

-- What learners write, and what they are told.
function TestIndices.testMistakes()
  local a, m = array.range(10), numbers(3, 4)
  fails("legal are 1 to 10", function() return a[0] end)
  fails("slice: 2 entries for an array of 1 dimension; a range of one axis is a table in it: a[{ {1, 3} }]",
    function() return a[{ 1, 3 }] end)
  fails("to choose elements, use an index array", function() return a[{ 1, 3, 5, 7 }] end)
  fails("a mask is a bool array: a[array.from{true, false}]", function() return a[{ true, false }] end)
  fails("without names; got the key step", function() return a[{ { 1, 10, step = 2 } }] end)
  fails("got the key step", function() return m[{ { 1, 2, step = 2 }, 1 }] end)
  fails("got the key x", function() return a[{ { 1, 2 }, x = 1 }] end)
  fails("got the key 4", function() return m[{ {}, {}, [4] = 1 }] end)
  fails("a slice is a table", function() return a["1:3"] end)
  fails("slice: 0 is out of range", function() return a[{ { 0, 3 } }] end)
  fails("slice: 11 is out of range", function() return a[{ { 1, 11 } }] end)
  fails("the step must be an integer other than 0", function() return a[{ { 1, 10, 0 } }] end)
  fails("got {1.5, 3}", function() return a[{ { 1.5, 3 } }] end)
  fails("got {3}", function() return a[{ { 3 } }] end)
  fails("does not fit an array of shape (10)", function() return a[array.from { true, false }] end)
  fails('convert it with a:astype("int64")', function() return a[array.from { 1, 2 }] end)
  fails("no order as a whole", function() return a[a > 3] end)
  fails("stack: axis 3 is out of range for a result of 2 dimensions", array.stack, { a, a }, 3)
  fails("tile: a number of times is an integer", array.tile, a)
  fails("tile: times are a list, one an axis, as in {1, 3}; got the key axis", array.tile, a, { 2, axis = 1 })
  fails("eye: the length of axis 1", array.eye, -1)
  fails("resize: a shape is", array.resize, a)
  fails("append: an array or a number is expected, got nil", array.append, a)
  for _ = 1, 200 do -- compiled, too
    fails("got the key step", function() return a[{ { 1, 10, step = 2 } }] end)
    fails("out of range", function() return a[{ { 2, 11 } }] end)
  end
end

function TestIndices.testRangesOfVectors()
  local a = array.range(10)
  for _, dtype in ipairs { "bool", "int16", "int32", "float64", "complex128" } do
    local x = (a % 2):astype(dtype)
    for _, v in ipairs { x, x[{ {-1, 1, -1} }], x[{ {1, 10, 3} }] } do
      local n = #v
      for first = -n, n do
        for last = -n, n do
          local f, l = first < 0 and first + n + 1 or first, last < 0 and last + n + 1 or last
          if f >= 1 and l >= f then
            local part = v[{ {first, last} }]
            lu.assertEquals(part.shape, { l - f + 1 })
            lu.assertTrue(part[1] == v[f] and part[-1] == v[l])
            lu.assertTrue(array.shares_memory(part, x))
          end
        end
      end
    end
  end
  same(a[{ {2, 1} }], {})
  same(a[{ {11, 10} }], {})
end

TestShapes = {}

function TestShapes.testOrderOfReshape()
  local a = numbers(2, 3)
  same(a:reshape(3, 2, { order = "F" }), { { 1, 5 }, { 4, 3 }, { 2, 6 } })
  same(a:reshape({ 3, -1 }, "F"), { { 1, 5 }, { 4, 3 }, { 2, 6 } })
  same(a:reshape(-1, "F"), { 1, 4, 2, 5, 3, 6 })
  same(a:ravel("F"), { 1, 4, 2, 5, 3, 6 })
  same(a:flatten { order = "F" }, { 1, 4, 2, 5, 3, 6 })
  local f = a:copy("F")
  lu.assertTrue(array.shares_memory(f, f:ravel("F")))
  lu.assertFalse(array.shares_memory(f, f:ravel()))
  lu.assertNil(f:flatten("F"):base())
  lu.assertTrue(array.shares_memory(f, array.asfortranarray(f)))
  lu.assertTrue(array.ascontiguousarray(f):is_contiguous())
  lu.assertEquals(array.full({ 1 }, 3):reshape().shape, {})
  fails("unknown option", a.reshape, a, { 3, 2 }, { ordr = "F" })
  fails('"C" (row-major)', a.reshape, a, 3, 2, "f")
end

function TestShapes.testViews()
  local a = numbers(3, 4):copy()
  for _, v in ipairs { a:swapaxes(1, 2), array.moveaxis(a, 1, 2), a:expand_dims(2), a:flip(1), array.rot90(a),
    a:diagonal(), a:ravel(), a:reshape(2, 6), array.broadcast_to(a, { 2, 3, 4 }), array.split(a, 2, 2)[1] } do
    lu.assertTrue(array.shares_memory(a, v))
    lu.assertEquals(v:base().size, 12)
  end
  lu.assertNil(a:base())
  lu.assertNil(a.T:ravel():base())
  lu.assertFalse(array.shares_memory(a, a:flatten()))
  same(array.rot90(a), { { 4, 8, 12 }, { 3, 7, 11 }, { 2, 6, 10 }, { 1, 5, 9 } })
  same(a:diagonal(1), { 2, 7, 12 })
  same(a:diagonal(-2), { 9 })
  lu.assertEquals(a:expand_dims { 1, -1 }.shape, { 1, 3, 4, 1 })
  lu.assertEquals(a:expand_dims(2):squeeze().shape, { 3, 4 })
  fails("has length 3, not 1", function() a:squeeze(1) end)
  fails("read-only", function() array.broadcast_to(a, { 2, 3, 4 })[1] = 0 end)
  -- A view by reshape wherever strides allow.
  local part = numbers(4, 6)[{ {}, {1, 6, 2} }]
  lu.assertTrue(array.shares_memory(part, part:reshape(2, 2, 3)))
  lu.assertFalse(array.shares_memory(part.T, part.T:reshape(12)))
end

function TestShapes.testReshapeOfStridedArrays()
  for _ = 1, 100 do
    local a = numbers(2, 3, 4, 2):transpose(({ { 1, 2, 3, 4 }, { 2, 1, 3, 4 }, { 4, 3, 2, 1 }, { 1, 2, 4, 3 } })[random(4)])
    if random(2) == 1 then
      a = a[{ {}, {-1, 1, -1} }]
    end
    local flat = a:flatten()
    local shape = { { 48 }, { 6, 8 }, { 8, 6 }, { 2, 24 }, { 24, 1, 2 }, { 4, 3, 4 }, { 1, 48, 1 } }
    for _, s in ipairs(shape) do
      lu.assertTrue(a:reshape(s):flatten():equal(flat))
    end
  end
end

function TestShapes.testSharesMemory()
  local a = array.zeros(10)
  lu.assertFalse(array.shares_memory(a[{ {1, 9, 2} }], a[{ {2, 10, 2} }]))
  lu.assertTrue(array.may_share_memory(a[{ {1, 9, 2} }], a[{ {2, 10, 2} }]))
  lu.assertTrue(array.shares_memory(a[{ {1, 10, 3} }], a[{ {10, 1, -1} }]))
  lu.assertFalse(array.shares_memory(a[{ {1, 5} }], a[{ {6, 10} }]))
  for _ = 1, 200 do -- against a loop over all pairs of positions
    local n = 40
    local function take() return { random(8), random(6), random(5) } end
    local p, q = take(), take()
    local b = array.zeros(n)
    local x, y = b[{ {p[1], p[1] + p[2] * p[3], p[2]} }], b[{ {q[1], q[1] + q[2] * q[3], q[2]} }]
    x:fill(1)
    y:add_(1)
    lu.assertEquals(array.shares_memory(x, y), b:max() > 1)
  end
end

function TestShapes.testOrders()
  local f = array.zeros(2, 3, { order = "F" })
  lu.assertEquals(f.strides, { 1, 2 })
  lu.assertTrue(f:is_contiguous("F"))
  lu.assertFalse(f:is_contiguous())
  local a = numbers(2, 3)
  lu.assertEquals(a:copy { order = "F" }.strides, { 1, 2 })
  lu.assertTrue(a:copy("F"):equal(a))
  lu.assertEquals(array.from({ { 1, 2 }, { 3, 4 } }, { order = "F", dtype = "int32" }):ravel():totable(), { 1, 2, 3, 4 })
  fails('"C" (row-major)', function() array.zeros(2, { order = "X" }) end)
  fails("unknown option", function() array.zeros(2, { order = "F", odd = 1 }) end)
end

function TestShapes.testTransposedCopies()
  for _, n in ipairs { 1, 7, 8, 33, 130 } do
    for _, dtype in ipairs { "bool", "int32", "float32", "float64" } do
      local a = (dtype == "bool" and numbers(n, n + 3) % 2 or numbers(n, n + 3)):astype(dtype)
      local b, c = a.T:copy(), a.T[{ {-1, 1, -1} }]:copy()
      for i = 1, n + 3, 5 do
        for j = 1, n do
          lu.assertEquals(b:at(i, j), a:at(j, i))
          lu.assertEquals(c:at(i, j), a:at(j, n + 4 - i))
        end
      end
    end
  end
  local a = numbers(5, 40, 30)
  local b = a:transpose(3, 1, 2):copy()
  for _ = 1, 200 do
    local i, j, k = random(5), random(40), random(30)
    lu.assertEquals(b:at(k, i, j), a:at(i, j, k))
  end
  local large = numbers(1100, 1000) -- on several threads
  lu.assertTrue(large.T:copy().T:equal(large))
end

function TestShapes.testJoining()
  local a, b = numbers(2, 2), -numbers(2, 2)
  same(array.concatenate({ a, b }, 2), { { 1, 2, -1, -2 }, { 3, 4, -3, -4 } })
  same(array.stack({ a, b }, 3), { { { 1, -1 }, { 2, -2 } }, { { 3, -3 }, { 4, -4 } } })
  same(array.from { a, b }, { { { 1, 2 }, { 3, 4 } }, { { -1, -2 }, { -3, -4 } } })
  same(array.from { { a[1], b[1] }, { a[2], b[2] } }, { { { 1, 2 }, { -1, -2 } }, { { 3, 4 }, { -3, -4 } } })
  same(array.vstack { array.range(2), a }, { { 1, 2 }, { 1, 2 }, { 3, 4 } })
  same(array.hstack { array.range(2), array.range(1) }, { 1, 2, 1 })
  same(array.column_stack { array.range(2), array.range(2) }, { { 1, 1 }, { 2, 2 } })
  lu.assertEquals(array.concatenate { array.zeros(1, "int32"), array.zeros(1, "float32") }.dtype, "float64")
  lu.assertEquals(#array.array_split(array.range(7), 3), 3)
  same(array.split(array.range(7), { 3, 5 })[2], { 4, 5 })
  fails("does not join", array.concatenate, { a, array.zeros(3, 3) })
  fails("equal parts", array.split, array.range(7), 3)
  fails("entry 2 is 3", array.concatenate, { a, 3 })
  same(array.tile(array.range(2), { 2, 2 }), { { 1, 2, 1, 2 }, { 1, 2, 1, 2 } })
  same(array.tile(a, { 1, 3 }), { { 1, 2, 1, 2, 1, 2 }, { 3, 4, 3, 4, 3, 4 } })
  same(array.repeats(a, 2, 2), { { 1, 1, 2, 2 }, { 3, 3, 4, 4 } })
  same(array["repeat"](a, index { 0, 2 }, 1), { { 3, 4 }, { 3, 4 } })
  same(array.roll(array.range(5), 2), { 4, 5, 1, 2, 3 })
  same(array.roll(a, 1), { { 4, 1 }, { 2, 3 } })
  same(array.roll(a, { 1, 1 }, { 1, 2 }), { { 4, 3 }, { 2, 1 } })
  same(array.pad(a, { { 1, 0 }, { 0, 1 } }, { value = 9 }), { { 9, 9, 9 }, { 1, 2, 9 }, { 3, 4, 9 } })
  same(array.pad(array.range(3), { 2, 3 }, { mode = "reflect" }), { 3, 2, 1, 2, 3, 2, 1, 2 })
  same(array.pad(array.range(3), { 2, 3 }, { mode = "symmetric" }), { 2, 1, 1, 2, 3, 3, 2, 1 })
  same(array.pad(array.range(3), { 1, 1 }, { mode = "wrap" }), { 3, 1, 2, 3, 1 })
  same(array.append(a, 5), { 1, 2, 3, 4, 5 })
  same(array.insert(array.range(3), 2, 9), { 1, 9, 2, 3 })
  same(array.delete(array.range(4), { 1, -1 }), { 2, 3 })
  same(array.resize(array.range(3), { 2, 2 }), { { 1, 2 }, { 3, 1 } })
end

function TestShapes.testMatrices()
  same(array.eye(2, 3), { { 1, 0, 0 }, { 0, 1, 0 } })
  same(array.tri(2), { { 1, 0 }, { 1, 1 } })
  same(array.tril(numbers(2, 3), -1), { { 0, 0, 0 }, { 4, 0, 0 } })
  same(array.triu(numbers(2, 3), 1), { { 0, 2, 3 }, { 0, 0, 6 } })
  same(array.diag(array.range(2), 1), { { 0, 1, 0 }, { 0, 0, 2 }, { 0, 0, 0 } })
  lu.assertEquals(array.trace(numbers(2, 2)), 5)
  lu.assertEquals(numbers(2, 2):trace(1), 2)
  local x, y = array.meshgrid(array.range(2), array.range(3))
  same(x, { { 1, 2 }, { 1, 2 }, { 1, 2 } })
  same(y, { { 1, 1 }, { 2, 2 }, { 3, 3 } })
end

function TestShapes.testCountAllocations()
  local a = array.zeros(1000)
  local count, bytes, result = array.count_allocations(function(x) return x + 1 end, a)
  lu.assertEquals({ count, bytes, result.size }, { 1, 8000, 1000 })
  lu.assertEquals((array.count_allocations(function() return a[{ {2, -1} }] end)), 0)
  lu.assertEquals((array.count_allocations(function() return (a + 1) * 2 end)), 2)
  fails("a function is expected", array.count_allocations, 3)
  -- Nested, and with an error inside.
  local inner
  count, bytes = array.count_allocations(function()
    local b = a + 1
    inner = { array.count_allocations(function() return b * 2 end) }
    return b - 1
  end)
  lu.assertEquals({ count, bytes }, { 3, 24000 })
  lu.assertEquals({ inner[1], inner[2] }, { 1, 8000 })
  fails("oops", array.count_allocations, function()
    local b = a + 1
    error("oops " .. b.size)
  end)
  lu.assertEquals((array.count_allocations(function() return a + 1 end)), 1)
  lu.assertEquals((array.count_allocations(function() a:add_(1) end)), 0)
end

function TestShapes.testViewsKeepMemory()
  local views = {}
  for i = 1, 200 do
    local a = array.full({ 100 }, i)
    views[i] = a[{ {-1, 1, -2} }]
    a:release()
  end
  collectgarbage()
  for i = 1, 200 do
    lu.assertEquals(views[i]:sum(), 50 * i)
  end
end

function TestMasks.test_positions_and_truth_of_vectors_of_many_lengths()
  math.randomseed(7)
  for _, n in ipairs { 0, 1, 5, 511, 512, 513, 1024, 1025, 5000, 70000 } do
    local t, want = {}, {}
    for i = 1, n do
      t[i] = math.random() < 0.3
      want[#want + 1] = t[i] and i or nil
    end
    local m = array.from(t, "bool")
    lu.assertEquals(array.flatnonzero(m):totable(), want)
    lu.assertEquals(array.flatnonzero(m:astype("float32")):totable(), want)
    lu.assertEquals(m:sum(), #want)
    lu.assertEquals(m:any(), #want > 0)
    lu.assertEquals(m:all(), #want == n)
    if n > 0 then
      local zeros, ones = array.zeros(n), array.ones(n)
      lu.assertFalse(zeros:any())
      lu.assertTrue(ones:all())
      zeros[n], ones[n] = 1, 0
      lu.assertTrue(zeros:any())
      lu.assertFalse(ones:all())
      lu.assertTrue(ones:equal(ones:copy()))
      ones[n] = 0 / 0
      lu.assertFalse(ones:equal(ones:copy()))
      lu.assertTrue(array.equal(ones, ones:copy(), { equal_nan = true }))
    end
  end
end

os.exit(lu.LuaUnit.run(), true)
