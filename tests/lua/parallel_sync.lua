-- What workers share, as one state sees it: arguments, errors, values. What needs several is in parallel_shared.lua and
-- tests/engine/sync_test.cpp.
local lu = require "luaunit"
local pg = require "perigee"
local parallel, array = pg.parallel, pg.array

local function fails(part, f, ...)
  local fine, message = pcall(f, ...)
  lu.assertFalse(fine)
  lu.assertStrContains(message, part)
  lu.assertStrContains(message, "parallel_sync.lua:") -- the learner's own line
end

TestLocks = {}

function TestLocks.test_mutex()
  local m = parallel.mutex()
  lu.assertFalse(m.locked)
  m:lock()
  lu.assertTrue(m.locked)
  lu.assertEquals(tostring(m), "mutex (locked here)")
  fails("locked by the main script already", function() m:lock() end)
  lu.assertFalse(m:try_lock())
  fails("locked by the main script already", function() m:try_lock(0.1) end)
  m:unlock()
  lu.assertTrue(m:try_lock())
  m:unlock()
  fails("this mutex is not locked", function() m:unlock() end)
  fails("try_lock: a timeout is a number of seconds", function()
    m:lock()
    m:try_lock("x")
  end)
  m:unlock()
end

function TestLocks.test_with()
  local m = parallel.mutex()
  lu.assertEquals({ m:with(function(...) return m.locked, ... end, 1, nil, 3) }, { true, 1, nil, 3 })
  lu.assertFalse(m.locked)
  fails("oops", function() m:with(function() error("oops") end) end)
  lu.assertFalse(m.locked)
  local thrown = {}
  local _, got = pcall(m.with, m, function() error(thrown) end)
  lu.assertIs(got, thrown)
  lu.assertFalse(m.locked)
  fails("with: a function is expected, got 3", function() m:with(3) end)
  lu.assertFalse(m.locked)
  for _, with in ipairs { "with_read", "with_write" } do
    local rw = parallel.rwlock()
    lu.assertEquals(rw[with](rw, function(x) return x end, 7), 7)
    fails("oops", function() rw[with](rw, function() error("oops") end) end)
    rw:lock_write()
    rw:unlock_write()
  end
end

function TestLocks.test_misuse()
  local m, s = parallel.mutex(), parallel.semaphore()
  fails("lock: a mutex is expected before the colon, got a semaphore", function() m.lock(s) end)
  fails("unlock: a mutex is expected before the colon, got nil", function() m.unlock() end)
  fails("acquire: a semaphore is expected before the colon, got a mutex", function() s.acquire(m) end)
  fails("a mutex has no field or method 'lokc'; did you mean 'lock'?", function() m:lokc() end)
  fails("the field 'locked' of a mutex cannot be assigned", function() m.locked = true end)
  fails("perigee.parallel has no function 'mutx'; did you mean 'mutex'?", function() parallel.mutx() end)
end

function TestLocks.test_rwlock()
  local rw = parallel.rwlock()
  rw:lock_read()
  fails("locked for reading by the main script already, and would wait", function() rw:lock_write() end)
  fails("not locked for writing", function() rw:unlock_write() end)
  rw:unlock_read()
  lu.assertTrue(rw:try_lock_write())
  fails("locked for writing by the main script already", function() rw:try_lock_read(1) end)
  rw:unlock_write()
  fails("not locked for reading", function() rw:unlock_read() end)
end

function TestLocks.test_semaphore()
  local s = parallel.semaphore(2)
  lu.assertTrue(s:acquire())
  lu.assertTrue(s:acquire(1))
  lu.assertFalse(s:acquire(0))
  lu.assertFalse(s:acquire(0.001))
  s:release(2)
  lu.assertEquals(s.value, 2)
  lu.assertEquals(s:with(function() return s.value end), 1)
  fails("semaphore: its value is an integer, 0 or more, got -1", parallel.semaphore, -1)
  fails("release: the count is an integer, 1 or more, got 0.5", function() s:release(0.5) end)
  fails("acquire: a timeout is a number of seconds, 0 or more, got -1", function() s:acquire(-1) end)
  fails("acquire: a timeout is a number of seconds", function() s:acquire(0 / 0) end)
