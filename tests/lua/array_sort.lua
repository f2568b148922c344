-- Sorting, against table.sort.
local lu = require "luaunit"
local array = require "perigee.array"

TestSorting = {}

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

function TestSorting.test_against_table_sort()
  for _, n in ipairs { 1, 2, 5, 16, 17, 100, 1000, 3001 } do
    for _, dtype in ipairs { "float64", "float32", "int64", "int32", "int16" } do
      local t = values(n, n + 3)
      local a = array.from(t, dtype)
      local order = a:argsort()
      local down = array.argsort(a, { descending = true })
      table.sort(t)
      lu.assertEquals(array.sort(a):totable(), t)
      lu.assertEquals(array.sort(a, { stable = true }):totable(), t)
      for i = 1, n do
        lu.assertEquals(a[order[i]], t[i])
        lu.assertEquals(a[down[i]], t[n + 1 - i])
        if i > 1 and t[i] == t[i - 1] then
          lu.assertTrue(order[i] > order[i - 1])
        end
      end
    end
  end
end

function TestSorting.test_axes_and_nan()
  local a = array.from { { 3, 1, 2 }, { 0, 5, 4 } }
  lu.assertEquals(array.sort(a):totable(), { { 1, 2, 3 }, { 0, 4, 5 } })
  lu.assertEquals(array.sort(a, 1):totable(), { { 0, 1, 2 }, { 3, 5, 4 } })
  lu.assertEquals(a:argsort { axis = 1 }:totable(), { { 2, 1, 1 }, { 1, 2, 2 } })
  local b = array.sort(array.from { 2, 0 / 0, 1, 3 })
  lu.assertEquals(b[{ { 1, 3 } }]:totable(), { 1, 2, 3 })
  lu.assertTrue(b[4] ~= b[4])
  lu.assertEquals(array.from { 2, 0 / 0, 1, 3 }:argsort():totable(), { 3, 1, 4, 2 })
  a:sort_ { descending = true }
  lu.assertEquals(a:totable(), { { 3, 2, 1 }, { 5, 4, 0 } })
  fails("unknown option", function() return array.sort(a, { order = 1 }) end)
  fails("axis 3", function() return array.sort(a, 3) end)
end

function TestSorting.test_ranks()
  local t = values(5000, 9)
  local a = array.from(t)
  table.sort(t)
  for _, k in ipairs { 1, 17, 2500, 5000, -1 } do
    local expected = t[k > 0 and k or 5001 + k]
    local p, at = a:partition(k), a:argpartition(k)
    lu.assertEquals(p[k], expected)
    lu.assertEquals(p:sum(), a:sum())
    lu.assertEquals(a[at[k]], expected)
    if k > 1 then
      lu.assertTrue(p[{ { 1, k } }]:max() == expected)
    end
  end
  local largest, where = a:topk(3)
  lu.assertEquals(largest:totable(), { t[5000], t[4999], t[4998] })
  lu.assertEquals(a[where]:totable(), largest:totable())
  lu.assertEquals((a:topk(2, { largest = false })):totable(), { t[1], t[2] })
  lu.assertEquals((a:topk(0)).shape, { 0 })
  lu.assertEquals(array.from { { 1, 5, 3 }, { 9, 8, 7 } }:topk(1, 1):totable(), { { 9, 8, 7 } })
  lu.assertEquals(array.from { 5, 3, 1, 4 }:partition({ 1, 3 }):totable(), { 1, 3, 4, 5 })
  a:partition_(10)
  lu.assertEquals(a[10], t[10])
  fails("kth is 9, but axis 1 has the length 3; legal are 1 to 3", function() return array.zeros(3):partition(9) end)
  fails("axis 1 is empty", function() return array.zeros(0):partition(1) end)
  fails("kth is an integer", function() return array.zeros(3):partition() end)
  fails("k is an integer from 0 to the length of axis 1, which is 3; got 4", function() return array.zeros(3):topk(4) end)
end

function TestSorting.test_infinities_and_zeros()
  for _, dtype in ipairs { "float64", "float32" } do
    local inf = math.huge
    local a = array.from({ inf, 1, -inf, 0 / 0, -0.0, 0, inf, 1e38 }, dtype)
    local s = array.sort(a)
    lu.assertEquals(s[{ { 2, 4 } }]:totable(), { 0, 0, 1 })
    lu.assertEquals({ s[1], s[6], s[7] }, { -inf, inf, inf })
    lu.assertEquals({ 1 / s[2], 1 / s[3] }, { -inf, inf })
    lu.assertTrue(s[8] ~= s[8])
    local down = array.sort(a, { descending = true })
    lu.assertEquals({ down[1], down[7] }, { inf, -inf })
    lu.assertTrue(down[8] ~= down[8])
  end
end

function TestSorting.test_options()
  local a = array.from { { 3, 1, 2 }, { 0, 5, 4 } }
  local out = array.zeros(2, 3)
  lu.assertTrue(a:sort { out = out } == out)
  lu.assertEquals(out:totable(), { { 1, 2, 3 }, { 0, 4, 5 } })
  lu.assertEquals(array.lexsort { array.from { 1, 2, 1 }, array.from { 2, 1, 1 } }:totable(), { 3, 2, 1 })
  fails("descending is true or false, got 1", function() return a:sort { descending = 1 } end)
  fails("an axis is an integer", function() return a:sort("down") end)
  fails("0 dimensions", function() return array.full({}, 3):sort() end)
  fails("read-only", function() return a:as_readonly():sort_() end)
  fails("key 1 has 2 dimensions", function() return array.lexsort { a } end)
  fails("unknown option 'out'", function() return a:sort_ { out = out } end)
end

-- A NaN with other bits set, negated, is no number in LuaJIT.
function TestSorting.test_nan_stays_the_ordinary_one()
  local nan = 0 / 0
  for _, dtype in ipairs { "float32", "float64" } do
    local a = array.from({ 2, nan, -1, nan }, dtype)
    for _, x in ipairs { array.sort(a), array.sort(a, { descending = true }), array.unique(a), array.partition(a, 2),
      array.topk(a, 4), array.sort(a, { stable = true }) } do
      for _, y in ipairs { x, -x } do
        lu.assertEquals(type(y[-1]), "number")
        lu.assertTrue(y[-1] ~= y[-1])
      end
    end
  end
end

os.exit(lu.LuaUnit.run(), true)
