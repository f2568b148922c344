-- Lifetimes under load: a million arrays and views made and dropped, releases, rows whose array is gone, and a loop of
-- 100 MB temporaries whose memory stays flat. Run under asan too (scripts/test --preset asan), where a use after free or
-- a leak would show.
local lu = require "luaunit"
local pg = require "perigee"
local array = pg.array

local total = tonumber(os.getenv("PERIGEE_STRESS") or 1000000)

-- Resident bytes of this process.
local function resident()
  local file = assert(io.open("/proc/self/statm"))
  local pages = tonumber((file:read("*l"):match("^%d+ (%d+)")))
  file:close()
  return pages * 4096
end

-- AddressSanitizer keeps freed memory in quarantine (256 MB), so that bounds are wider there.
local quarantine = require "support.sanitizer" == "asan" and 600e6 or 0

TestStress = {}

-- 64 arrays live at any time, each filled with its own number; whatever is made from them must hold that number.
function TestStress:test_a_million_arrays_and_views()
  local live, made, seed = {}, 0, 1
  local function random(n)
    seed = (seed * 16807) % 2147483647
    return seed % n + 1
  end
  local start
  while made < total do
    local slot, tag = random(64), random(100)
    local entry = live[slot]
    if not entry or random(8) == 1 then
      live[slot] = { array.full({ random(6), random(6) }, tag, tag % 2 == 0 and "int32" or "float64"), tag }
      made = made + 1
    else
      local a, expected = entry[1], entry[2]
      local what = random(9)
      local view
      if what == 1 then
        view = a.T
      elseif what == 2 then
        view = a[{ {}, { -1, 1, -1 } }]
      elseif what == 3 then
        view = a:reshape(a.size)
      elseif what == 4 then
        view = a[{ -1 }]
      elseif what == 5 then
        view = a + 0
      elseif what == 6 then
        view = a:copy()
        live[slot] = { view, expected } -- the old one goes, perhaps with views alive
      elseif what == 7 then
        view = a.T[{ { 1, 1 } }]
        live[slot] = { view, expected } -- a view keeps the memory of its array
      elseif what == 8 then
        view = a:copy()
        a:release()
        a:release()
        live[slot] = { view, expected }
      else
        view = array.from({ { expected, expected } })
        live[slot] = nil
      end
      if view:min() ~= expected or view:max() ~= expected then
        lu.fail(("array %d holds %s, not %d"):format(made, tostring(view), expected))
      end
      made = made + 1
    end
    if made % 100000 == 0 then
      collectgarbage()
      start = start or resident()
    end
  end
  collectgarbage()
  collectgarbage()
  -- 64 arrays of at most 36 elements are alive: what is resident must not grow with the number of arrays made.
  lu.assertTrue(resident() - start < 64e6 + quarantine, ("resident memory grew by %.0f MB"):format((resident() - start) / 1e6))
end

function TestStress:test_views_outlive_their_arrays()
  local views = {}
  for i = 1, 2000 do
    local a = array.full({ 50, 20 }, i)
    views[i] = i % 3 == 0 and a[{ { 2, 3 }, { -1, 1, -3 } }] or i % 3 == 1 and a.T[5] or a:reshape(1000)
    if i % 2 == 0 then
      a:release()
    end
    if i % 100 == 0 then
      collectgarbage()
    end
  end
  collectgarbage()
  for i = 1, 2000 do
    if i % 3 ~= 1 then
      lu.assertEquals(views[i]:min(), i)
      lu.assertEquals(views[i]:max(), i)
    end
  end
end

local function fails(text, f, ...)
  local fine, message = pcall(f, ...)
  lu.assertFalse(fine)
  lu.assertStrContains(tostring(message), text)
end

-- Views of views of an array that is released: each owns, in whatever order the others go.
function TestStress:test_views_of_views()
  for round = 1, 300 do
    local chain = { array.full({ 40, 40 }, round) }
    for depth = 2, 12 do
      local v = chain[depth - 1]
      chain[depth] = depth % 3 == 0 and v.T or depth % 3 == 1 and v[{ { 2, -1 }, { -1, 1, -1 } }] or v[{ { 1, -2 } }]
    end
    local order = round % 3
    for i = 1, 11 do
      local k = order == 0 and i or order == 1 and 12 - i or (i * 5) % 11 + 1
      chain[k]:release()
      chain[k]:release() -- twice is harmless
      fails("released", function() return chain[k] + 1 end)
      fails("released", function() return chain[k]:sum() end)
      fails("released", function() chain[k][{ {1, 2} }] = 0 end)
      fails("released", function() return chain[k]:base() end)
      chain[k] = false
      lu.assertEquals(chain[12]:min(), round)
    end
    if round % 50 == 0 then
      collectgarbage()
    end
    local other = array.full({ 40, 40 }, -1) -- takes the memory if it is free, which it must not be
    lu.assertEquals(chain[12]:max(), round)
    lu.assertEquals(other:max(), -1)
  end