end

function TestLocks.test_barrier()
  local b = parallel.barrier(1)
  lu.assertEquals(b:wait(), 1)
  b = parallel.barrier(2)
  fails("left when time was up", function() b:wait(0.001) end)
  lu.assertTrue(b.broken)
  fails("the barrier is broken", function() b:wait() end)
  b:reset()
  lu.assertEquals({ b.broken, b.parties, b.waiting }, { false, 2, 0 })
  b:abort()
  lu.assertTrue(b.broken)
  fails("barrier: how many meet is an integer, 1 or more, got 0", parallel.barrier, 0)
end

function TestLocks.test_condition()
  local m = parallel.mutex()
  local c = parallel.condition(m)
  lu.assertEquals(c.mutex, m)
  fails("with its mutex locked", function() c:wait() end)
  fails("lock the condition's mutex first", function() c:notify() end)
  m:with(function()
    lu.assertFalse(c:wait(0.001))
    lu.assertTrue(m.locked)
    c:notify()
    c:notify_all()
    lu.assertEquals(c:wait_for(function() return 5 end), 5)
    lu.assertFalse(c:wait_for(function() return false end, 0.002))
  end)
  lu.assertEquals(c:with(function() return m.locked end), true)
  fails("condition: a mutex is expected, got 3", parallel.condition, 3)
  lu.assertFalse(parallel.condition().mutex.locked)
end

function TestLocks.test_event_and_latch()
  local e = parallel.event()
  lu.assertFalse(e:is_set())
  lu.assertFalse(e:wait(0))
  e:set()
  lu.assertTrue(e:wait())
  e:clear()
  lu.assertFalse(e:is_set())
  local l = parallel.latch(3)
  l:count_down()
  l:count_down(2)
  lu.assertTrue(l:wait())
  lu.assertEquals(l.count, 0)
  fails("count_down: the latch is at 0", function() l:count_down() end)
end

-- Alone, a script that waits for somebody else waits for ever.
function TestLocks.test_deadlock_alone()
  fails("deadlock: the main script waits for an event to be set", function() parallel.event():wait() end)
  fails("deadlock: the main script waits for a semaphore that is at 0", function() parallel.semaphore(0):acquire() end)
end

function TestLocks.test_thread_local()
  local t, u = parallel.thread_local(), parallel.thread_local()
  t.x, u.x = 1, 2
  lu.assertEquals({ t.x, u.x, t.y }, { 1, 2, nil })
end

TestAtomics = {}

function TestAtomics.test_numbers()
  local c = parallel.atomic()
  lu.assertEquals({ c:add(5), c:sub(1), c:exchange(9), c:min(3), c:max(7), c:get() }, { 0, 5, 4, 9, 3, 7 })
  c:set(-1)
  lu.assertEquals({ c:compare_exchange(1, 2) }, { false, -1 })
  lu.assertEquals({ c:compare_exchange(-1, 2) }, { true, -1 })
  lu.assertEquals({ c:compare_exchange(2.5, 3) }, { false, 2 })
  lu.assertEquals({ c.dtype, tostring(c) }, { "int64", "atomic (2)" })
  lu.assertEquals(parallel.atomic(0, { dtype = "float64" }).dtype, "float64")
  local f = parallel.atomic(0.5)
  lu.assertEquals({ f:add(1), f:get(), f.dtype }, { 0.5, 1.5, "float64" })
  fails("add: 0.5 is not an integer up to 2^53", function() c:add(0.5) end)
  fails("add: a number is expected, got nil", function() f:add() end)
  fails('its dtype is "int64" or "float64", got the string "int32"', parallel.atomic, 0, "int32")
  fails("atomic: 0.5 is not an integer", parallel.atomic, 0.5, "int64")
  c:set(2 ^ 53)
  c:add(1)
  fails("beyond 2^53", function() c:get() end)
