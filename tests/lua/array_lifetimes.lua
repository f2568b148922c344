-- Arrays are let go of without a collection when nothing in the Lua heap refers to them (engine/array/owners.hpp). However
-- an array is held, it must stay; and what is let go of, the collector must agree, nothing could have reached.
local lu = require "luaunit"
local array = require "perigee.array"
local natives = debug.getregistry()["perigee.core"].natives.array

if not natives.reclaim then
  print("OK: this LuaJIT has its own allocator")
  os.exit(0)
end

TestLifetimes = {}

-- Makes an array that only `hold` knows, in a frame of its own, which is gone when it returns.
local function hidden(hold, value, ...)
  hold(array.full(50, value), ...)
end

-- Lets go of dead arrays, and takes their memory for others.
local function churn()
  for _ = 1, 3 do
    natives.release_dead()
    for _ = 1, 30 do
      local c = array.full(50, -1)
      c:add_(0)
    end
  end
end

-- A frame with nothing in its slots, where the hidden array may still stand in a slot that is not in use.
local function scrub(n)
  local a, b, c, d, e, f, g, h, i, j = n, n, n, n, n, n, n, n, n, n
  if n > 0 then
    return scrub(n - 1) + a + b + c + d + e + f + g + h + i + j
  end
  return 0
end

local function intact(a, value)
  lu.assertEquals(a:sum(), 50 * value)
  lu.assertEquals(a[50], value)
end

local ways = {
  ["a table's list"] = function()
    local t = {}
    hidden(function(a) t[1] = a end, 1)
    return function() return t[1] end
  end,
  ["a table's field"] = function()
    local t = { x = {} }
    hidden(function(a) t.x.y = a end, 1)
    return function() return t.x.y end
  end,
  ["a table's key"] = function()
    local t = {}
    hidden(function(a) t[a] = true end, 1)
    return function() return (next(t)) end
  end,
  ["an upvalue"] = function()
    local held
    hidden(function(a) held = a end, 1)
    return function() return held end
  end,
  ["a variable that is captured and closed"] = function()
    local get
    hidden(function(a) get = function() return a end end, 1)
    return get
  end,
  ["a coroutine's variable"] = function()
    local co
    hidden(function(a)
      co = coroutine.create(function(x)
        coroutine.yield()
        return x
      end)
      coroutine.resume(co, a)
    end, 1)
    return function() return select(2, coroutine.resume(co)) end
  end,
  ["values passed out of a coroutine"] = function()
    local co
    hidden(function(a)
      co = coroutine.wrap(function(...)
        coroutine.yield()
        coroutine.yield((...))
      end)
      co(a)
    end, 1)
    return co
  end,
  ["a metatable"] = function()
    local t = setmetatable({}, {})
    hidden(function(a) getmetatable(t).__index = function() return a end end, 1)
    return function() return t.anything end
  end,
  ["an environment"] = function()
    local f = setfenv(function() return held end, {}) -- luacheck: ignore
    hidden(function(a) getfenv(f).held = a end, 1)
    return f
  end,
  ["a weak table, while the collector has not come by"] = function()
    local t = setmetatable({}, { __mode = "v" })
    hidden(function(a) t[1] = a end, 1)
    return function() return t[1] or array.full(50, 1) end
  end,
  ["a view"] = function()
    local t = {}
    hidden(function(a) t[1] = a[{ {1, 50} }] end, 1)
    return function() return t[1] end
  end,
  ["arguments of a call in progress"] = function()
    local function keep(a)
      churn()
      scrub(20)
      return a
    end
    local a
    hidden(function(x) a = keep(x) end, 1)
    return function() return a end
  end,
  ["varargs of a call in progress"] = function()
    local function keep(...)
      churn()
      scrub(20)
      return (...)
    end
    local a
    hidden(function(x) a = keep(x, 2) end, 1)
    return function() return a end
  end,
  ["a generic for"] = function()
    local a
    hidden(function(x)
      for held in function(state, at) if not at then return state end end, x do
        churn()
        scrub(20)
        a = held
      end
    end, 1)
    return function() return a end
  end,
  ["a pcall in progress"] = function()
    local a
    hidden(function(x)
      a = select(2, pcall(function(y)
        churn()
        scrub(20)
        return y
      end, x))
    end, 1)
    return function() return a end
  end,
}

function TestLifetimes.test_whatever_holds_an_array_keeps_it()
  for way, make in pairs(ways) do
    local get = make()
    scrub(50)
    churn()
    local a = get()
    lu.assertNotNil(a, way)
    intact(a, 1)
  end
end

function TestLifetimes.test_compiled_loops()
  local kept, sum = {}, 0
  local a = array.full(50, 1)
  for i = 1, 400 do
    local b = a + i
    kept[i % 7] = b
    if i % 20 == 0 then
      churn()
    end
    local c = b * 2
    sum = sum + c[50] + (kept[(i + 3) % 7] or b)[1] * 0
  end
  lu.assertEquals(sum, 2 * (400 * 401 / 2 + 400))
  for i = 394, 400 do
    intact(kept[i % 7], i + 1)
  end
