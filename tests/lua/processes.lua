-- Pools of worker processes: the same interface as pools of threads, memory of their own, and ends that are errors.
local lu = require "luaunit"
local pg = require "perigee"
local parallel, array = pg.parallel, pg.array

local function fails(pattern, f, ...)
  local ok, message = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertStrContains(tostring(message), pattern)
end

local pool = parallel.processes(2)

TestProcesses = {}

function TestProcesses:test_everything_of_a_pool()
  local offset = 10
  lu.assertEquals(pool.size, 2)
  lu.assertEquals(pool:map(function(x) return x * x + offset end, { 1, 2, 3 }), { 11, 14, 19 })
  lu.assertEquals(pool:map(function(x) return x end, parallel.range(2, 10, 4)), { 2, 6, 10 })
  lu.assertEquals(pool:map(function(x) return x end, {}), {})
  lu.assertEquals(pool:starmap(function(a, b) return a .. b end, { { "a", "b" }, { "c", "d" } }), { "ab", "cd" })
  local seen = {}
  for i, value in pool:imap(function(x) return -x end, { 5, 6, 7 }) do
    seen[#seen + 1] = i .. ":" .. value
  end
  lu.assertEquals(seen, { "1:-5", "2:-6", "3:-7" })
  local sum = 0
  for _, value in pool:imap_unordered(function(x) return x end, { 5, 6, 7 }) do
    sum = sum + value
  end
  lu.assertEquals(sum, 18)
  lu.assertEquals(pool:reduce(function(a, b) return a + b end, parallel.range(1, 1000), 0), 500500)
  local future = pool:submit(function(...) return select("#", ...), ... end, nil, "text", nil)
  local n, a, b, c = future:result()
  lu.assertEquals({ n, a, b, c }, { 3, nil, "text", nil })
  lu.assertTrue(future:done())
end

function TestProcesses:test_memory_of_their_own()
  local count = 0
  pool:for_each(function() count = count + 1 end, { 1, 2, 3, 4 })
  lu.assertEquals(count, 0)
  local a = array.range(6)
  local changed, total = pool:submit(function(x) x[1] = 100 return x, x:sum() end, a):result()
  lu.assertEquals({ a[1], changed[1], total }, { 1, 100, 120 })
  lu.assertFalse(parallel.is_shared_array(changed))
end

function TestProcesses:test_arrays_of_all_layouts()
  local a = array.range(24):reshape(2, 3, 4)
  local views = { a, a.T, a[{ {}, { 2, 3 }, { 4, 1, -2 } }], a[{ 2, {}, 3 }], a[1], a[2][3], array.zeros(0, 3),
    array.full({}, 7), array.from({ 1, 2, 3 }, "int8"), array.complex(a, -a):imag(), array.range(50000)[{ { 100, 40000, 3 } }] }
  for i, view in ipairs(views) do
    local back = pool:submit(function(x) return x end, view):result()
    lu.assertTrue(back == view, tostring(i))
    lu.assertEquals(back.dtype, view.dtype)
    lu.assertEquals(back.shape, view.shape)
  end
  -- Views of one array are views of one array there.
  lu.assertEquals(pool:submit(function(x, y) y[1] = -1 return x[3], array.shares_memory(x, y) end, array.range(5),
    array.range(5)):result(), 3)
  local whole = array.range(5)
  lu.assertEquals(pool:submit(function(x, y) y[1] = -1 return x[3] end, whole, whole[{ { 3, 5 } }]):result(), -1)
end

function TestProcesses:test_shared_arrays()
  local s = parallel.shared_array(8)
  lu.assertTrue(parallel.is_shared_array(s))
  pool:parallel_for(1, 8, function(i) s[i] = i * i end)
  lu.assertEquals(s:totable(), { 1, 4, 9, 16, 25, 36, 49, 64 })
  local half = s[{ { 5, 8 } }]
  local back = pool:submit(function(x) x[1] = 0 return x end, half):result()
  lu.assertEquals({ s[5], back[1], back.size }, { 0, 0, 4 })
  back[2] = -1 -- the same memory on its way back
  lu.assertEquals(s[6], -1)
  lu.assertTrue(parallel.is_shared_array(back))
  -- Made by a worker.
  local made = pool:submit(function() return parallel.shared_array({ 2, 2 }, "int32") end):result()
  lu.assertTrue(parallel.is_shared_array(made))
  pool:submit(function(x) x[2][2] = 5 end, made):result()
  lu.assertEquals(made[2][2], 5)
  -- A copy of an array.
  local copy = parallel.shared_array(array.range(3), "int32")
  lu.assertEquals({ copy.dtype, copy[3] }, { "int32", 3 })
  lu.assertEquals(parallel.shared_array(array.from { { true, false } }).dtype, "bool")
  -- Atomic operations on its elements are atomic between processes.
  local counter = parallel.shared_array(1, "int64")
  pool:for_each(function() parallel.atomic_add(counter, 1, 1) end, parallel.range(1, 2000))
  lu.assertEquals(counter[1], 2000)
  fails("shape", parallel.shared_array)
  fails("not a dtype", parallel.shared_array, 3, "float12")
  fails("an array is expected", parallel.is_shared_array, 3)
end

function TestProcesses:test_shared_arrays_come_and_go()
  for i = 1, 50 do
    local s = parallel.shared_array(1000)
    pool:submit(function(x) x:add_(1) end, s):result()
    pool:submit(function(x) x:add_(1) end, s):result()
    lu.assertEquals(s[1000], 2)
    s:release()
  end
  collectgarbage()
end

function TestProcesses:test_large_messages()
  local text = string.rep("0123456789", 1e6)
  lu.assertEquals(pool:submit(function(t) return #t, t end, text):result(), 1e7)
  local a = array.range(1e6)
  local back = pool:submit(function(x) return x * 2 end, a):result()
  lu.assertTrue(back == a * 2)
end

function TestProcesses:test_errors_of_a_task()
  local future = pool:submit(function(x) error("bad " .. x) end, "thing")
  fails("bad thing", future.result, future)
  fails("in a worker", future.result, future)
  fails("cannot be sent", pool.submit, pool, function(x) return x end, coroutine.create(print))
  fails("cannot be sent back", function()
    return pool:submit(function() return coroutine.create(function() end) end):result()
  end)
  local refused = pool:submit(function(p) return p end, pool)
  fails("a pool cannot be sent to a worker process", refused.result, refused)
  for i = 1, 4 do -- of what was refused nothing is half sent: the same function goes on
    lu.assertEquals(pool:submit(function(x, other) return other and 0 or x end, i, i % 2 == 0 and parallel.event() or nil)
      :result(), i % 2 == 0 and 0 or i)
    fails("cannot be sent", function()
      return pool:submit(function(x, other) return other and 0 or x end, i, pool):result()
    end)
    fails("cannot be sent", function()
      return pool:submit(function() return function() return i end, parallel.event() end):result()
    end)
    lu.assertEquals(pool:submit(function() return function() return i end end):result()(), i)
  end
  local future_of = pool:submit(function() return 1 end)
  fails("a future cannot be sent to a worker process", function() return pool:submit(function(f) return f end, future_of):result() end)
end

function TestProcesses:test_shared_objects()
  local mutex, counter, total = parallel.mutex(), parallel.atomic(0), parallel.shared_array(1)
  pool:for_each(function()
    for _ = 1, 20 do
      mutex:with(function() total[1] = total[1] + 1 end)
      counter:add(1)
    end
  end, parallel.range(1, 10), { chunksize = 1 })
  lu.assertEquals({ total[1], counter:get(), mutex.locked }, { 200, 200, false })
  lu.assertTrue(pool:submit(function() return mutex end):result() == mutex)
  lu.assertEquals(pool:submit(function() return counter:compare_exchange(200, 5), counter:get(), counter:exchange(1.0) end)
    :result(), true)

  local barrier, event, latch = parallel.barrier(2), parallel.event(), parallel.latch(2)
  local places = pool:map(function() return barrier:wait() end, { 1, 2 }, { chunksize = 1 })
  table.sort(places)
  lu.assertEquals(places, { 1, 2 })
  local waits = pool:submit(function() event:wait() latch:wait() return "both" end)
  pool:submit(function() latch:count_down() end):result()
  event:set()
  latch:count_down()
  lu.assertEquals(waits:result(), "both")

  local semaphore, rwlock = parallel.semaphore(1), parallel.rwlock()
  lu.assertEquals({ pool:submit(function()
    local first, second = semaphore:acquire(), semaphore:acquire(0)
    semaphore:release(2)
    rwlock:with_read(function() end)
    return first, second, semaphore.value, rwlock:try_lock_write(), tostring(semaphore)
  end):result() }, { true, false, 2, true, "semaphore (2)" })

  local condition, state = parallel.condition(), parallel.shared_array(1)
  local woken = pool:submit(function()
    condition.mutex:lock()
    condition:wait_for(function() return state[1] == 1 end)
    condition.mutex:unlock()
    return "woken"
  end)
  condition.mutex:with(function() state[1] = 1 condition:notify() end)
  lu.assertEquals(woken:result(), "woken")
  fails("cannot be sent to a worker process", function() return pool:submit(function() return parallel.mutex() end):result() end)
end

-- Nobody else wants a lock: it takes no question to the parent. Somebody does: it does. All are counted alike.
function TestProcesses:test_locks_that_several_want()
  local mutex, counter, half, total = parallel.mutex(), parallel.atomic(0), parallel.atomic(0, "float64"),
    parallel.shared_array(1)
  local both, rounds = parallel.barrier(2), 3000
  local held = pool:map(function()
    both:wait()
    for _ = 1, rounds do
      mutex:lock()
      total[1] = total[1] + 1
      mutex:unlock()
      counter:add(1)
      half:sub(0.5)
    end
    return mutex.locked
  end, { 1, 2 }, { chunksize = 1 })
  lu.assertEquals(#held, 2)
  lu.assertEquals({ total[1], counter:get(), half:get(), mutex.locked }, { 2 * rounds, 2 * rounds, -rounds, false })
  local first, again, why, shown, twice = pool:submit(function()
    local first = mutex:try_lock()
    local again, why = pcall(mutex.lock, mutex)
    local shown = tostring(mutex)
    mutex:unlock()
    return first, again, why, shown, (pcall(mutex.unlock, mutex))
  end):result()
  lu.assertEquals({ first, again, shown, twice }, { true, false, "mutex (locked here)", false })
  lu.assertStrMatches(why, ".*is locked by worker %d already, which would wait for itself.*")
end

-- A task that ends with a lock held has abandoned it, although its process lives on.
function TestProcesses:test_locks_that_a_task_keeps()
  local mutex, other = parallel.mutex(), parallel.mutex()
  pool:submit(function() mutex:lock() other:lock() other:unlock() end):result()
  fails("was locked by a task that ended without unlocking it", mutex.lock, mutex)
  for _ = 1, 4 do
    fails("was locked by a task that ended", function() pool:submit(function() mutex:lock() end):result() end)
    lu.assertTrue(pool:submit(function() other:lock() other:unlock() return not other.locked end):result())
  end
  -- Locked by a question and unlocked without one, or the other way round.
  local gate, asked = parallel.event(), parallel.event()
  other:lock()
  local future = pool:submit(function()
    asked:set()
    other:lock()
    other:unlock()
    gate:wait()
    return other:try_lock(), other:unlock()
  end)
  asked:wait()
  other:unlock()
  other:with(function() end)
  gate:set()
  lu.assertTrue(future:result())
  lu.assertTrue(other:try_lock())
  other:unlock()
end

function TestProcesses:test_queues()
  local inbox, outbox = parallel.queue(), parallel.queue(2)
  local worker = pool:submit(function()
    for value in inbox:values() do
      outbox:put(type(value) == "table" and value.x or value)
    end
    outbox:close()
    return inbox.closed, outbox.capacity
  end)
  inbox:put(1)
  inbox:put { x = "text" }
  inbox:put(array.range(3))
  inbox:close()
  local got = {}
  for value in outbox:values() do
    got[#got + 1] = value
  end
  lu.assertEquals({ got[1], got[2] }, { 1, "text" })
  lu.assertTrue(got[3] == array.range(3))
  lu.assertEquals({ worker:result() }, { true, 2 })
  fails("the queue was closed", function() return pool:submit(function() inbox:put(1) end):result() end)
  lu.assertEquals({ pool:submit(function(q) return q:get(0) end, parallel.queue()):result() }, { nil, "timeout" })
  fails("deadlock", function() return pool:submit(function(q) return q:get() end, parallel.queue()):result() end)
end

function TestProcesses:test_pipes()
  local here, there = parallel.pipe()
  local worker = pool:submit(function(connection)
    local question = connection:recv()
    connection:send { question.x + 1, "answer" }
    connection:send(array.range(3))
    connection:close()
    return connection:recv()
  end, there)
  here:send { x = 41 }
  lu.assertEquals(here:recv(), { 42, "answer" })
  lu.assertTrue(here:recv() == array.range(3))
  lu.assertEquals({ here:recv() }, { nil, "closed" })
  here:send("last")
  lu.assertEquals(worker:result(), "last")
  lu.assertTrue(here:poll())
  -- Between two workers; and threads have them too.
  for _, workers in ipairs { pool, parallel.pool(2) } do
    local a, b = parallel.pipe(1)
    local both = workers:starmap(function(connection, first)
      if first then connection:send(1) end
      for _ = 1, 10 do
        connection:send(connection:recv() + 1)
      end
      return first and 0 or connection:recv()
    end, { { a, true }, { b, false } }, { chunksize = 1 })
    lu.assertEquals(both, { 0, 21 })
  end
  lu.assertEquals({ parallel.pipe():recv(0) }, { nil, "timeout" })
  fails("nil cannot be sent", here.send, here, nil)
  fails("has no method 'receive'", function() here:receive() end)
  fails("its capacity", parallel.pipe, 0)
  lu.assertStrContains(tostring(here), "connection (")
end

function TestProcesses:test_locks_of_the_dead()
  local mutex = parallel.mutex()
  local future = pool:submit(function() mutex:lock() os.exit(5) end)
  fails("exit code 5", future.result, future)
  fails("ended without unlocking", mutex.lock, mutex)
  -- One that ends while it waits does not get the lock.
  local other, at = parallel.mutex(), parallel.shared_array(1)
  other:lock()
  local waits = pool:submit(function()
    local ffi = require "ffi"
    ffi.cdef "int getpid(void);"
    at[1] = ffi.C.getpid()
    other:lock()
  end)
  while at[1] == 0 do
    pg.timer.sleep(0.001)
  end
  os.execute(("kill -9 %d"):format(at[1]))
  fails("was killed by signal 9", waits.result, waits)
  other:unlock()
  lu.assertTrue(other:try_lock())
  other:unlock()
end

function TestProcesses:test_deadlocks_between_processes()
  local a, b, both = parallel.mutex(), parallel.mutex(), parallel.barrier(2)
  local function cross(first, second)
    first:lock()
    both:wait()
    second:lock()
    second:unlock()
    first:unlock()
  end
  local one, two = pool:submit(cross, a, b), pool:submit(cross, b, a)
  local fine_one, text_one = pcall(one.result, one)
  local fine_two, text_two = pcall(two.result, two)
  lu.assertFalse(fine_one and fine_two)
  lu.assertStrContains(tostring(text_one) .. tostring(text_two), "deadlock")
end

function TestProcesses:test_the_end_of_a_worker_is_an_error_of_its_task()
  local ends = {
    { "was killed by signal 9", function() local ffi = require "ffi" ffi.cdef "int raise(int);" ffi.C.raise(9) end },
    { "ended with exit code 7", function() os.exit(7) end },
    { "ended with exit code 0", function() os.exit(0) end },
  }
  local futures, others = {}, {}
  for i, one in ipairs(ends) do
    futures[i] = pool:submit(one[2])
    others[i] = pool:submit(function(x) return x end, i)
  end
  for i, one in ipairs(ends) do
    fails(one[1], futures[i].result, futures[i])
    fails("while it ran this task", futures[i].result, futures[i])
    lu.assertEquals(others[i]:result(), i) -- nothing else is lost
  end
  lu.assertEquals(pool:map(function(x) return x end, { 1, 2, 3, 4 }), { 1, 2, 3, 4 })
  fails("ended with exit code 3", function()
    pool:map(function(x) if x == 5 then os.exit(3) end return x end, parallel.range(1, 9), { chunksize = 1 })
  end)
  lu.assertEquals(#pool:map(function(x) return x end, parallel.range(1, 100)), 100)
end

function TestProcesses:test_initialiser()
  local shared = parallel.shared_array(3)
  local own = parallel.processes(2, { initializer = function(x) shared[parallel.worker()] = x end, initargs = { 42 } })
  own:map(function(x) return x end, { 1, 2 })
  own:close()
  lu.assertEquals(shared:totable(), { 42, 42, 0 })
  local broken = parallel.processes(1, { initializer = function() error("no way") end })
  fails("no way", function() return broken:submit(function() end):result() end)
  local dead = parallel.processes(1, { initializer = function() os.exit(4) end })
  fails("the initialiser failed: worker 1 ended with exit code 4\n", function()
    local ok, message = pcall(function() return dead:submit(function() end):result() end)
    error(message .. "\n", 0)
  end)
end

function TestProcesses:test_pools_in_processes()
  lu.assertEquals(pool:submit(function()
    local own = parallel.processes(1)
    local result = own:map(function(x) return x + 1 end, { 1, 2 })
    own:close()
    return result
  end):result(), { 2, 3 })
  lu.assertEquals(pool:submit(function()
    return parallel.pool(2):map(function(x) return x + 1 end, { 1, 2 })
  end):result(), { 2, 3 })
end

-- A script whose task never ends comes to its end all the same.
function TestProcesses:test_a_pool_that_is_let_go()
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write([[
    local parallel = require "perigee.parallel"
    local begun = parallel.queue()
    parallel.processes(1):submit(function() begun:put(1) while true do end end)
    begun:get()
    print("the end")]])
  file:close()
  local link = io.popen("readlink /proc/$PPID/exe")
  local perigee = link:read("*l")
  link:close()
  local output = io.popen(("'%s' run %s 2>&1"):format(perigee, path))
  local text = output:read("*a")
  lu.assertEquals((text:gsub("perigee: the script has let go of a pool[^\n]*\n", "")), "the end\n") -- where that takes long
  output:close()
  os.remove(path)
end

function TestProcesses:test_wrong_use()
  fails("a number of workers from 1 to", parallel.processes, 0)
  fails("a number of workers from 1 to", parallel.processes, 10000)
  fails("a number of workers from 1 to", parallel.processes, "two")
  fails("unknown option", parallel.processes, 2, { initialiser = print })
  local closed = parallel.processes(1)
  closed:close()
  fails("shut down", closed.submit, closed, function() end)
end

-- Last: what is left of all this.
function TestProcesses:test_zz_nothing_is_left()
  pool:close()
  collectgarbage()
  collectgarbage()
  local children = assert(io.popen("cat /proc/$PPID/task/*/children 2>/dev/null")):read("*a")
  local count = 0
  for pid in children:gmatch("%d+") do
    local name = io.open("/proc/" .. pid .. "/comm")
    if name then
      if name:read("*l") == "perigee-process" then
        count = count + 1
      end
      name:close()
    end
  end
  lu.assertEquals(count, 0)
end

os.exit(lu.LuaUnit.run(), true)
