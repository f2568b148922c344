-- Shared objects between workers: locks, queues, the race detector, the interpreter lock. Nothing here depends on how
-- fast anything is.
local lu = require "luaunit"
local pg = require "perigee"
local parallel, array = pg.parallel, pg.array

local function fails(part, f, ...)
  local fine, message = pcall(f, ...)
  lu.assertFalse(fine)
  lu.assertStrContains(message, part)
  return message
end

local function count_lines(text, part)
  return select(2, text:gsub(part:gsub("%p", "%%%0"), ""))
end

local function line() -- of its caller
  return debug.getinfo(2, "l").currentline
end

-- The results of n tasks that run at once, each on a worker of its own.
local function together(n, fn, ...)
  local pool = parallel.pool(n)
  local futures, results = {}, {}
  for i = 1, n do
    futures[i] = pool:submit(fn, i, ...)
  end
  for i = 1, n do
    results[i] = futures[i]:result()
  end
  pool:shutdown()
  return results
end

TestShared = {}

function TestShared.test_barrier_of_many_more_than_cores()
  local n = 4 * pg.threads() + 4
  local barrier, arrived = parallel.barrier(n), parallel.atomic(0)
  local places = together(n, function()
    local place
    for round = 1, 5 do
      arrived:add(1)
      place = barrier:wait()
      assert(arrived:get() >= round * n)
      barrier:wait()
    end
    return place
  end)
  table.sort(places)
  for i = 1, n do
    lu.assertEquals(places[i], i)
  end
end

function TestShared.test_counting()
  local mutex, count, total, hits = parallel.mutex(), parallel.atomic(), array.zeros(1), array.zeros(1, "int32")
  together(4, function()
    for _ = 1, 2000 do
      mutex:with(function() total[1] = total[1] + 1 end)
      count:add(1)
      parallel.atomic_add(hits, 1, 1)
    end
  end)
  lu.assertEquals({ total[1], count:get(), hits[1] }, { 8000, 8000, 8000 })
end

-- Objects travel as upvalues, arguments, results and inside tables, and are the same object there.
function TestShared.test_travel()
  local pool = parallel.pool(2)
  local c, q = parallel.atomic(5), parallel.queue()
  local inside = { counter = c, queue = q }
  local back = pool:submit(function(t, d)
    t.counter:add(1)
    d:add(10)
    t.queue:put(t.counter)
    return t.counter
  end, inside, c):result()
  lu.assertEquals(back, c)
  lu.assertEquals(back:get(), 16)
  lu.assertEquals(q:get(), c)
  local t = parallel.thread_local()
  t.x = "here"
  lu.assertNil(pool:submit(function()
    local before = t.x
    t.x = "there"
    return before
  end):result())
  lu.assertEquals(t.x, "here")
  pool:shutdown()
end

function TestShared.test_rendezvous()
  local ready, go, log = parallel.latch(2), parallel.event(), parallel.queue()
  local pool = parallel.pool(2)
  local futures = {}
  for i = 1, 2 do
    futures[i] = pool:submit(function()
      ready:count_down()
      go:wait()
      log:put("after")
    end)
  end
  ready:wait()
  log:put("before")
  go:set()
  parallel.wait(futures)
  lu.assertEquals({ log:get(), log:get(), log:get() }, { "before", "after", "after" })
  pool:shutdown()
end

function TestShared.test_condition()
  local c, box = parallel.condition(), array.zeros(1)
  local pool = parallel.pool(2)
  local taken = pool:submit(function()
    return c:with(function()
      c:wait_for(function() return box[1] ~= 0 end)
      return box[1]
    end)
  end)
  pool:submit(function()
    c:with(function()
      box[1] = 42
      c:notify_all()
    end)
  end)
  lu.assertEquals(taken:result(), 42)
  pool:shutdown()
end

TestQueues = {}