end

function TestLifetimes.test_most_that_is_dead_is_found()
  collectgarbage()
  collectgarbage()
  local before = natives.given_up()
  local c
  for i = 1, 200 do
    c = array.full(50, i)
  end
  natives.release_dead()
  lu.assertTrue(natives.given_up() - before >= 50) -- what looks like a reference to one keeps it
  intact(c, 200)
  collectgarbage()
  collectgarbage()
end

-- Tables that are gone once held arrays; their memory, not yet used again, does not hold those that came after.
function TestLifetimes.test_freed_tables_hold_nothing()
  local t = {}
  for i = 1, 3000 do
    t[i] = { array.full(2, i), array.full(2, i) }
  end
  t = nil -- luacheck: ignore
  collectgarbage()
  collectgarbage()
  local before, c = natives.given_up(), nil
  for i = 1, 200 do
    c = array.full(50, i)
  end
  natives.release_dead()
  lu.assertTrue(natives.given_up() - before >= 150)
  intact(c, 200)
end

-- What a look costs goes by what it looks at: not by arrays that are gone, nor by code.
function TestLifetimes.test_little_is_looked_at()
  local function bytes()
    collectgarbage()
    collectgarbage()
    return natives.release_dead()
  end
  local before = bytes()
  local t = {}
  for i = 1, 10000 do
    t[i] = array.full(1, i)
  end
  t = nil -- luacheck: ignore
  lu.assertTrue(bytes() < before + 500000) -- cells: 1.9 MB
  before = bytes()
  local code = load(("f(1)\n"):rep(60000))
  lu.assertTrue(bytes() < before + 600000) -- the text, which is kept: 300 KB; its code: 900
  lu.assertEquals(type(code), "function")
  -- Compiled code: each of these loops has some KB.
  before = bytes()
  local loops = {}
  for i = 1, 200 do
    loops[i] = load("local a, n = ... for i = 1, 100 do a[i % 3 + 1] = a[i % 2 + 1] + n * i % 7 end")
    loops[i]({ 1, 2, 3 }, i)
  end
  lu.assertTrue(not jit.status() or bytes() < before + 200 * 1000)
end

-- A row checks that its array is there; that check leaves loops, so an array must not go while one is compiled.
function TestLifetimes.test_rows_of_dead_arrays_in_loops_that_make_garbage()
  local checked, gone = 0, 0
  for round = 1, 30 do
    local row = array.full({ 2, 50 }, round)[1] -- nothing holds the array
    local fine, message = pcall(function()
      local kept = {}
      for i = 1, 20000 do
        kept[i % 50 + 1] = { i }
        if row[i % 50 + 1] ~= round then
          error("overwritten")
        end
        checked = checked + 1
        if i % 1000 == 0 then
          local _ = array.full({ 2, 50 }, -1)
        end
      end
    end)
    if not fine then
      lu.assertStrContains(message, "the array that this row was taken from is gone")
      gone = gone + 1
    end
  end
  lu.assertTrue(checked > 0 and gone > 0)
end

-- Random programs that hold arrays in all kinds of places. After each, what was let go of must be garbage to the collector.
function TestLifetimes.test_the_collector_agrees()
  math.randomseed(11)
  local random = math.random
  for _ = 1, 60 do
    local roots, threads = { {} }, {}
    for step = 1, 150 do
      local way = random(10)
      local t = roots[random(#roots)]
      if way <= 2 then
        t[random(12)] = array.full(random(40), step)
      elseif way == 3 then
        roots[#roots + 1] = { array.full(3, step) }
      elseif way == 4 then
        local a, b = array.full(4, step), array.full(4, 1)
        t[random(12)] = function() return a + b end
      elseif way == 5 then
        local f = t[random(12)]
        if type(f) == "function" then
          t[random(12)] = f()
        end
      elseif way == 6 then
        local co = coroutine.create(function(a)
          local twice = a * 2
          coroutine.yield(twice)
          return a + twice
        end)
        t[random(12)] = select(2, coroutine.resume(co, array.full(4, step)))
        threads[#threads + 1] = co
      elseif way == 7 and #threads > 0 then
        local co = table.remove(threads, random(#threads))
        t[random(12)] = select(2, coroutine.resume(co))
      elseif way == 8 then
        t[random(12)] = nil
        roots[random(#roots)] = {}
      elseif way == 9 then
        local a = t[random(12)]
        if array.is(a) then
          t[random(12)] = a[{ {1, -1} }]
        end
      else
        natives.release_dead()
      end
    end
    natives.release_dead()
    for _, t in ipairs(roots) do
      for _, x in pairs(t) do
        if array.is(x) and x.size > 0 then
          lu.assertTrue(x[1] == x[-1])
        end
      end
    end
    collectgarbage()
    collectgarbage()
    lu.assertEquals(natives.given_up(), 0) -- all of them are gone: nothing reached them
  end
end

os.exit(lu.LuaUnit.run(), true)