end

function TestAtomics.test_elements()
  for _, dtype in ipairs { "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64" } do
    local a = array.zeros({ 3, 4 }, dtype)
    local v = a.T[2] -- a vector whose elements are not adjacent
    lu.assertEquals({ parallel.atomic_add(a, 2, 2, 5), parallel.atomic_sub(a, 2, 2, 1), parallel.atomic_max(v, 2, 7),
      parallel.atomic_min(v, -2, 6), parallel.atomic_exchange(a, 2, -3, 3), parallel.atomic_load(a, 2, 2) },
      { 0, 5, 4, 7, 6, 3 }, dtype)
    lu.assertEquals({ parallel.atomic_compare_exchange(a, 2, 2, 3, 9) }, { true, 3 })
    lu.assertEquals({ parallel.atomic_compare_exchange(a, 2, 2, 3, 9) }, { false, 9 })
    lu.assertEquals({ parallel.atomic_compare_exchange(a, 2, 2, 9.5, 1) }, { false, 9 })
    parallel.atomic_store(a, 3, 4, 100)
    lu.assertEquals(a:totable(), { { 0, 0, 0, 0 }, { 0, 9, 0, 0 }, { 0, 0, 0, 100 } })
  end
  local a = array.zeros({ 2, 2, 2, 2 })
  parallel.atomic_add(a, 1, 2, 1, 2, 0.5)
  lu.assertEquals(a[1][2][1][2], 0.5)
  local bytes = array.full(1, 255, "uint8")
  lu.assertEquals({ parallel.atomic_add(bytes, 1, 2), bytes[1] }, { 255, 1 })
end

function TestAtomics.test_errors()
  local a = array.zeros(3)
  fails("index 4 is out of range for axis 1", parallel.atomic_add, a, 4, 1)
  fails("index 1.5 is not an integer", parallel.atomic_add, a, 1.5, 1)
  fails('a number is expected as the last argument, got the string "x"', parallel.atomic_add, a, 1, "x")
  fails("takes 1 indices, got 2", parallel.atomic_add, a, 1, 1, 1)
  fails("300 is not in the range of int8", parallel.atomic_add, array.zeros(3, "int8"), 1, 300)
  fails("0.5 is not an integer, and this array has dtype int32", parallel.atomic_add, array.zeros(3, "int32"), 1, 0.5)
  fails("dtype bool have no atomic operations", parallel.atomic_exchange, array.zeros(3, "bool"), 1, 1)
  fails("read-only", parallel.atomic_add, array.ones(1):broadcast_to(3), 1, 1)
  fails("atomic_add: an array is expected, got 3", parallel.atomic_add, 3, 1, 1)
  a:release()
  fails("released", parallel.atomic_add, a, 1, 1)
end

-- The same in compiled loops.
function TestAtomics.test_loops()
  local c, f, m = parallel.atomic(), parallel.atomic(0, "float64"), parallel.mutex()
  local a, b = array.zeros(10), array.zeros({ 4, 4 }, "int32")
  local sum = 0
  for i = 1, 3000 do
    c:add(i)
    f:add(0.5)
    parallel.atomic_add(a, 3, 1)
    parallel.atomic_add(b, 2, 3, 2)
    m:with(function(x) sum = sum + x end, 1)
    m:lock()
    m:unlock()
  end
  lu.assertEquals({ c:get(), f:get(), a[3], b[2][3], sum }, { 3000 * 3001 / 2, 1500, 3000, 6000, 3000 })
  fails("index 11 is out of range", function()
    for i = 1, 300 do
      parallel.atomic_add(a, i > 200 and 11 or 1, 1)
    end
  end)
end

os.exit(lu.LuaUnit.run(), true)