function TestQueues.test_alone()
  local q = parallel.queue(2)
  lu.assertEquals(tostring(q), "queue (0 of 2)")
  lu.assertTrue(q:put(1))
  lu.assertTrue(q:put({ "a", { b = true } }))
  lu.assertFalse(q:put(3, 0))
  lu.assertFalse(q:put("x", 0.001))
  lu.assertEquals({ q.size, q.capacity, q.closed }, { 2, 2, false })
  lu.assertEquals(q:get(), 1)
  lu.assertEquals(q:get(1), { "a", { b = true } })
  lu.assertEquals({ q:get(0) }, { nil, "timeout" })
  lu.assertEquals({ q:get(0.001) }, { nil, "timeout" })
  q:put(false)
  q:close()
  lu.assertIsFalse(q:get())
  lu.assertEquals({ q:get() }, { nil, "closed" })
  fails("put: the queue was closed", q.put, q, 1)
  fails("put: nil cannot be put into a queue", q.put, q, nil)
  fails("cannot be put into a queue", q.put, q, coroutine.create(function() end))
  fails("queue: its capacity is an integer, 1 or more, got 0", parallel.queue, 0)
  fails("deadlock: the main script waits for something in a queue", function() parallel.queue():get() end)
  local full = parallel.queue(1)
  full:put(1)
  fails("waits for room in a queue of 1", function() full:put(2) end)
end

function TestQueues.test_producers_and_consumers()
  local q, out = parallel.queue(4), parallel.queue()
  local pool = parallel.pool(4)
  local producers, consumers = {}, {}
  for i = 1, 2 do
    producers[i] = pool:submit(function()
      for k = 1, 300 do
        q:put(k % 2 == 0 and k or { k, tostring(k) })
      end
    end)
    consumers[i] = pool:submit(function()
      local sum = 0
      for value in q:values() do
        sum = sum + (type(value) == "number" and value or value[1])
      end
      out:put(sum)
    end)
  end
  for i = 1, 2 do producers[i]:result() end
  q:close()
  for i = 1, 2 do consumers[i]:result() end
  lu.assertEquals(out:get() + out:get(), 2 * 300 * 301 / 2)
  pool:shutdown()
end

TestDeadlocks = {}

function TestDeadlocks.test_circle()
  local a, b, both = parallel.mutex(), parallel.mutex(), parallel.barrier(2)
  local pool = parallel.pool(2)
  local function task(first, second)
    local result = first:with(function() -- (a tail call would take the line from the message)
      both:wait()
      local inner = second:with(function() return true end)
      return inner
    end)
    return result
  end
  local one, two = pool:submit(task, a, b), pool:submit(task, b, a)
  local errors = { one:exception() or false, two:exception() or false }
  -- One is told, lets go, and the other goes on.
  lu.assertTrue((errors[1] == false) ~= (errors[2] == false))
  local message = errors[1] or errors[2]
  lu.assertStrContains(message, "deadlock: ")
  lu.assertStrContains(message, "worker 1 waits for a mutex that worker 2 holds (")
  lu.assertStrContains(message, "worker 2 waits for a mutex that worker 1 holds (")
  pool:shutdown()
end

function TestDeadlocks.test_too_few_workers()
  local pool, barrier = parallel.pool(2), parallel.barrier(3)
  local futures = {}
  for i = 1, 3 do
    futures[i] = pool:submit(function() barrier:wait() end)
  end
  local found = 0
  for i = 1, 3 do
    local message = futures[i]:exception()
    found = found + (message and message:find("waits for a barrier of 3 (2 are there)", 1, true) and 1 or 0)
  end
  lu.assertTrue(found >= 1)
  pool:shutdown()
end

function TestDeadlocks.test_lock_that_a_task_kept()
  local pool, m = parallel.pool(1), parallel.mutex()
  pool:submit(function() m:lock() end):result()
  local message = fails("ended without unlocking it", function() m:lock() end)
  lu.assertStrContains(message, "parallel_shared.lua:")
  pool:shutdown()
end

-- Alive, but waiting: not reported.
function TestDeadlocks.test_none()
  local pool, e = parallel.pool(2), parallel.event()
  local waiting = pool:submit(function() return e:wait() end)
  local other = pool:submit(function()
    pg.timer.sleep(0.3) -- several of the slices in which waits look for deadlocks
    e:set()
  end)
  lu.assertTrue(waiting:result())
  other:result()
  lu.assertFalse(pool:submit(function() return parallel.event():wait(0.2) end):result())
  pool:shutdown()
