-- pg.array as scripts see it. What C++ computes is tested in tests/engine/array_test.cpp; here: access, views,
-- arguments, and where errors point.
local lu = require "luaunit"
local array = require("perigee").array

local this_file = debug.getinfo(1, "S").short_src

-- Runs fn, which must fail with `text`, placed at a line of this file.
local function fails(text, fn, ...)
  local ok, message = pcall(fn, ...)
  lu.assertFalse(ok, "no error; expected: " .. text)
  lu.assertStrContains(message, text)
  lu.assertStrContains(message, this_file .. ":")
end

local function grid(rows, columns, dtype)
  return array.range(rows * columns, dtype):reshape(rows, columns)
end

local dtypes = { "bool", "uint8", "int32", "int64", "float32", "float64" }

TestCreate = {}

function TestCreate:test_zeros_forms()
  for _, a in ipairs { array.zeros(2, 3), array.zeros { 2, 3 }, array.zeros(2, 3, { dtype = "float64" }),
    array.zeros({ 2, 3 }, "float64") } do
    lu.assertEquals(a.shape, { 2, 3 })
    lu.assertEquals(a.strides, { 3, 1 })
    lu.assertEquals(a.ndim, 2)
    lu.assertEquals(a.size, 6)
    lu.assertEquals(a.dtype, "float64")
    lu.assertEquals(a:sum(), 0)
    lu.assertEquals(#a, 2)
  end
  for _, dtype in ipairs(dtypes) do
    lu.assertEquals(array.zeros(3, dtype).dtype, dtype)
    lu.assertEquals(array.ones({ 3 }, { dtype = dtype }):sum(), 3)
    lu.assertEquals(array.ones_like(array.empty({ 2, 2 }, dtype)):sum(), 4)
  end
  lu.assertEquals(array.zeros { 0, 5 }.size, 0)
  lu.assertEquals(array.zeros {}:item(), 0)
  lu.assertEquals(array.zeros(1, 1, 1, 1, 1, 1, 1, 1).ndim, 8)
end

function TestCreate:test_bad_shapes()
  fails("the length of axis 2 must be an integer, 0 or more, got -1", array.zeros, 2, -1)
  fails("the length of axis 1 must be an integer, 0 or more, got 1.5", array.zeros, 1.5)
  fails("at most 8 dimensions", array.zeros, 1, 1, 1, 1, 1, 1, 1, 1, 1)
  fails("a shape is a number or a table such as {2, 3}, got nil", array.zeros)
  fails('the string "complex" is not a dtype', array.zeros, 3, "complex")
  fails("unknown option 'typ'; legal are: dtype", array.zeros, 3, { typ = "int32" })
  fails("the options come last", array.zeros, 2, "int32", 3)
end

function TestCreate:test_an_axis_may_be_an_option()
  local a = array.range(12):reshape(3, 4)
  lu.assertEquals(array.concatenate({ a, a }, { axis = 2 }).shape, { 3, 8 })
  lu.assertEquals(array.stack({ a, a }, { axis = -1 }).shape, { 3, 4, 2 })
  lu.assertEquals(a:expand_dims({ axis = 2 }).shape, { 3, 1, 4 })
  lu.assertEquals(a:reshape(1, 3, 4):squeeze({ axis = 1 }).shape, { 3, 4 })
  lu.assertTrue(array.roll(a, 1, { axis = 2 }) == array.roll(a, 1, 2))
  lu.assertTrue(array.flip(a, { axis = 1 }) == array.flip(a, 1))
  lu.assertTrue(array.delete(a, 2, { axis = 1 }) == array.delete(a, 2, 1))
  lu.assertErrorMsgContains("unknown option 'axes'", array.roll, a, 1, { axes = 1 })
  lu.assertErrorMsgContains("unknown option 'axes'", array.concatenate, { a, a }, { axes = 1 })
end

function TestCreate:test_shapes_print_and_compare()
  local a, b = array.zeros(3, 4), array.ones(4, 3)
  lu.assertEquals(tostring(a.shape), "(3, 4)")
  lu.assertEquals("shape " .. a.shape .. ", strides " .. a.strides, "shape (3, 4), strides (4, 1)")
  lu.assertTrue(a.shape == b.T.shape)
  lu.assertFalse(a.shape == b.shape)
  lu.assertEquals(array.zeros(a.shape).shape, { 3, 4 })
end

function TestCreate:test_full_range_linspace()
  for _, dtype in ipairs { "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64" } do
    lu.assertEquals(array.range(3, 100, 7, dtype):totable(), array.range(3, 100, 7):totable())
    lu.assertEquals(array.range(100, 3, -7, dtype):totable(), array.range(100, 3, -7):totable())
  end
  lu.assertErrorMsgContains("256 is out of range for uint8", array.range, 1, 300, "uint8")
  lu.assertErrorMsgContains("-129 is out of range for int8", array.range, 5, -200, -1, "int8")
  lu.assertErrorMsgContains("0.25 is not an integer", array.range, 0, 1, 0.25, "int32")
  lu.assertEquals(array.full({ 2, 2 }, 7):totable(), { { 7, 7 }, { 7, 7 } })
  lu.assertEquals(array.full(2, true).dtype, "bool")
  lu.assertEquals(array.full(2, 5, "uint8").dtype, "uint8")
  lu.assertEquals(array.range(4):totable(), { 1, 2, 3, 4 })
  lu.assertEquals(array.range(0, 1, 0.25):totable(), { 0, 0.25, 0.5, 0.75, 1 })
  lu.assertEquals(array.range(3, 1, -1):totable(), { 3, 2, 1 })
  lu.assertEquals(array.range(0, 1, 0.1).size, 11)
  lu.assertEquals(array.range(0).size, 0)
  lu.assertEquals(array.range(2, 3, "int32"):totable(), { 2, 3 })
  fails("step must not be 0", array.range, 1, 2, 0)
  fails("last must be a finite number, got inf", array.range, math.huge)
  lu.assertEquals(array.linspace(0, 1, 5):totable(), { 0, 0.25, 0.5, 0.75, 1 })
  lu.assertEquals(array.linspace(3, 9, 1):totable(), { 3 })
  lu.assertEquals(array.linspace(0, 1, 4, { endpoint = false }):totable(), { 0, 0.25, 0.5, 0.75 })
  lu.assertEquals(array.linspace(0, 6, 4, { dtype = "int8" }).dtype, "int8")
  lu.assertEquals(array.linspace(1, 2, 0).shape, { 0 })
  -- Of every length, also of those that threads share, what the definition gives.
  for _, n in ipairs { 1, 2, 3, 4, 5, 1000, 300001 } do
    for _, endpoint in ipairs { true, false } do
      local intervals = math.max(endpoint and n - 1 or n, 1)
      local x = array.linspace(-0.3, 7.1, n, { endpoint = endpoint })
      local narrow = array.linspace(-0.3, 7.1, n, { endpoint = endpoint, dtype = "float32" })
      lu.assertTrue(narrow == x:astype("float32"))
      for i = 1, n, math.max(1, math.floor(n / 997)) do
        lu.assertEquals(x[i], (i == n and endpoint and n > 1) and 7.1 or -0.3 + (7.1 - -0.3) * ((i - 1) / intervals))
      end
    end
  end
  lu.assertEquals(array.logspace(0, 3, 4, { base = 2 }):totable(), { 1, 2, 4, 8 })
  lu.assertTrue(array.geomspace(-1, -1000, 4):allclose(array.from { -1, -10, -100, -1000 }, { rtol = 1e-14 }))
  lu.assertEquals(array.geomspace(3, 81, 4)[-1], 81)
  lu.assertErrorMsgContains("must both be positive or both negative", array.geomspace, 0, 1, 3)
  lu.assertErrorMsgContains("endpoint is true or false", array.linspace, 0, 1, 3, { endpoint = 1 })
  fails("300 is out of range for uint8 (0 to 255)", array.full, 2, 300, "uint8")
  fails("0.5 is not an integer, and this array has dtype int32", array.full, 2, 0.5, "int32")
end

function TestCreate:test_from()
  local a = array.from { { 1, 2, 3 }, { 4, 5, 6 } }
  lu.assertEquals(a.shape, { 2, 3 })
  lu.assertEquals(a[2][3], 6)
  lu.assertEquals(array.from { true, false }.dtype, "bool")
  lu.assertEquals(array.from({ 1, 0 }, "bool"):totable(), { true, false })
  lu.assertEquals(array.from({ { 1 }, { 2 } }, "int64"):totable(), { { 1 }, { 2 } })
  lu.assertEquals(array.from {}.shape, { 0 })
  lu.assertEquals(array.from(a, "int32").dtype, "int32")
  fails("ragged table: element [2] has 1 entry where the first has 2", array.from, { { 1, 2 }, { 3 } })
  fails("element [2] is 3 where a table of 2 is expected", array.from, { { 1, 2 }, 3 })
  fails("ragged table: element [2] is a table", array.from, { 1, { 2 } })
  fails('mixed table: element [2][1] is the string "x"', array.from, { { 1, 2 }, { "x", 3 } })
  fails("mixed table: element [2] is true in an array of dtype float64", array.from, { 1, true })
  fails("the table has the key n beside its list of 2 entries", array.from, { 1, 2, n = 2 })
  fails("element [2] is 2.5, which int32 cannot hold", array.from, { 1, 2.5 }, "int32")
  fails("a table of numbers is expected, got 5", array.from, 5)
end

TestAccess = {}

function TestAccess:test_elements_of_all_dtypes()
  for _, dtype in ipairs(dtypes) do
    local one = dtype == "bool" and true or 1
    local a = array.zeros(2, 3, dtype)
    a[1][2] = one
    a:set(2, 3, one)
    a[-1][-3] = one
    lu.assertEquals(a:at(1, 2), one)
    lu.assertEquals(a[2][3], one)
    lu.assertEquals(a[2][1], one)
    lu.assertEquals(a:sum(), 3)
  end
end

function TestAccess:test_every_rank()
  for rank = 1, 8 do
    local shape = {}
    for i = 1, rank do
      shape[i] = i <= 4 and 2 or 1
    end
    local a = array.range(2 ^ math.min(rank, 4)):reshape(shape)
    local indices, x = {}, a
    for i = 1, rank do
      indices[i] = -1
      x = x[-1]
    end
    lu.assertEquals(x, a.size)
    lu.assertEquals(a:at(unpack(indices)), a.size)
    indices[rank + 1] = 50
    a:set(unpack(indices))
    lu.assertEquals(a:max(), 50)
    if rank > 1 then
      lu.assertEquals(#a[1], 2 ^ (rank <= 4 and 1 or 1))
      lu.assertEquals(a[1].ndim, rank - 1)
      fails("out of range for axis 1", function() return a[1][3] end)
    end
    fails(("takes %d indices, got %d"):format(rank, rank + 1), function()
      indices[rank + 1] = 1
      return a:at(unpack(indices))
    end)
  end
end

function TestAccess:test_errors_of_indices()
  local a = grid(3, 4)
  fails("index 4 is out of range for axis 1 of an array of shape (3, 4); legal are 1 to 3, and -3 to -1 from the end",
    function() return a[4] end)
  fails("index 0 is out of range", function() return a[0] end)
  fails("index -4 is out of range", function() return a[-4] end)
  fails("index 5 is out of range for axis 1 of an array of shape (4)", function() return a[1][5] end)
  fails("index 5 is out of range for axis 2 of an array of shape (3, 4)", function() return a:at(1, 5) end)
  fails("index 1.5 is not an integer", function() return a[1.5] end)
  fails("index 1.5 is not an integer", function() return a[1][1.5] end)
  fails("index inf is not an integer", function() return a[1 / 0] end)
  fails("index nan is not an integer", function() return a[1][math.abs(0 / 0)] end)
  fails("an array of 2 dimensions takes 2 indices, got 1", function() return a:at(1) end)
  fails("no field or method 'shpae'", function() return a.shpae end)
  fails("the field 'shape' of an array cannot be assigned", function() a.shape = { 4, 3 } end)
  fails("got nil", function() return a[nil] end)
  fails('an element of a float64 array is a number, got the string "x"', function() a[1][1] = "x" end)
  fails("got nil", function() a[1][1] = nil end)
  fails("axis 1 of this array is empty", function() return array.zeros(0)[1] end)
  fails("has no index; read it with a:item()", function() return array.zeros {}[1] end)
end

-- In compiled loops the same checks must hold as in the interpreter.
function TestAccess:test_checks_in_compiled_loops()
  local function sum(a, first, last, step)
    local s = 0
    for i = first, last, step do
      s = s + a[i]
    end
    return s
  end
  local a = array.ones(1000)
  for _ = 1, 5 do
    lu.assertEquals(sum(a, 1, 1000, 1), 1000)
    lu.assertEquals(sum(a, -1000, -1, 1), 1000)
    fails("index 1001 is out of range", sum, a, 1, 1001, 1)
    fails("index 0 is out of range", sum, a, 900, 0, -1)
    fails("index 1.5 is not an integer", sum, a, 1, 1000, 0.5)
  end
  -- What no index can be must be refused in compiled code too, where conversions to integers wrap.
  local m = grid(10, 10)
  local function get(k)
    local s = 0
    for _ = 1, 100 do
      s = s + m[3][k]
    end
    return s
  end
  local function set(k)
    for _ = 1, 100 do
      m[3][k] = 0
    end
  end
  local function at(k)
    local s = 0
    for _ = 1, 100 do
      s = s + m:at(3, k)
    end
    return s
  end
  for _ = 1, 3 do
    for _, k in ipairs { 0, 0.5, -0.5, 11, -11, 2 ^ 31, 2 ^ 32 + 1, 2 ^ 53, 2 ^ 63, 2 ^ 64, 2 ^ 64 + 2 ^ 12, -2 ^ 63, -2 ^ 64,
      1e300, 1 / 0, -1 / 0, 0 / 0 } do
      for _, f in ipairs { get, set, at } do
        lu.assertFalse(pcall(f, k))
      end
    end
    lu.assertEquals(get(10), 3000)
    lu.assertEquals(get(-10), 2100)
    lu.assertEquals(at(10 / 2), 2500)
  end
  local function fill(b, n, v)
    for i = 1, n do
      b[i] = v
    end
  end
  for _, dtype in ipairs { "uint8", "int32", "int64" } do
    local b = array.zeros(300, dtype)
    for _ = 1, 5 do
      fill(b, 300, 7)
      lu.assertEquals(b:sum(), 2100)
      fails("is not an integer", fill, b, 300, 1.5)
      fails("out of range", fill, b, 300, 2 ^ 70)
      fails("is not an integer", fill, b, 300, 0 / 0)
    end
  end
end

function TestAccess:test_int64()
  local a = array.zeros(2, "int64")
  a[1] = 2 ^ 53
  lu.assertEquals(a[1], 2 ^ 53)
  a[2] = 2 ^ 60
  fails("1152921504606846976 is beyond 2^53", function() return a[2] end)
  lu.assertTrue(a:int64(2) == 2LL ^ 60)
  a[1] = a:int64(2) + 1
  lu.assertTrue(a:int64(1) == 1152921504606846977LL)
  fails("beyond 2^53", function() return a:sum() end)
  fails("this array has dtype float64", function() return array.zeros(1):int64(1) end)
end

function TestAccess:test_rows_share_memory_and_never_dangle()
  local a = grid(3, 4)
  local row = a[2]
  row[1] = 50
  lu.assertEquals(a[2][1], 50)
  lu.assertEquals(row.shape, { 4 })
  lu.assertEquals(row.size, 4)
  lu.assertEquals(#row, 4)
  lu.assertEquals(row:sum(), 50 + 6 + 7 + 8)
  lu.assertEquals((row + 1):totable(), { 51, 7, 8, 9 })
  lu.assertEquals(tostring(row), "[50.  6.  7.  8.]")
  lu.assertTrue(array.is(row))
  row = array.zeros(3, 3)[1]
  collectgarbage()
  collectgarbage()
  fails("the array that this row was taken from is gone", function() return row[1] end)
  fails("the array that this row was taken from is gone", function() row[1] = 1 end)
  fails("the array that this row was taken from is gone", function() return row + 1 end)
  local kept = array.zeros(3, 3)[{ 1 }] -- an owning view
  collectgarbage()
  collectgarbage()
  lu.assertEquals(kept[1], 0)
end

-- The check of a row moves out of a compiled loop; the collector must not free the array while the loop runs on.
function TestAccess:test_rows_never_dangle_in_compiled_loops()
  local function orphan() return array.ones(100, 100)[1] end
  local function sum(row)
    local s, garbage = 0, {}
    for i = 1, 1e7 do
      garbage[i % 1000 + 1] = { i }
      s = s + row[i % 100 + 1]
    end
    return s
  end
  for _ = 1, 3 do
    fails("the array that this row was taken from is gone", sum, orphan())
  end
end

function TestAccess:test_row_assignment()
  local a = array.zeros(2, 3)
  a[1] = 4
  a[2] = array.range(3)
  lu.assertEquals(a:totable(), { { 4, 4, 4 }, { 1, 2, 3 } })
  a[1] = a[2]
  lu.assertEquals(a[1]:totable(), { 1, 2, 3 })
  fails("an array of shape (2) cannot be written into one of shape (3)", function() a[1] = array.zeros(2) end)
  fails("a table cannot be assigned", function() a[1] = { 1, 2, 3 } end)
  fails("index 3 is out of range", function() a[3] = 1 end)
  local b = array.zeros(2, 2, 2)
  b[1][2] = 5
  lu.assertEquals(b:totable(), { { { 0, 0 }, { 5, 5 } }, { { 0, 0 }, { 0, 0 } } })
end

function TestAccess:test_release()
  local a = array.from { { 1, 2 }, { 3, 4 } }
  local view, row = a.T, a[1]
  a:release()
  a:release()
  lu.assertEquals(view[2][2], 4)
  lu.assertEquals(row[1], 1)
  fails("this array was released", function() return a[1] end)
  fails("released", function() return a + 1 end)
  fails("released", function() return a:sum() end)
  fails("released", function() return a:reshape(4) end)
  lu.assertEquals(tostring(a), "released array")
  view:release()
  fails("is gone", function() return row[1] end)
  fails("got a row", function() return grid(2, 2)[1]:release() end)
end

function TestAccess:test_readonly()
  local a = grid(2, 2)
  local r = a:as_readonly()
  lu.assertTrue(r.readonly)
  lu.assertFalse(a.readonly)
  fails("read-only", function() r[1][1] = 2 end)
  fails("read-only", function() r:set(1, 1, 2) end)
  fails("read-only", function() r[1] = 2 end)
  fails("read-only", function() r[{}] = a end)
  fails("read-only", function() r:add_(1) end)
  fails("read-only", function() array.add(a, a, { out = r }) end)
  fails("read-only", function() r[{ {}, 1 }][1] = 3 end)
  lu.assertEquals(r:copy():add_(1)[1][1], 2)
end

TestViews = {}

function TestViews:test_slices()
  local a = grid(4, 5)
  lu.assertEquals(a[{ { 2, 3 }, { 4, -1 } }]:totable(), { { 9, 10 }, { 14, 15 } })
  lu.assertEquals(a[{ { 1, -1, 2 } }]:totable(), { { 1, 2, 3, 4, 5 }, { 11, 12, 13, 14, 15 } })
  lu.assertEquals(a[{ 2 }]:totable(), { 6, 7, 8, 9, 10 })
  lu.assertEquals(a[{ {}, 3 }]:totable(), { 3, 8, 13, 18 })
  lu.assertEquals(a[{ -1, { -1, 1, -2 } }]:totable(), { 20, 18, 16 })
  lu.assertEquals(a[{ 2, 2 }], 7)
  lu.assertEquals(a[{}].shape, { 4, 5 })
  lu.assertEquals(a[{ { 2, 1 } }].shape, { 0, 5 })
  lu.assertEquals(a[{ { 5, 4 } }].shape, { 0, 5 })
  lu.assertEquals(a[{ { 1, 4, 3 } }].shape, { 2, 5 })
  local v = a[{ { 2, 3 }, { 2, 3 } }]
  v[1][1] = 70
  lu.assertEquals(a[2][2], 70)
  lu.assertEquals(v[{ {}, 1 }]:totable(), { 70, 12 })
  lu.assertEquals(a[1][{ { 2, 3 } }]:totable(), { 2, 3 })
end

function TestViews:test_slice_assignment()
  local a = array.zeros(3, 3)
  a[{ { 1, 2 }, { 2, 3 } }] = 5
  a[{ {}, 1 }] = array.range(3)
  a[{ 3, 3 }] = 9
  lu.assertEquals(a:totable(), { { 1, 5, 5 }, { 2, 5, 5 }, { 3, 0, 9 } })
  a[{ { 2, 3 } }] = a[{ { 1, 2 } }] -- overlapping
  lu.assertEquals(a:totable(), { { 1, 5, 5 }, { 1, 5, 5 }, { 2, 5, 5 } })
  a[{}] = 0
  lu.assertEquals(a:sum(), 0)
  fails("cannot be written", function() a[{ { 1, 2 } }] = array.zeros(2, 2) end)
  local whole = array.zeros(3, "int32")
  fails('convert them first (astype("int32"))', function() whole[{}] = array.zeros(3) end)
end

function TestViews:test_slice_errors()
  local a = grid(4, 5)
  fails("3 entries for an array of 2 dimensions", function() return a[{ 1, 1, 1 }] end)
  fails("slice: 6 is out of range for axis 1", function() return a[{ { 1, 6 } }] end)
  fails("slice: 0 is out of range for axis 1", function() return a[{ { 0, 2 } }] end)
  fails("got {2}", function() return a[{ { 2 } }] end)
  fails("a range is {first, last}", function() return a[{ { 1, "x" } }] end)
  fails("step must be an integer other than 0, got 0", function() return a[{ { 1, 2, 0 } }] end)
  fails("index 9 is out of range for axis 2", function() return a[{ 1, 9 }] end)
  fails('got the string "x"', function() return a[{ "x" }] end)
  fails("got the key rows", function() return a[{ rows = 1 }] end)
  fails("an index array holds integers or is a bool mask", function() return a[a] end)
end

function TestViews:test_transposed_copies_of_every_size()
  local sizes = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67 }
  for _, dtype in ipairs { "float64", "float32", "int16", "uint8", "complex128" } do
    for _, rows in ipairs(sizes) do
      for _, columns in ipairs(sizes) do
        local a = (array.range(rows * columns) % 251):astype(dtype):reshape(rows, columns)
        local around = array.full({ columns + 2, rows + 3 }, 99, dtype) -- also beside other elements, and not aligned
        around[{ { 2, -2 }, { 3, -2 } }] = a.T
        local inside = around[{ { 2, -2 }, { 3, -2 } }]
        local copy = a.T:copy()
        for i = 1, rows, math.max(1, math.floor(rows / 9)) do
          lu.assertTrue(copy[{ {}, i }] == a[i])
          lu.assertTrue(inside[{ {}, i }] == a[i])
        end
        lu.assertEquals(copy:eq(inside):all(), true)
        inside:fill(99)
        lu.assertEquals(around:eq(99):all(), true)
      end
    end
  end
end

function TestViews:test_reshape_transpose()
  local a = grid(2, 6)
  lu.assertEquals(a:reshape(3, 4)[3][1], 9)
  lu.assertEquals(a:reshape({ -1, 4 }).shape, { 3, 4 })
  lu.assertEquals(a:reshape(-1).shape, { 12 })
  local r = a:reshape(12)
  r[1] = 100
  lu.assertEquals(a[1][1], 100) -- a view
  lu.assertEquals(a.T.shape, { 6, 2 })
  lu.assertEquals(a.T[6][2], 12)
  lu.assertEquals(a.T:reshape(12)[2], 7) -- a copy, in the transpose's order
  local b = array.range(24):reshape(2, 3, 4)
  lu.assertEquals(b:transpose(2, 3, 1).shape, { 3, 4, 2 })
  lu.assertEquals(b:transpose(2, 3, 1):at(3, 4, 2), 24)
  lu.assertEquals(b.T.shape, { 4, 3, 2 })
  fails("12 elements cannot take the shape (5, 2)", function() return a:reshape(5, 2) end)
  fails("12 elements cannot take the shape (5, -1)", function() return a:reshape(5, -1) end)
  fails("only one length can be -1", function() return a:reshape(-1, -1) end)
  fails("axis 3 is out of range for an array of 2 dimensions", function() return a:transpose(1, 3) end)
  fails("axis 1 is given twice", function() return a:transpose(1, 1) end)
  lu.assertEquals(array.zeros(0, 3):reshape(3, 0).shape, { 3, 0 })
end

function TestViews:test_copy_astype()
  local a = grid(2, 3)
  local c = a.T:copy()
  lu.assertEquals(c.strides, { 2, 1 })
  c[1][1] = 50
  lu.assertEquals(a[1][1], 1)
  lu.assertEquals(a:astype("int32").dtype, "int32")
  lu.assertEquals(array.from({ 1.9, -1.9 }):astype("int32"):totable(), { 1, -1 })
  fails("outside the range of uint8", function() return array.from({ 256 }):astype("uint8") end)
  fails("a value is NaN", function() return array.from({ 0 / 0 }):astype("int32") end)
  fails("is not a dtype", function() return a:astype("float") end)
end

TestArithmetic = {}

function TestArithmetic:test_operators()
  local a = array.from { 1, 2, 3 }
  lu.assertEquals((a + a):totable(), { 2, 4, 6 })
  lu.assertEquals((a - 1):totable(), { 0, 1, 2 })
  lu.assertEquals((1 - a):totable(), { 0, -1, -2 })
  lu.assertEquals((a * 2):totable(), { 2, 4, 6 })
  lu.assertEquals((6 / a):totable(), { 6, 3, 2 })
  lu.assertEquals((a ^ 2):totable(), { 1, 4, 9 })
  lu.assertEquals((2 ^ a):totable(), { 2, 4, 8 })
  lu.assertEquals((a % 2):totable(), { 1, 0, 1 })
  lu.assertEquals((-a):totable(), { -1, -2, -3 })
  lu.assertEquals(array.sqrt(array.from { 4, 9 }):totable(), { 2, 3 })
  lu.assertTrue(array.allclose(array.cbrt(array.from { 27, -8 }), array.from { 3, -2 }, { rtol = 1e-15 }))
  lu.assertEquals(a:gt(1):totable(), { false, true, true })
  lu.assertEquals(array.minimum(a, 2):totable(), { 1, 2, 2 })
end

function TestArithmetic:test_weak_numbers()
  local function dtype(x) return x.dtype end
  local i, u, f, b = array.ones(2, "int32"), array.ones(2, "uint8"), array.ones(2, "float32"), array.ones(2, "bool")
  lu.assertEquals(dtype(f * 2.5), "float32")
  lu.assertEquals(dtype(f * 1e300), "float32")
  lu.assertEquals(dtype(i + 1), "int32")
  lu.assertEquals(dtype(i + 0.5), "float64")
  lu.assertEquals(dtype(u * 255), "uint8")
  lu.assertEquals(dtype(i / 2), "float64")
  lu.assertEquals(dtype(b + 1), "int64")
  lu.assertEquals(dtype(b + 0.5), "float64")
  lu.assertEquals(dtype(i + u), "int32")
  lu.assertEquals(dtype(i + f), "float64")
  lu.assertEquals(dtype(u + f), "float32")
  lu.assertEquals(dtype(b + b), "bool")
  lu.assertEquals(dtype(i:gt(0.5)), "bool")
  lu.assertEquals(u:lt(300):totable(), { true, true })
  lu.assertEquals(u:gt(-1):totable(), { true, true })
  fails("add: 300 is out of range for the array's dtype uint8", function() return u + 300 end)
  fails("subtract: 4294967296 is out of range for the array's dtype int32", function() return i - 2 ^ 32 end)
  fails("subtract is not defined for bool", function() return b - b end)
  fails("negative integer powers", function() return i ^ -1 end)
  lu.assertEquals((i ^ 0.5).dtype, "float64")
end

function TestArithmetic:test_broadcasting_and_out()
  local x = array.range(3):reshape(3, 1)
  local y = array.range(4):reshape(1, 4)
  local d = x - y
  lu.assertEquals(d.shape, { 3, 4 })
  lu.assertEquals(d[3][1], 2)
  local out = array.zeros(3, 4)
  lu.assertIs(array.add(x, y, { out = out }), out)
  lu.assertEquals(out[3][4], 7)
  lu.assertEquals(array.add(out[1], 1, { out = out[2] }):totable(), out[2]:totable())
  fails("arrays of shape (3, 4) and (3) cannot be combined", function() return d + array.zeros(3) end)
  fails("cannot be written into an array of shape (2)", function() array.add(x, y, { out = array.zeros(2) }) end)
  fails("unknown option 'into'", function() array.add(x, y, { into = out }) end)
  fails("add: out: an array is expected, got 3", function() array.add(x, y, { out = 3 }) end)
  fails("add: an array or a number is expected, got nil", function() return x + nil end)
  fails("a table (array.from makes an array of it)", function() return x + { 1 } end)
end

function TestArithmetic:test_in_place()
  local a = array.range(5)
  local same = a:add_(1):multiply_(2)
  lu.assertIs(same, a)
  lu.assertEquals(a:totable(), { 4, 6, 8, 10, 12 })
  a[{ { 2, 5 } }]:add_(a[{ { 1, 4 } }]) -- overlapping: reads the old values
  lu.assertEquals(a:totable(), { 4, 10, 14, 18, 22 })
  a:negative_():abs_():sqrt_()
  lu.assertEquals(a[1], 2)
  local i = array.range(3, "int32")
  fails("cannot be written into an array of dtype int32", function() i:add_(0.5) end)
  fails("cannot be written into an array of dtype int32", function() i:divide_(2) end)
  lu.assertEquals(i:fill(7):totable(), { 7, 7, 7 })
  local m = array.zeros(2, 2)
  m[1]:add_(3)
  lu.assertEquals(m:totable(), { { 3, 3 }, { 0, 0 } })
end

function TestArithmetic:test_equality()
  local a = array.range(3)
  lu.assertTrue(a == array.range(3))
  lu.assertTrue(a == array.range(3, "int32"))
  lu.assertFalse(a == array.range(4))
  lu.assertFalse(a == nil)
  lu.assertTrue(a ~= 5)
  lu.assertTrue(a:equal(a:copy()))
  fails("arrays have no order as a whole", function() return a < a end)
  lu.assertTrue(array.allclose(a, a + 1e-9))
  lu.assertFalse(array.allclose(a, a + 1e-9, { rtol = 0, atol = 1e-10 }))
  lu.assertTrue(array.allclose(array.ones(4), 1))
  fails("unknown option 'tol'; legal are: atol, equal_nan, rtol", function() array.allclose(a, a, { tol = 1 }) end)
end

TestReduce = {}

function TestReduce:test_all_and_axes()
  local a = grid(2, 3)
  lu.assertEquals(a:sum(), 21)
  lu.assertEquals(a:mean(), 3.5)
  lu.assertEquals(a:min(), 1)
  lu.assertEquals(array.max(a), 6)
  lu.assertEquals(a:sum(1):totable(), { 5, 7, 9 })
  lu.assertEquals(a:sum(-1):totable(), { 6, 15 })
  lu.assertEquals(a:max { axis = 2 }:totable(), { 3, 6 })
  lu.assertEquals(array.range(4):sum(1), 10)
  lu.assertEquals(a:astype("int32"):mean(1):totable(), { 2.5, 3.5, 4.5 })
  lu.assertEquals(a:astype("int32"):sum(1).dtype, "int64")
  lu.assertEquals(a:gt(2):sum(), 4)
  lu.assertTrue(a:gt(0):all())
  lu.assertTrue(a:gt(5):any())
  lu.assertFalse(a:gt(6):any())
  lu.assertTrue(array.zeros(0):all())
  fails("axis 3 is out of range for an array of 2 dimensions", function() return a:sum(3) end)
  fails("axis 0 is out of range", function() return a:sum(0) end)
  fails("unknown option 'dim'", function() return a:sum { dim = 1 } end)
  fails("min of no elements", function() return array.zeros(0):min() end)
  fails("sum: an array is expected, got a table", function() return array.sum { { 1, 2 } } end)
end

function TestReduce:test_matmul()
  local a = grid(2, 3)
  lu.assertEquals(a:matmul(a.T):totable(), { { 14, 32 }, { 32, 77 } })
  lu.assertEquals(array.dot(array.range(3), array.range(3)), 14)
  lu.assertEquals(a:dot(array.ones(3)):totable(), { 6, 15 })
  fails("3 columns meet 2 rows", function() return a:matmul(a) end)
end

TestMemory = {}

function TestMemory:test_parts_are_found_by_all_their_names()
  array._everything()
  local missing = {}
  for _, members in ipairs { array, array._methods, array._kit } do
    for name, f in pairs(members) do
      local part = type(f) == "function" and debug.getinfo(f, "S").source:match("^@perigee:(array_.*)$")
      local names = part and array._parts[part] -- none: loaded with the module
      if names and not (" " .. names .. " "):find(" " .. name .. " ", 1, true) then
        missing[#missing + 1] = part .. ": " .. name
      end
    end
  end
  lu.assertEquals(missing, {})
end

function TestMemory:test_temporaries_are_collected()
  local a = array.ones(1024, 1024) -- 8 MiB; 400 temporaries would be 3.2 GiB
  for _ = 1, 400 do
    a = a + 1
  end
  lu.assertEquals(a[1][1], 401)
  local status = io.open("/proc/self/status"):read("*a")
  lu.assertTrue(tonumber(status:match("VmHWM:%s*(%d+)")) < 1024 * 1024)
end

function TestMemory:test_crossing_to_cpp_and_back()
  local ffi = require "ffi"
  local a = grid(2, 3)
  local address = array._address(a)
  local copy = ffi.new("pg_array")
  lu.assertNil(array._address(5))
  lu.assertNil(array._address({}))
  -- A second owner of the same memory, as C++ would hand one over.
  ffi.C.memcpy(copy, ffi.cast("void *", address), ffi.sizeof("pg_array"))
  copy._block.references = copy._block.references + 1
  local b = array._adopt(tonumber(ffi.cast("uintptr_t", ffi.cast("pg_array *", copy))))
  copy._block = nil -- `b` has taken the reference over
  b[1][1] = 60
  lu.assertEquals(a[1][1], 60)
  local row_address, keep = array._address(a[2])
  lu.assertEquals(ffi.cast("pg_array *", row_address)._ndim, 1)
  lu.assertEquals(keep[1], 4)
end

require("ffi").cdef "void *memcpy(void *, const void *, size_t);"

os.exit(lu.LuaUnit.run(), true)