end

-- Many arrays alive at once, dropped at once, again and again: memory comes back, by collection alone and by release.
function TestStress:test_many_alive_at_once()
  local count = math.min(100000, total)
  local first
  for round = 1, 6 do
    local live = {}
    for i = 1, count do
      live[i] = array.full({ 4 }, i)
    end
    for i = 1, count, 997 do
      lu.assertEquals(live[i][1], i)
    end
    if round % 2 == 0 then
      for i = 1, count do
        live[i]:release()
      end
    end
    live = nil
    collectgarbage()
    collectgarbage()
    if round == 2 then
      first = resident()
    end
  end
  lu.assertTrue(resident() - first < 64e6 + quarantine, ("resident memory grew by %.0f MB"):format((resident() - first) / 1e6))
end

-- A loop that makes views and no arrays takes no memory that would ask for a collection.
function TestStress:test_views_alone_leave_nothing_behind()
  local a, before = array.range(1000), nil
  local rows = a:reshape(10, 100)
  for i = 1, math.min(1000000, total) do
    local v = i % 2 == 0 and a[{ { 2, -1 } }] or rows.T
    if i == 100000 then
      before = resident()
    end
    if i % 100000 == 0 then
      lu.assertEquals(v:sum(), i % 2 == 0 and 500499 or 500500)
    end
  end
  lu.assertTrue(not before or resident() - before < 64e6 + quarantine)
end

-- What a collection finds dead is given back at its end, not at some later allocation: the next array takes it.
function TestStress:test_a_collection_gives_memory_back()
  local a = array.ones(3000000)
  local where = tostring(a._data)
  a = nil
  collectgarbage()
  collectgarbage()
  lu.assertTrue(quarantine > 0 or tostring(array.ones(3000000)._data) == where)
end

function TestStress:test_released_arrays_and_rows_of_them_give_errors()
  for i = 1, 3000 do
    local a = array.full({ 4, 4 }, i)
    local row, element_of = a[2], a[{ {}, 3 }]
    a:release()
    lu.assertFalse(pcall(function() return a[1][1] end))
    lu.assertFalse(pcall(function() return a + 1 end))
    lu.assertEquals(element_of[1], i) -- a slice owns
    local _, value = pcall(function() return row[1] end)
    lu.assertTrue(value == i or type(value) == "string") -- the slice may keep the memory that the row needs
    element_of:release()
    lu.assertFalse(pcall(function() return row[1] end))
    local other = array.full({ 4, 4 }, -1) -- takes the memory, perhaps
    lu.assertFalse(pcall(function() return row[1] end))
    lu.assertEquals(other:sum(), -16)
  end
end

function TestStress:test_memory_is_flat_in_a_loop_of_large_temporaries()
  local n = 12500000 -- 100 MB
  local a = array.ones(n)
  local before, highest = resident(), 0
  for i = 1, 24 do
    local t = a + i
    lu.assertEquals(t[n], i + 1)
    highest = math.max(highest, resident())
  end
  for i = 1, 8 do
    local t = (a * i + 1) * 2 -- two temporaries an expression
    lu.assertEquals(t[1], 2 * i + 2)
    highest = math.max(highest, resident())
  end
  -- 32 results of 100 MB and more: alive at a time are two or three, and what the allocator may keep for reuse.
  lu.assertTrue(highest - before < 650e6 + quarantine, ("resident memory grew by %.0f MB"):format((highest - before) / 1e6))
end

function TestStress:test_collections_of_arrays()
  local r = pg.collections.records({ { "x", "float64" }, { "id", "int32" } })
  local views = {}
  for i = 1, 20000 do
    r:append(i, i)
    if i % 500 == 0 then
      views[#views + 1] = { r.x, i }
    end
  end
  collectgarbage()
  for _, entry in ipairs(views) do
    local view, size = entry[1], entry[2]
    lu.assertEquals(view.size, size)
    lu.assertEquals(view[size], size)
    lu.assertEquals(view:sum(), size * (size + 1) / 2)
  end
end

os.exit(lu.LuaUnit.run(), true)