end

TestRaces = {}

-- Runs fn(i, ...) as n tasks on a pool of `workers` that checks; returns the errors that there are, and the pool's races.
local function checked(workers, n, fn, ...)
  local pool = parallel.pool(workers, { check = "races" })
  local futures, errors = {}, {}
  for i = 1, n do
    futures[i] = pool:submit(fn, i, ...)
  end
  for i = 1, n do
    errors[#errors + 1] = futures[i]:exception()
  end
  local races = pool:races()
  pool:shutdown()
  return errors, races
end

function TestRaces.test_sum()
  for workers = 1, 3 do -- found whoever runs what, even by one worker
    local total, at = array.zeros(3), nil
    at = line() + 2
    local errors, races = checked(workers, 3, function(i)
      total[2] = total[2] + i
    end)
    lu.assertTrue(#errors >= 2) -- of tasks one after the other, the first found nothing
    lu.assertStrContains(errors[1], "race: element [2] of 'total' is ")
    lu.assertTrue(count_lines(errors[1], "parallel_shared.lua:" .. at) >= 2)
    lu.assertEquals(#races, 2)
    for _, race in ipairs(races) do
      lu.assertEquals(race.element, "element [2] of 'total'")
      lu.assertStrContains(race.first.where, "parallel_shared.lua:" .. at)
      lu.assertStrContains(race.second.where, "parallel_shared.lua:" .. at)
      lu.assertTrue(race.first.access == "write" or race.second.access == "write")
      lu.assertTrue(race.first.worker ~= race.second.worker)
    end
  end
end

function TestRaces.test_what_orders()
  local m, rw, c, s = parallel.mutex(), parallel.rwlock(), parallel.atomic(), parallel.semaphore()
  local total, parts, bins, grid = array.zeros(4), array.zeros(8), array.zeros(2, "int32"), array.zeros({ 4, 4 })
  local ready, q, done, b = parallel.event(), parallel.queue(), parallel.latch(4), parallel.barrier(4)
  local errors, races = checked(4, 4, function(i)
    m:with(function() total[1] = total[1] + 1 end)
    s:with(function() total[2] = total[2] + 1 end)
    rw:with_write(function() total[3] = total[3] + 1 end)
    rw:with_read(function() return total[3] end)
    c:add(1)
    parts[2 * i] = parts[2 * i] + i -- an element each
    grid[i][2] = i
    grid[i] = grid[i] + 1
    parallel.atomic_add(bins, 1, 1)
    if i == 1 then
      total[4] = 7
      ready:set()
    else
      ready:wait()
      local _ = total[4]
    end
    b:wait()
    if i == 2 then -- all have come, so nobody touches it any more
      grid[1][2] = 5
      parts:sort_()
    end
    b:wait()
    local sum = parts:sum() + parts[1]
    done:count_down()
    q:put(sum)
    done:wait()
    if i == 3 then
      q:get()
      grid:fill(0)
    end
  end)
  lu.assertEquals(errors, {})
  lu.assertEquals(races, {})
  lu.assertEquals({ total[1], total[2], total[3], bins[1] }, { 4, 4, 4, 4 })
end

function TestRaces.test_messages_by_atomics()
  local data, flag = array.zeros(1), array.zeros(1, "int32")
  local errors = checked(2, 2, function(i)
    if i == 1 then
      data[1] = 5
      parallel.atomic_store(flag, 1, 1)
    else
      while parallel.atomic_load(flag, 1) == 0 do end
      assert(data[1] == 5)
    end
  end)
  lu.assertEquals(errors, {})
  errors = checked(2, 2, function(i)
    if i == 1 then
      parallel.atomic_store(flag, 1, 0)
    else
      flag[1] = 3
    end
  end)
  lu.assertTrue(#errors >= 1)
  lu.assertStrContains(errors[1], "changed atomically")
end

-- Operations on whole arrays read and write ranges.
function TestRaces.test_operations()
  local a = array.zeros({ 4, 3 })
  for _, touch in ipairs {
    function(x) x:add_(1) end, function(x) x[{ 2 }] = 0 end, function(x) array.add(x, 1, { out = x }) end,
    function(x) x:sort_() end, function(x) x:set(2, 3, 1) end, function(x) x[2][3] = x:at(2, 3) end,
    function(x) x[2] = array.ones(3) end, function(x) x[x:gt(5)] = 1; x[2][3] = 1 end,
  } do
    local errors, races = checked(2, 2, function(i)
      if i == 1 then
        touch(a)
      else
        return a:sum()
      end
    end)
    lu.assertTrue(#errors >= 1) -- both, where they took turns
    lu.assertTrue(#races >= 1)
  end
  -- Reading is none, nor are parts that do not overlap.
  lu.assertEquals((checked(2, 4, function() return a:sum() + a[1][2] + a:max() end)), {})
  lu.assertEquals((checked(2, 4, function(i)
    a[{ i }]:add_(1)
    a[i][2] = 3
    return a[i][1]
  end)), {})
end

-- What the script waited for is over.
function TestRaces.test_order_by_results()
  local pool = parallel.pool(2, { check = "races" })
  local x = array.zeros(1)
  for _ = 1, 5 do
    pool:submit(function() x[1] = x[1] + 1 end):result()
  end
  pool:map(function(i) return x[1] + i end, { 1, 2, 3 })
  parallel.wait { pool:submit(function() x[1] = 0 end) }
  local f = pool:submit(function() x[1] = 1 end)
  for future in parallel.as_completed { f } do
    lu.assertEquals(pool:submit(function() return x[1] end):result(), 1)
    lu.assertEquals(future, f)
  end
  fails("race: ", pool.map, pool, function(i) x[1] = i end, { 1, 2, 3, 4 })
  -- The map that failed is over, too.
  lu.assertEquals(pool:submit(function() return x[1] end):exception(), nil)
  lu.assertTrue(#pool:races() >= 1)
  pool:shutdown()
end

function TestRaces.test_options()
  fails('pool: check is "races", got the string "race"', parallel.pool, 2, { check = "race" })
  fails("pool: gil is true or false, got 5", parallel.pool, 2, { gil = 5 })
  fails("switch_interval is for a pool with gil = true", parallel.pool, 2, { switch_interval = 0.1 })
  fails("above 0 and at most 10, got 0", parallel.pool, 2, { gil = true, switch_interval = 0 })
end

TestGil = {}

-- One at a time: between two looks at a plain counter nobody else ran, unless the lock changed hands, which it does only
-- after an interval. So with a long interval nothing is ever lost.
function TestGil.test_one_at_a_time()
  local pool = parallel.pool(4, { gil = true, switch_interval = 10 })
  local total = array.zeros(1)
  pool:map(function()
    for _ = 1, 20000 do
      total[1] = total[1] + 1
    end
  end, { 1, 2, 3, 4 }, { chunksize = 1 })
  lu.assertEquals(total[1], 80000)
  pool:shutdown()
end

-- The lock changes hands: two that count in turns make progress although neither waits.
function TestGil.test_hands_on()
  local pool = parallel.pool(2, { gil = true, switch_interval = 0.001 })
  local flag, started = array.zeros(1), parallel.barrier(2)
  local waits = pool:submit(function()
    started:wait()
    while flag[1] == 0 do end -- never lets go by itself
    return true
  end)
  pool:submit(function()
    started:wait()
    flag[1] = 1
  end)
  lu.assertTrue(waits:result())
  pool:shutdown()
end

-- What waits or sleeps lets go: all can wait for each other although only one runs.
function TestGil.test_waiting_lets_go()
  local pool = parallel.pool(3, { gil = true, switch_interval = 10 })
  local b, q = parallel.barrier(3), parallel.queue()
  local results = pool:map(function(i)
    b:wait()
    pg.timer.sleep(0.001)
    q:put(i)
    b:wait()
    return q:get()
  end, { 1, 2, 3 }, { chunksize = 1 })
  table.sort(results)
  lu.assertEquals(results, { 1, 2, 3 })
  pool:shutdown()
end

os.exit(lu.LuaUnit.run(), true)
