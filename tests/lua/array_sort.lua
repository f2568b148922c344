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

os.exit(lu.LuaUnit.run())
