-- pg.collections: each structure against a model made of plain Lua tables, on random sequences of steps with fixed seeds;
-- then arguments, errors and what the README promises.
local lu = require "luaunit"
local pg = require "perigee"
local collections, array, random = pg.collections, pg.array, pg.random

local this_file = debug.getinfo(1, "S").short_src

local function fails(text, fn, ...)
  local ok, message = pcall(fn, ...)
  lu.assertFalse(ok, "no error; expected: " .. text)
  lu.assertStrContains(message, text)
  lu.assertStrContains(message, this_file .. ":")
end

local function drained(iterator, state)
  local list = {}
  for x in iterator, state do
    list[#list + 1] = x
  end
  return list
end

-- ------------------------------------------------------------------------------------------------------------ set ----
TestSet = {}

-- A list in the order of arrival.
local function list_find(list, x)
  for i = 1, #list do
    if list[i] == x then
      return i
    end
  end
end

function TestSet:test_against_a_list()
  for seed = 1, 30 do
    local rng = random.generator(seed)
    local s, model = collections.set(), {}
    local range = seed % 3 == 0 and 300 or 12
    for _ = 1, 600 do
      local x = rng:integers(1, range)
      if seed % 2 == 0 and x % 3 == 0 then
        x = "s" .. x
      end
      local step = rng:integers(1, 10)
      if step <= 5 then
        lu.assertEquals(s:add(x), not list_find(model, x))
        if not list_find(model, x) then
          model[#model + 1] = x
        end
      elseif step <= 8 then
        local i = list_find(model, x)
        lu.assertEquals(s:remove(x), i ~= nil)
        if i then
          table.remove(model, i)
        end
      elseif step == 9 and #model > 0 then
        lu.assertEquals(s:pop(), table.remove(model, 1))
      end
      lu.assertEquals(s:size(), #model)
      lu.assertEquals(s:contains(x), list_find(model, x) ~= nil)
    end
    lu.assertEquals(s:totable(), model)
    lu.assertEquals(drained(s:values()), model)
  end
end

function TestSet:test_algebra_against_lists()
  for seed = 1, 60 do
    local rng = random.generator(seed)
    local lists, sets = { {}, {} }, {}
    for k = 1, 2 do
      for i = 1, rng:integers(0, 12) do
        lists[k][i] = rng:integers(1, 10)
      end
      sets[k] = collections.set(lists[k])
    end
    local a, b = sets[1], sets[2]
    local union, both, only_a, one = {}, {}, {}, {}
    for x = 1, 10 do
      local p, q = list_find(lists[1], x), list_find(lists[2], x)
      if p or q then union[#union + 1] = x end
      if p and q then both[#both + 1] = x end
      if p and not q then only_a[#only_a + 1] = x end
      if (p ~= nil) ~= (q ~= nil) then one[#one + 1] = x end
    end
    lu.assertTrue(a + b == collections.set(union))
    lu.assertTrue(a * b == collections.set(both))
    lu.assertTrue(a - b == collections.set(only_a))
    lu.assertTrue(a ^ b == collections.set(one))
    lu.assertTrue(a:union(lists[2]) == a + b)
    lu.assertTrue(a:intersection(lists[2]) == a * b)
    lu.assertTrue(a:difference(array.from(lists[2])) == a - b)
    lu.assertTrue(a:symmetric_difference(lists[2]) == a ^ b)
    lu.assertEquals(a <= b, #only_a == 0)
    lu.assertEquals(a:is_subset(lists[2]), #only_a == 0)
    lu.assertEquals(b:is_superset(a), #only_a == 0)
    lu.assertEquals(a < b, #only_a == 0 and #one > 0)
    lu.assertEquals(a == b, #one == 0)
    lu.assertEquals(a:is_disjoint(lists[2]), #both == 0)
    lu.assertTrue(a:copy():update(b) == a + b)
  end
end

function TestSet:test_kinds_of_elements_and_sources()
  local s = collections.set { 1, "1", true, false, 2.5, -0.0, 0 }
  lu.assertEquals(s:size(), 6)
  lu.assertTrue(s:contains(false) and s:contains("1") and not s:contains(nil) and not s:contains(0 / 0))
  lu.assertEquals(collections.set(array.from { { 1, 2 }, { 2, 1 } }):totable(), { 1, 2 })
  lu.assertEquals(collections.set(("a b a"):gmatch("%a")):totable(), { "a", "b" })
  lu.assertEquals(tostring(collections.set { 1, "x", true }), 'set {1, "x", true}')
  lu.assertEquals(tostring(collections.set()), "set {}")
  lu.assertStrContains(tostring(collections.set(array.range(150))), ", 100, ... 50 more}")
  lu.assertEquals(s:clear():size(), 0)
end

function TestSet:test_walking_while_removing()
  local s = collections.set(array.range(100))
  local seen = 0
  for x in s:values() do
    seen = seen + 1
    s:remove(x)
  end
  lu.assertEquals(seen, 100)
  lu.assertEquals(s:size(), 0)
  local t = collections.set { 1, 2 }
  fails("walk through s:totable()", function()
    for _ in t:values() do
      t:clear()
    end
  end)
end

function TestSet:test_errors()
  local s = collections.set()
  fails("an element of a set is a number, a string or a boolean, got a table", s.add, s, {})
  fails("nan equals nothing", s.add, s, 0 / 0)
  fails("got nil", s.add, s, nil)
  fails("got an array", s.add, s, array.zeros(2))
  fails("pop: the set is empty", s.pop, s)
  fails("add: a set is expected before the colon, as in x:add(...); got 3", s.add, 3)
  fails("set: a list, an array or a collection is expected, got 5", collections.set, 5)
  fails("set +: two sets are expected, got a set and 3", function() return s + 3 end)
  fails("sets have no method or field 'puhs'; they have add, clear, contains", function() return s.puhs end)
  fails("sets have no method or field 'discard'; look at remove", function() return s:discard(1) end)
  fails("walk through it with for x in c:values() do", function() for _ in s do end end)
  fails("set: a list is expected, this table has keys (such as \"a\") but no element 1", collections.set, { a = 1 })
  fails("cannot be assigned", function() s.x = 1 end)
end

TestCounter = {}

function TestCounter:test_against_a_table()
  for seed = 1, 10 do
    local rng = random.generator(seed)
    local items, counts, first = {}, {}, {}
    for i = 1, 200 do
      local x = rng:integers(1, 15)
      items[i] = x
      counts[x] = (counts[x] or 0) + 1
      first[x] = first[x] or i
    end
    local c = collections.counter(items)
    lu.assertEquals(c:totable(), counts)
    lu.assertEquals(c:total(), 200)
    local all = c:most_common()
    lu.assertEquals(#all, c:size())
    for i = 2, #all do
      local a, b = all[i - 1], all[i]
      lu.assertTrue(a[2] > b[2] or a[2] == b[2] and first[a[1]] < first[b[1]])
    end
    lu.assertEquals(#c:most_common(3), 3)
    lu.assertEquals(c:most_common(3)[2], all[2])
  end
end

function TestCounter:test_words()
  local c = collections.counter(("the cat and the dog and the bird"):gmatch("%a+"))
  lu.assertEquals(c:most_common(2), { { "the", 3 }, { "and", 2 } })
  lu.assertEquals(c:count("cat"), 1)
  lu.assertEquals(c:count("cow"), 0)
  lu.assertEquals(c:add("cow", 5), 5)
  lu.assertEquals(c:add("cow", -2), 3)
  lu.assertEquals(c:remove("the"), 3)
  lu.assertEquals(c:remove("the"), 0)
  lu.assertEquals(c:keys():totable(), { "cat", "and", "dog", "bird", "cow" })
  lu.assertEquals(tostring(c), 'counter {"cow": 3, "and": 2, "cat": 1, "dog": 1, "bird": 1}')
  local d = c:copy():update { "cat", "cat" }
  lu.assertEquals(d:count("cat"), 3)
  lu.assertEquals(c:count("cat"), 1)
  for x, n in d:values() do
    lu.assertEquals(d:count(x), n)
  end
  fails("the count must be a number", c.add, c, "x", "y")
  fails("nan", c.add, c, 0 / 0)
end

-- ---------------------------------------------------------------------------------------------------------- deque ----
TestDeque = {}

function TestDeque:test_against_a_list()
  for seed = 1, 40 do
    local rng = random.generator(seed)
    local maxlen = seed % 4 == 0 and rng:integers(0, 9) or nil
    local d, model = collections.deque(nil, { maxlen = maxlen }), {}
    for i = 1, 400 do
      local step = rng:integers(1, seed % 2 == 0 and 9 or 7)
      if step <= 2 then
        local dropped
        if maxlen == 0 then
          dropped = i
        else
          dropped = #model == maxlen and table.remove(model, 1) or nil
          model[#model + 1] = i
        end
        lu.assertEquals(d:push_back(i), dropped)
      elseif step <= 4 then
        local dropped
        if maxlen == 0 then
          dropped = i
        else
          dropped = #model == maxlen and table.remove(model) or nil
          table.insert(model, 1, i)
        end
        lu.assertEquals(d:push_front(i), dropped)
      elseif step == 5 then
        local n = rng:integers(-12, 12)
        d:rotate(n)
        for _ = 1, #model > 0 and n % #model or 0 do
          table.insert(model, 1, table.remove(model))
        end
      elseif step == 6 and #model > 0 then
        local k = rng:integers(1, #model)
        lu.assertEquals(d[k], model[k])
        lu.assertEquals(d[-k], model[#model + 1 - k])
        d[k], model[k] = -i, -i
      elseif step == 7 then
        lu.assertEquals(d:front(), model[1])
        lu.assertEquals(d:back(), model[#model])
      elseif step == 8 and #model > 0 then
        lu.assertEquals(d:pop_back(), table.remove(model))
      elseif step == 9 and #model > 0 then
        lu.assertEquals(d:pop_front(), table.remove(model, 1))
      end
      lu.assertEquals(d:size(), #model)
    end
    lu.assertEquals(d:totable(), model)
    lu.assertEquals(drained(d:values()), model)
    lu.assertEquals(d:copy():totable(), model)
    lu.assertEquals(d:maxlen(), maxlen)
  end
end

function TestDeque:test_errors_and_text()
  local d = collections.deque { 1, "a", false }
  lu.assertEquals(tostring(d), 'deque {1, "a", false}')
  lu.assertEquals(d:extend { 5 }:extend_front({ 7, 8 }):totable(), { 8, 7, 1, "a", false, 5 })
  fails("index 7 is out of range for a deque of 6 values", function() return d[7] end)
  fails("index 0 is out of range", function() return d[0] end)
  fails("index 1.5 is not an integer", function() return d[1.5] end)
  fails("nil cannot be in a deque", d.push_back, d, nil)
  fails("nil cannot be in a deque", function() d[1] = nil end)
  fails("rotate: the number of places must be an integer, got 1.5", d.rotate, d, 1.5)
  fails("deques have no method or field 'push'; look at push_back", function() return d.push end)
  fails("this table has keys (such as \"maxlen\")", collections.deque, { maxlen = 3 })
  d:clear()
  fails("pop_back: the deque is empty", d.pop_back, d)
  fails("pop_front: the deque is empty", d.pop_front, d)
  lu.assertNil(d:front())
  fails("maxlen must be an integer, 0 or more, got -1", collections.deque, {}, { maxlen = -1 })
  fails("unknown option 'max'; legal are: maxlen", collections.deque, {}, { max = 3 })
  fails("options are a table such as {maxlen = 100}, got 3", collections.deque, {}, 3)
end

-- ----------------------------------------------------------------------------------------------------------- heap ----
TestHeap = {}

-- A heap of each kind, with the value pushed for a number and the key by which a list is sorted.
local heap_kinds = {
  { nil, function(x) return x end, false },
  { { max = true }, function(x) return x end, true },
  { { key = function(v) return v.key end }, function(x, i) return { key = x, id = i } end, false },
  { { key = function(v) return v.key end, max = true }, function(x, i) return { key = x, id = i } end, true },
  { { less = function(a, b) return a.key < b.key end }, function(x, i) return { key = x, id = i } end, false },
  { { priority = true }, function(x, i) return { key = x, id = i } end, false },
  { { priority = true, max = true }, function(x, i) return { key = x, id = i } end, true },
}

function TestHeap:test_against_a_sorted_list()
  for k, kind in ipairs(heap_kinds) do
    local options, make, descending = kind[1], kind[2], kind[3]
    for seed = 1, 12 do
      local rng = random.generator(100 * k + seed)
      local h, model = collections.heap(nil, options), {} -- model: {key, value, tick}
      local tick = 0
      local function insert(x, value)
        tick = tick + 1
        model[#model + 1] = { x, value, tick }
      end
      local function first() -- the index in the model of what must leave first
        local best = 1
        for i = 2, #model do
          local a, b = model[i], model[best]
          local before = a[1] < b[1]
          if descending then
            before = a[1] > b[1]
          end
          if before or a[1] == b[1] and a[3] < b[3] then
            best = i
          end
        end
        return best
      end
      for i = 1, 250 do
        local step, x = rng:integers(1, 10), rng:integers(1, seed % 2 == 0 and 8 or 1000)
        local value = make(x, i)
        local priority = options and options.priority and x or nil
        if step <= 5 then
          h:push(value, priority)
          insert(x, value)
        elseif step <= 8 and #model > 0 then
          local at = first()
          lu.assertIs((h:peek()), model[at][2])
          local popped, key = h:pop()
          lu.assertIs(popped, model[at][2])
          lu.assertEquals(key, options and options.less and popped or model[at][1])
          table.remove(model, at)
        elseif step == 9 and #model > 0 then
          local old = table.remove(model, first())
          lu.assertIs((h:replace(value, priority)), old[2])
          insert(x, value)
        elseif step == 10 then
          insert(x, value)
          local old = table.remove(model, first())
          lu.assertIs((h:pushpop(value, priority)), old[2])
        end
        lu.assertEquals(h:size(), #model)
      end
      for value in h:drain() do
        lu.assertIs(value, table.remove(model, first())[2])
      end
      lu.assertEquals(#model, 0)
    end
  end
end

function TestHeap:test_heapify()
  local rng = random.generator(7)
  for n = 0, 40 do
    local list = {}
    for i = 1, n do
      list[i] = rng:integers(1, 20)
    end
    local sorted = { unpack(list) }
    table.sort(sorted)
    lu.assertEquals(drained(collections.heap(list):drain()), sorted)
    if n > 0 then
      lu.assertEquals(drained(collections.heap(array.from(list)):drain()), sorted)
    end
    local pairs_of = {}
    for i = 1, n do
      pairs_of[i] = { i, list[i] }
    end
    local last, last_id = 0, 0
    for value, key in collections.heap(pairs_of, { priority = true }):drain() do
      lu.assertTrue(key > last or key == last and value > last_id)
      last, last_id = key, value
    end
  end
  lu.assertEquals(drained(collections.heap({ "pear", "apple", "fig" }, { max = true }):drain()), { "pear", "fig", "apple" })
end

function TestHeap:test_nsmallest_and_nlargest()
  for seed = 1, 40 do
    local rng = random.generator(seed)
    local items = {}
    for i = 1, rng:integers(0, 60) do
      items[i] = { key = rng:integers(1, 10), id = i }
    end
    local n = rng:integers(0, 20)
    local up, down = { unpack(items) }, { unpack(items) }
    table.sort(up, function(a, b) return a.key < b.key or a.key == b.key and a.id < b.id end)
    table.sort(down, function(a, b) return a.key > b.key or a.key == b.key and a.id < b.id end)
    local by_key = { key = function(v) return v.key end }
    local small, large = collections.nsmallest(n, items, by_key), collections.nlargest(n, items, by_key)
    lu.assertEquals(#small, math.min(n, #items))
    for i = 1, #small do
      lu.assertIs(small[i], up[i])
      lu.assertIs(large[i], down[i])
    end
  end
  lu.assertEquals(collections.nlargest(2, array.from { 3, 1, 2 }), { 3, 2 })
  fails("item 2 is nan", collections.nsmallest, 1, { 1, 0 / 0 })
  fails("item 2 is the string \"x\"; numbers or strings can be ordered, and all must be of one kind",
    collections.nsmallest, 1, { 1, "x" })
  fails("how many must be an integer, 0 or more, got -1", collections.nlargest, -1, {})
end

function TestHeap:test_errors()
  local h = collections.heap()
  fails("pop: the heap is empty", h.pop, h)
  fails("replace: the heap is empty", h.replace, h, 1)
  lu.assertNil((h:peek()))
  fails("nan has no place in an order", h.push, h, 0 / 0)
  fails("a heap of numbers or strings is ordered by its values, got a table; say {key = function}", h.push, h, {})
  h:push(1)
  fails('a heap of numbers is ordered by its values, got the string "a"', h.push, h, "a")
  fails("takes no priorities", h.push, h, 1, 2)
  fails("give value and priority", function() collections.heap(nil, { priority = true }):push("a") end)
  fails("item 1 must be {value, priority}, got 3", collections.heap, { 3 }, { priority = true })
  fails("a key of this heap is a number or a string as those before it, got nil", collections.heap, { {} },
    { key = function(v) return v.x end })
  fails("give only one of key, less and priority", collections.heap, {}, { key = print, less = print })
  fails("with less there is no max", collections.heap, {}, { less = print, max = true })
  fails("less must be a function, got 1", collections.heap, {}, { less = 1 })
end

function TestHeap:test_an_error_in_less_loses_nothing()
  local armed = false
  local h = collections.heap(nil, { less = function(a, b)
    if armed and a ~= b then
      error("no")
    end
    return a < b
  end })
  for i = 20, 1, -1 do
    h:push(i)
  end
  armed = true
  lu.assertFalse(pcall(h.push, h, 0.5))
  armed = false
  local left = h:totable()
  table.sort(left)
  lu.assertEquals(#left, 21)
  lu.assertEquals(left[1], 0.5)
end

-- -------------------------------------------------------------------------------------------------------- records ----
TestRecords = {}

local fields = { { "x", "float64" }, { "ok", "bool" }, { "id", "int32" }, { "tag", "uint8" }, { "w", "float32" },
  { "big", "int64" } }

local function make(rng, i)
  return { x = rng:uniform(), ok = rng:integers(0, 1) == 1, id = rng:integers(-5, 5), tag = rng:integers(0, 255), w = i / 2,
    big = rng:integers(-2 ^ 53, 2 ^ 53) }
end

function TestRecords:test_against_a_list()
  for seed = 1, 16 do
    local rng = random.generator(seed)
    local layout = seed % 2 == 0 and "aos" or "soa"
    local r, model = collections.records(fields, { layout = layout }), {}
    for i = 1, 150 do
      local step, value = rng:integers(1, 8), make(rng, i)
      if step <= 4 then
        if step == 1 then
          r:append(value)
        else
          r:append(value.x, value.ok, value.id, value.tag, value.w, value.big)
        end
        model[#model + 1] = value
      elseif step == 5 and #model > 0 then
        local k = rng:integers(1, #model)
        r[k] = value
        model[k] = value
      elseif step == 6 and #model > 0 then
        local k = rng:integers(1, #model)
        local p = r[k - #model - 1]
        p.x, p.id = value.x, p.id + 1
        model[k].x, model[k].id = value.x, model[k].id + 1
        lu.assertEquals(p.big, model[k].big)
      elseif step == 7 and rng:integers(1, 10) == 1 then
        local key = ({ "x", "id", "ok", "tag" })[rng:integers(1, 4)]
        local descending = rng:integers(0, 1) == 1
        r:sort_by(key, { descending = descending })
        for i = 2, #model do -- insertion sort: stable
          local v, j = model[i], i
          local function number(m)
            local n = m[key]
            if type(n) == "boolean" then
              n = n and 1 or 0
            end
            return descending and -n or n
          end
          while j > 1 and number(model[j - 1]) > number(v) do
            model[j] = model[j - 1]
            j = j - 1
          end
          model[j] = v
        end
      elseif step == 8 and rng:integers(1, 10) == 1 then
        layout = layout == "aos" and "soa" or "aos"
        r = r:to(layout)
      end
      lu.assertEquals(r:size(), #model)
      lu.assertEquals(r:layout(), layout)
    end
    lu.assertEquals(r:totable(), model)
    local copy = r:copy()
    for _, field in ipairs(fields) do
      local name = field[1]
      lu.assertEquals(r[name].dtype, field[2])
      lu.assertEquals(r[name].size, #model)
      for i = 1, #model do
        lu.assertEquals(r[name][i], model[i][name])
        lu.assertEquals(copy[i][name], model[i][name])
      end
    end
  end
end

function TestRecords:test_layout_in_memory()
  local r = collections.records(fields, { length = 3 })
  lu.assertEquals(r:record_size(), 32) -- 8 + 1 (+ 3) + 4 + 1 (+ 3) + 4 + 8
  lu.assertEquals(r.x.strides, { 4 })
  lu.assertEquals(r.id.strides, { 8 })
  lu.assertEquals(r.tag.strides, { 32 })
  lu.assertEquals(r:to("soa").id.strides, { 1 })
  lu.assertEquals(r:fields(), fields)
  r.x = array.from { 1, 2, 3 }
  r.id:fill(7)
  r.w = 0.5
  r.ok = true
  lu.assertEquals(r[2].x + r[2].id + r[2].w, 9.5)
  lu.assertTrue(r[3].ok)
  local view = r.x
  view[1] = 10
  lu.assertEquals(r[1].x, 10)
  r:sort_by("x")
  lu.assertEquals(view:totable(), { 2, 3, 10 }) -- sorted where it is
  lu.assertEquals(tostring(r[1]), "{x = 2, ok = true, id = 7, tag = 0, w = 0.5, big = 0}")
  lu.assertStrContains(tostring(r), "3 records of (x float64, ok bool, id int32, tag uint8, w float32, big int64), aos\n  [1]")
end

function TestRecords:test_records_outlive_their_array_and_growth()
  local p
  do
    local r = collections.records({ { "x", "float64" } }, { length = 1 })
    p = r[1]
    p.x = 42
    for i = 1, 100 do
      r:append(i)
    end
  end
  collectgarbage()
  collectgarbage()
  lu.assertEquals(p.x, 42)
  local r = collections.records({ { "x", "float64" } }, { length = 2 })
  p = r[2]
  r:resize(1)
  fails("record 2 is gone: there are 1 records now", function() return p.x end)
  r:resize(3)
  lu.assertEquals(p.x, 0)
  r:reserve(50)
  lu.assertEquals(r:capacity(), 50)
  lu.assertEquals(r:clear():size(), 0)
  local view
  do
    local big = collections.records({ { "x", "float64" } }, { length = 1000 })
    big.x = 3
    view = big.x
  end
  collectgarbage()
  collectgarbage()
  lu.assertEquals(view:sum(), 3000)
end

function TestRecords:test_sort_by_function_and_nan()
  local r = collections.records { { "x", "float64" }, { "id", "int32" } }
  for i, x in ipairs { 3, 0 / 0, 1, 2, 0 / 0, 1 } do
    r:append(x, i)
  end
  lu.assertEquals(r:copy():sort_by("x").id:totable(), { 3, 6, 4, 1, 2, 5 })
  lu.assertEquals(r:copy():sort_by("x", { descending = true }).id:totable(), { 2, 5, 1, 4, 3, 6 })
  lu.assertEquals(r:copy():sort_by(function(p) return -p.id end).id:totable(), { 6, 5, 4, 3, 2, 1 })
  local names = {}
  for p in r:values() do
    names[p.id] = p.id
  end
  lu.assertEquals(#names, 6)
end

function TestRecords:test_errors()
  fails('fields are given as { {"x", "float64"}, {"id", "int32"} }, got nil', collections.records)
  fails("field 1 must be {name, dtype}", collections.records, { "x" })
  fails("'float16'", function() collections.records { { "x", "'float16'" } } end)
  fails("there are two fields called 'x'", collections.records, { { "x", "int32" }, { "x", "int32" } })
  fails("field 1 cannot be called 'append', which is a method", collections.records, { { "append", "int32" } })
  fails("the name of field 1 must be a Lua name, got the string \"2x\"", collections.records, { { "2x", "int32" } })
  fails('the layout must be "aos" or "soa", got the string "sao"', collections.records, fields, { layout = "sao" })
  fails("length must be an integer, 0 or more, got -1", collections.records, fields, { length = -1 })
  local r = collections.records({ { "x", "float64" }, { "id", "int32" } }, { length = 2 })
  fails("index 3 is out of range for 2 records", function() return r[3] end)
  fails("index 0 is out of range for 2 records", function() return r[0] end)
  fails("an index of records is an integer, got 1.5", function() return r[1.5] end)
  fails("a record has no field 'y'; its fields are: x, id", function() return r[1].y end)
  fails("a record has no field 'y'; its fields are: x, id", function() r[1].y = 1 end)
  fails("a record has no field 'y'", function() r[1] = { x = 1, id = 2, y = 3 } end)
  fails("the record lacks the field 'id'", function() r[1] = { x = 1 } end)
  fails("0.5 is not an integer", function() r[1].id = 0.5 end)
  fails("out of range for int32", function() r[1].id = 2 ^ 40 end)
  fails("append: a record has 2 fields, got 1 values", r.append, r, 1)
  fails("records have no field or method 'apend'; the fields are: x, id", function() return r.apend end)
  fails("a record's table has names: {x = ...}; r:append(...) takes values in order", r.append, r, { 1, 2 })
  r.x:release() -- only this view
  lu.assertEquals(r.x:totable(), { 0, 0 })
  fails("sort_by: a field's name or a function is expected, got nil", r.sort_by, r)
  fails("a record has no field 'z'", r.sort_by, r, "z")
end

-- -------------------------------------------------------------------------------------------------------- memoize ----
TestMemoize = {}

-- The same policies, as slow and plain as can be: a list of {key, used (step), uses, made (time)}.
local function model_of(policy, size, ttl)
  local list, now_step = {}, 0
  local model = { hits = 0, misses = 0, evictions = 0, expirations = 0, size = 0 }
  function model.call(key, now)
    now_step = now_step + 1
    if ttl then
      for i = #list, 1, -1 do
        if list[i].key == key and list[i].made + ttl <= now then
          table.remove(list, i)
          model.expirations = model.expirations + 1
        end
      end
    end
    for _, entry in ipairs(list) do
      if entry.key == key then
        model.hits = model.hits + 1
        entry.used, entry.uses = now_step, entry.uses + 1
        return true
      end
    end
    model.misses = model.misses + 1
    if ttl then -- what expired goes before anything is evicted
      for i = #list, 1, -1 do
        if list[i].made + ttl <= now then
          table.remove(list, i)
          model.expirations = model.expirations + 1
        end
      end
    end
    if #list == size then
      local worst = 1
      for i = 2, #list do
        local a, b = list[i], list[worst]
        if policy == "lru" and a.used < b.used or
          policy == "lfu" and (a.uses < b.uses or a.uses == b.uses and a.used < b.used) then
          worst = i
        end
      end
      table.remove(list, worst)
      model.evictions = model.evictions + 1
    end
    list[#list + 1] = { key = key, used = now_step, uses = 1, made = now }
    model.size = #list
    return false
  end
  return model
end

function TestMemoize:test_policies_against_a_model()
  for _, policy in ipairs { "lru", "lfu" } do
    for seed = 1, 24 do
      local rng = random.generator(seed)
      local size = rng:integers(1, 12)
      local ttl = seed % 3 == 0 and 40 or nil
      local arity = seed % 4
      local now, calls = 0, 0
      local f, cache = collections.memoize(function(a, b, c)
        calls = calls + 1
        return (a or 0) * 100 + (b or 0) * 10 + (c or 0)
      end, { size = size, policy = policy, ttl = ttl, clock = function() return now end })
      local model = model_of(policy, size, ttl)
      for _ = 1, 500 do
        now = now + rng:integers(0, 3)
        local a, b, c = rng:integers(1, 5), rng:integers(1, 3), rng:integers(1, 2)
        local before, value, expected = calls, nil, nil
        if arity == 0 then
          a = a * b * c
          value, expected = f(a), a * 100
        elseif arity == 1 then
          value, expected = f(a), a * 100
        elseif arity == 2 then
          value, expected = f(a, b), a * 100 + b * 10
        else
          value, expected = f(a, b, c), a * 100 + b * 10 + c
        end
        local known = model.call(expected, now)
        lu.assertEquals(value, expected)
        lu.assertEquals(calls == before, known)
      end
      local stats = cache:stats()
      for _, name in ipairs { "hits", "misses", "evictions" } do
        lu.assertEquals(stats[name], model[name], policy .. " " .. name)
      end
      lu.assertTrue(stats.size <= size)
      lu.assertEquals(stats.max_size, size)
      if not ttl then
        lu.assertEquals(stats.size, model.size)
      end
    end
  end
end

function TestMemoize:test_random_policy()
  local f, cache = collections.memoize(function(x) return -x end, { size = 10, policy = "random", seed = 3 })
  local rng = random.generator(5)
  for _ = 1, 2000 do
    local x = rng:integers(1, 20)
    lu.assertEquals(f(x), -x)
  end
  local stats = cache:stats()
  lu.assertEquals(stats.size, 10)
  lu.assertEquals(stats.hits + stats.misses, 2000)
  lu.assertEquals(stats.misses, stats.evictions + 10)
  lu.assertTrue(stats.hits > 800 and stats.hits < 1200) -- half are kept
  lu.assertTrue(cache:forget(f(-1) and -1) == true)
end

function TestMemoize:test_arguments_and_results()
  local calls = 0
  local f, cache = collections.memoize(function(...)
    calls = calls + 1
    return select("#", ...), ...
  end)
  local function count(...) return select("#", ...), ... end
  local nan = 0 / 0
  local table_argument = {}
  local cases = { { n = 0 }, { n = 1 }, { n = 1, 1 }, { n = 1, "1" }, { n = 1, true }, { n = 1, false }, { n = 2, 1 },
    { n = 2, nil, 1 }, { n = 3, 1, nil, nil }, { n = 3, 1, 2, 3 }, { n = 1, table_argument },
    { n = 6, 1, 2, 3, 4, 5, 6 } }
  for round = 1, 2 do
    for i, case in ipairs(cases) do
      local n, m = count(f(unpack(case, 1, case.n)))
      lu.assertEquals(n, case.n + 1)
      lu.assertEquals(m, case.n)
      lu.assertEquals({ select(2, f(unpack(case, 1, case.n))) }, { unpack(case, 1, case.n) })
      lu.assertEquals(calls, round == 1 and i or #cases)
    end
  end
  f(nan)
  f(0 / 0)
  lu.assertEquals(calls, #cases + 1)
  lu.assertEquals(cache:size(), #cases + 1)
  lu.assertTrue(cache:forget(1, 2, 3))
  lu.assertFalse(cache:forget(1, 2, 3))
  lu.assertTrue(cache:forget())
  lu.assertTrue(cache:forget(nil))
  f(1, 2, 3)
  lu.assertEquals(calls, #cases + 2)
  cache:clear()
  lu.assertEquals(cache:stats(), { hits = 0, misses = 0, evictions = 0, expirations = 0, size = 0 })
  local nothing, times = nil, 0
  nothing = collections.memoize(function() times = times + 1 end)
  lu.assertEquals(select("#", nothing(1)), 0)
  lu.assertEquals(select("#", nothing(1)), 0)
  lu.assertEquals(times, 1)
end

function TestMemoize:test_recursion_and_errors_in_the_function()
  local fib
  fib = collections.memoize(function(n) return n < 3 and 1 or fib(n - 1) + fib(n - 2) end)
  lu.assertEquals(fib(70), 190392490709135)
  local small, cache
  small, cache = collections.memoize(function(n) return n < 3 and 1 or small(n - 1) + small(n - 2) end, { size = 3 })
  lu.assertEquals(small(40), 102334155)
  lu.assertEquals(cache:size(), 3)
  local broken = true
  local f, c = collections.memoize(function(x)
    if broken then
      error("not yet")
    end
    return x
  end)
  lu.assertFalse(pcall(f, 1))
  broken = false
  lu.assertEquals(f(1), 1)
  lu.assertEquals(c:stats().misses, 2)
end

function TestMemoize:test_ttl()
  local now = 0
  local f, cache = collections.memoize(function(x) return x + now end, { ttl = 10, clock = function() return now end })
  lu.assertEquals(f(1), 1)
  now = 9.5
  lu.assertEquals(f(1), 1)
  now = 10
  lu.assertEquals(f(1), 11)
  f(2)
  f(3, 4)
  now = 25
  lu.assertEquals(cache:stats(), { hits = 1, misses = 4, evictions = 0, expirations = 4, size = 0 })
  local g = collections.memoize(function(x) return x end, { ttl = 1000 })
  g(1)
  lu.assertEquals(g(1), 1)
end

function TestMemoize:test_memory_of_evicted_calls_is_given_back()
  local f, cache = collections.memoize(function(a, b) return a + b end, { size = 4 })
  for i = 1, 1000 do
    f(i, i % 7)
  end
  local branches = 0
  for _ in pairs(cache._roots[2].map) do
    branches = branches + 1
  end
  lu.assertEquals(branches, 4)
end

function TestMemoize:test_key_function()
  local calls = 0
  local f = collections.memoize(function(a)
    calls = calls + 1
    return a:sum()
  end, { key = function(a) return a[1] end })
  lu.assertEquals(f(array.from { 1, 2 }), 3)
  lu.assertEquals(f(array.from { 1, 5 }), 3)
  lu.assertEquals(f(array.from { 2, 5 }), 7)
  lu.assertEquals(calls, 2)
  local bad = collections.memoize(print, { key = function() end })
  fails("the key must be a number, a string, a boolean or a table, got nil", function() bad(1) end)
end

function TestMemoize:test_errors()
  local f = collections.memoize(function(x) return x end)
  fails("argument 1 is an array, and an array's contents may change", function() return f(array.zeros(3)) end)
  fails("argument 2 is an array", function() return f(1, array.zeros(3)[{ { 1, 2 } }]) end)
  fails("argument 1 is a cdata object", function() return f(1LL) end)
  fails("a function is expected, got 3", collections.memoize, 3)
  fails("size must be an integer, 1 or more, got 0", collections.memoize, print, { size = 0 })
  fails("ttl must be a number of seconds above 0, got 0", collections.memoize, print, { ttl = 0 })
  fails('the policy must be "lru", "lfu" or "random", got the string "fifo"', collections.memoize, print,
    { policy = "fifo", size = 1 })
  fails("give a size too", collections.memoize, print, { policy = "lru" })
  fails("key must be a function, got 1", collections.memoize, print, { key = 1 })
  fails("unknown option 'maxsize'", collections.memoize, print, { maxsize = 1 })
end

-- Hits, and the records of a loop, must stay in compiled code: the promise of both is their speed.
TestCompiled = {}

function TestCompiled:test_no_aborts()
  local function watched(fn)
    local aborted = {}
    local function watch(what, _, func, _, reason)
      if what == "abort" and debug.getinfo(func, "S").source:find("@perigee:collections", 1, true) then
        aborted[#aborted + 1] = tostring(reason)
      end
    end
    jit.flush()
    jit.attach(watch, "trace")
    fn()
    jit.attach(watch)
    return #aborted
  end
  local r = collections.records({ { "x", "float64" }, { "id", "int32" } }, { length = 1000 })
  local d = collections.deque()
  local f = collections.memoize(function(x) return x end, { size = 2000 })
  for i = 1, 1000 do
    f(i)
  end
  lu.assertTrue(watched(function()
    for _ = 1, 50 do
      for i = 1, 1000 do
        local p = r[i]
        p.x = p.x + p.id
        d:push_back(f(i))
        d:pop_front()
      end
    end
  end) <= 2)
end

os.exit(lu.LuaUnit.run(), true)
