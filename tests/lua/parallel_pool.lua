-- Pools of worker states, futures, and how functions and values travel.
local lu = require "luaunit"
local pg = require "perigee"
local parallel, array = pg.parallel, pg.array

local pool = parallel.pool(3)

local function fails(part, f, ...)
  local fine, message = pcall(f, ...)
  lu.assertFalse(fine)
  lu.assertStrContains(tostring(message), part)
end

-- What a worker makes of values: they go there and come back.
local function round_trip(...)
  return pool:submit(function(...) return ... end, ...):result()
end

TestTransport = {}

function TestTransport.test_values()
  lu.assertEquals({ round_trip(1.5, "text\0with zero", true, false, { 1, 2, { x = "y" } }) },
    { 1.5, "text\0with zero", true, false, { 1, 2, { x = "y" } } })
  lu.assertEquals(select("#", round_trip(nil, nil)), 2)
  lu.assertEquals(round_trip { [1] = 1, [2] = 2, [4] = 4, [-1] = "a", [0.5] = "b", [true] = "c" },
    { [1] = 1, [2] = 2, [4] = 4, [-1] = "a", [0.5] = "b", [true] = "c" })
  lu.assertEquals(tostring(round_trip(2LL ^ 62)), tostring(2LL ^ 62))
  lu.assertEquals(round_trip(array.complex(1, 2)), array.complex(1, 2))
  lu.assertTrue(round_trip(0 / 0) ~= round_trip(0 / 0))
end

function TestTransport.test_tables_keep_their_identity()
  local shared = { 1 }
  local t = round_trip { a = shared, b = shared }
  lu.assertTrue(t.a == t.b)
  local cyclic = { name = "me" }
  cyclic.self = cyclic
  local c = round_trip(cyclic)
  lu.assertTrue(c.self == c)
end

function TestTransport.test_arrays_are_shared()
  local a = array.zeros(4, 3)
  pool:submit(function(x) x[2][3] = 7 end, a):result()
  lu.assertEquals(a[2][3], 7)
  local column = a[{ {}, 3 }]
  pool:submit(function() column[4] = 8 end):result() -- a view, as an upvalue
  lu.assertEquals(a[4][3], 8)
  pool:submit(function(row) row[1] = 9 end, a[1]):result()
  lu.assertEquals(a[1][1], 9)
  local b = pool:submit(function() return array.range(5) end):result()
  lu.assertTrue(b == array.range(5))
end

function TestTransport.test_upvalues()
  local k, names = 3, { "a", "b" }
  local function add(x) return x + k end
  local function twice(x) return add(add(x)) end
  lu.assertEquals(pool:submit(function(x) return twice(x) * #names end, 1):result(), 14)
  k = 10 -- the function is sent anew, with what its upvalues are now
  lu.assertEquals(pool:submit(twice, 1):result(), 21)
  local count = 0
  pool:submit(function() count = count + 1 end):result()
  lu.assertEquals(count, 0)
end

function TestTransport.test_upvalues_keep_their_identity()
  local n = 0
  local function up() n = n + 1 end
  local function get() return n end
  lu.assertEquals(pool:submit(function() up() up() return get(), n end):result(), 2)
  local function fib(i) return i < 2 and i or fib(i - 1) + fib(i - 2) end
  lu.assertEquals(pool:submit(fib, 15):result(), 610)
  local even, odd
  function even(i) return i == 0 or odd(i - 1) end
  function odd(i) return i ~= 0 and even(i - 1) end
  lu.assertTrue(pool:submit(function() return even(10) end):result())
end

function TestTransport.test_functions_in_tables_and_results()
  local f = pool:submit(function(t) return { double = function(x) return t.inner(x) * 2 end } end,
    { inner = function(x) return x + 1 end }):result().double
  lu.assertEquals(f(4), 10)
end

function TestTransport.test_names()
  local sin, format, zeros, p = math.sin, string.format, array.zeros, pg
  lu.assertEquals(pool:submit(function() return sin(0) + zeros(3).size, format("%d", 3), math.floor(2.5),
    p.array == array, print ~= nil end):result(), 3)
  lu.assertTrue(pool:submit(function() return p.array == array end):result())
  lu.assertTrue(round_trip(math.sin) == math.sin)
  lu.assertTrue(round_trip(math) == math)
  lu.assertTrue(round_trip(array) == array)
end

function TestTransport.test_refusals()
  local log = coroutine.create(function() end)
  fails("parallel_pool.lua:", pool.submit, pool, function() return log end)
  fails("upvalue 'log' (a coroutine) cannot be sent to a worker; require or make it inside the function", pool.submit,
    pool, function() return log end)
  local function inner() return log end
  fails("upvalue 'log' of upvalue 'inner' (a coroutine) cannot be sent", pool.submit, pool,
    function() return inner() end)
  local config = { sinks = { 1, log } }
  fails("upvalue 'config'.sinks[2] (a coroutine) cannot be sent", pool.submit, pool, function() return config end)
  fails("argument 2[1].x (a table with a metatable) cannot be sent", pool.submit, pool, print, 1,
    { { x = setmetatable({}, {}) } })
  fails("list[7].f (userdata) cannot be sent", pool.map, pool, tostring, { 1, 2, 3, 4, 5, 6, { f = io.stdout } })
  fails("result 2.thread (a coroutine) cannot be sent back by a worker", function()
    pool:submit(function() return 1, { thread = coroutine.create(print) } end):result()
  end)
  fails("result (a coroutine) cannot be sent back", function()
    pool:submit(function() return coroutine.create(print) end):result()
  end)
  local deep = {}
  for _ = 1, 300 do
    deep = { deep }
  end
  fails("nested more than", pool.submit, pool, print, deep)
  lu.assertEquals(round_trip(1), 1)
end

TestFutures = {}

function TestFutures.test_errors()
  local future = pool:submit(function(x) error("bad " .. x) end, "luck")
  local fine, message = pcall(future.result, future)
  lu.assertFalse(fine)
  lu.assertStrMatches(message, "^.*parallel_pool.lua:%d+: bad luck\n  in a worker, called from:\n.*$")
  lu.assertStrContains(future:exception(), "bad luck")
  lu.assertTrue(future:done())
  lu.assertEquals(select(2, pcall(function()
    pool:submit(function() error { code = 7 } end):result()
  end)), { code = 7 })
  fails("in function 'inner'", function()
    pool:submit(function()
      local function inner() error("deep") end
      inner()
      return 1
    end):result()
  end)
end

function TestFutures.test_recursion_without_an_end()
  local function f(n)
    return 1 + f(n + 1)
  end
  fails("stack overflow: too many calls within calls", function() pool:submit(f, 1):result() end)
end

function TestFutures.test_yield_across_the_boundary()
  fails("a task cannot yield out of its worker", function() pool:submit(function() coroutine.yield(1) end):result() end)
  lu.assertEquals(pool:submit(function() -- but inside a worker's own coroutines
    local co = coroutine.wrap(function() coroutine.yield(1) end)
    return co()
  end):result(), 1)
end

function TestFutures.test_states_and_cancelling()
  local one, gate, begun = parallel.pool(1), parallel.event(), parallel.event()
  local first = one:submit(function() begun:set() gate:wait() return "first" end)
  begun:wait()
  local second = one:submit(function() return "second" end)
  local third = one:submit(function() return "third" end)
  lu.assertTrue(first:running())
  lu.assertFalse(second:done())
  lu.assertFalse(first:cancel())
  lu.assertTrue(second:cancel())
  lu.assertTrue(second:cancelled() and second:done())
  fails("TimeoutError: the task has not ended within 0.01 s", first.result, first, 0.01)
  fails("CancelledError", second.result, second)
  fails("CancelledError", second.exception, second)
  local done, others = parallel.wait({ first, second, third }, { timeout = 0 })
  lu.assertEquals({ #done, #others }, { 1, 2 })
  gate:set()
  lu.assertEquals({ first:result(), third:result() }, { "first", "third" })
  lu.assertNil(first:exception())
  one:shutdown()
end

function TestFutures.test_waiting_for_several()
  local futures = {}
  for i = 1, 20 do
    futures[i] = pool:submit(function() return i end)
  end
  local sum = 0
  for future in parallel.as_completed(futures) do
    sum = sum + future:result()
  end
  lu.assertEquals(sum, 210)
  futures[21] = pool:submit(function() error("x") end)
  local done = parallel.wait(futures, { return_when = "FIRST_EXCEPTION" })
  lu.assertTrue(#done >= 1)
  lu.assertEquals(#parallel.wait(futures), 21)
  lu.assertTrue(#parallel.wait(futures, { return_when = "FIRST_COMPLETED" }) >= 1)
  fails("return_when", parallel.wait, futures, { return_when = "SOME" })
  fails("item 2 of the list is no future", parallel.wait, { futures[1], 3 })
end

function TestFutures.test_callbacks()
  local seen = {}
  local future = pool:submit(function() return 5 end)
  future:add_done_callback(function(f) seen[#seen + 1] = f:result() end)
  parallel.wait { future }
  pool:submit(function() end):result()
  lu.assertEquals(seen, { 5 })
  future:add_done_callback(function() seen[#seen + 1] = "at once" end)
  lu.assertEquals(seen, { 5, "at once" })
end

function TestFutures.test_an_error_in_a_callback_loses_no_result()
  local calls = 0
  local future = pool:submit(function() return 5 end)
  future:add_done_callback(function() calls = calls + 1 error("told on standard error, by this test") end)
  lu.assertEquals(future:result(), 5)
  lu.assertEquals(pool:map(function(x) return x end, { 1 }), { 1 })
  lu.assertEquals(calls, 1)
end

-- Whoever waits in a worker runs what has not begun; but asking whether callbacks are due is no waiting.
function TestFutures.test_callbacks_in_a_worker_run_no_tasks()
  local one = parallel.pool(1)
  lu.assertFalse(one:submit(function()
    local later = one:submit(function() end)
    later:add_done_callback(function() end)
    pool:submit(function() end):result()
    return later:done()
  end):result())
  one:close()
end

function TestFutures.test_time_limits_hold_in_workers()
  -- Where nobody else is left, the one that waits begins the task.
  local one = parallel.pool(1)
  lu.assertEquals(one:submit(function() return one:submit(function() return 7 end):result(60) end):result(), 7)
  lu.assertEquals(one:submit(function()
    local futures = { one:submit(function() return 1 end), one:submit(function() return 2 end) }
    return #parallel.wait(futures, { timeout = 60 })
  end):result(), 2)
  lu.assertFalse(one:submit(function() -- a question is no wait
    local future = one:submit(function() end)
    return (pcall(future.result, future, 0))
  end):result())
  one:close()
  -- Where somebody may still come, it waits, and no longer than that.
  local two, gate, busy = parallel.pool(2), parallel.event(), parallel.event()
  two:submit(function() busy:set() gate:wait() end)
  busy:wait()
  local message = two:submit(function()
    local future = two:submit(function() gate:wait() end)
    return (select(2, pcall(future.result, future, 0.05)))
  end):result()
  lu.assertStrContains(message, "TimeoutError: the task has not ended within 0.05 s")
  gate:set()
  two:close()
end

TestPools = {}

function TestPools.test_sizes()
  fails("1 to 1024 is expected, got 0", parallel.pool, 0)
  fails("1 to 1024 is expected, got 10000", parallel.pool, 10000)
  fails("1 to 1024 is expected, got 1.5", parallel.pool, 1.5)
  fails("unknown option 'initialiser'", parallel.pool, 2, { initialiser = print })
  lu.assertEquals(pool.size, 3)
  fails("no field or method 'maps'", function() return pool.maps end)
  fails("a pool is expected", pool.map, print, {})
end

function TestPools.test_workers_truly_run_at_once()
  local n = 6
  local many, barrier = parallel.pool(n), parallel.barrier(n)
  local numbers = many:map(function() barrier:wait() return parallel.worker() end, parallel.range(1, n),
    { chunksize = 1 })
  table.sort(numbers)
  lu.assertEquals(numbers, { 1, 2, 3, 4, 5, 6 })
  many:close()
end

function TestPools.test_map()
  local k = 10
  lu.assertEquals(pool:map(function(x) return x * k end, { 1, 2, 3 }), { 10, 20, 30 })
  lu.assertEquals(pool:map(function(x) return x end, {}), {})
  lu.assertEquals(pool:map(function(s) return s .. "!" end, { "a", "b" }), { "a!", "b!" })
  lu.assertEquals(pool:map(function(x) if x % 2 == 0 then return x end end, { 1, 2, 3, 4 }), { [2] = 2, [4] = 4 })
  lu.assertEquals(pool:map(function(x) return x == 3 and "three" or x end, { 1, 2, 3, 4 }, { chunksize = 4 }),
    { 1, 2, "three", 4 })
  lu.assertEquals(pool:map(math.sqrt, { 4, 9 }), { 2, 3 })
  lu.assertEquals(pool:map(function(x) return x + 1 end, array.range(3)), { 2, 3, 4 })
  lu.assertEquals(pool:map(function(row) return row:sum() end, array.ones(2, 5)), { 5, 5 })
  lu.assertEquals(pool:map(function(x) return x end, parallel.range(10, 1, -4)), { 10, 6, 2 })
  local list, want = {}, {}
  for i = 1, 10007 do
    list[i], want[i] = i, i * i
  end
  lu.assertEquals(pool:map(function(x) return x * x end, list), want)
  lu.assertEquals(pool:starmap(function(a, b) return a - b end, { { 5, 1 }, { 7, 2 } }), { 4, 5 })
  fails("item 2 of the list is no list of arguments but", pool.starmap, pool, print, { { 1 }, 2 })
  fails("a list of lists of arguments is expected", pool.starmap, pool, print, array.ones(2, 2))
  fails("chunksize is an integer", pool.map, pool, print, {}, { chunksize = 0 })
  fails("a function is expected first, got a table", pool.map, pool, {}, {})
  fails("a list, an array or a range is expected", pool.map, pool, print, 5)
end

function TestPools.test_map_raises_the_first_error_of_the_list()
  for _ = 1, 5 do
    fails("item 3", pool.map, pool, function(x)
      if x >= 3 then
        error("item " .. x)
      end
    end, { 1, 2, 3, 4, 5, 6, 7, 8 }, { chunksize = 1 })
  end
  lu.assertEquals(pool:map(function(x) return x end, { 1 }), { 1 })
end

-- An error comes when no other piece runs any more, whatever the order in which pieces are waited for.
function TestPools.test_after_an_error_nothing_runs()
  local sleep = pg.timer.sleep
  for _, how in ipairs { "map", "imap", "imap_unordered" } do
    local busy, begun = parallel.atomic(0), parallel.semaphore(0)
    local function work(x)
      if x == 3 then
        begun:acquire()
        begun:acquire()
        error("the third")
      end
      busy:add(1)
      begun:release()
      if x < 6 then
        sleep(0.05)
      end
      busy:sub(1)
    end
    fails("the third", function()
      if how == "map" then
        pool:map(work, { 1, 2, 3, 4, 5, 6, 7, 8 }, { chunksize = 1 })
      else
        for _ in pool[how](pool, work, { 1, 2, 3, 4, 5, 6, 7, 8 }) do end
      end
    end)
    lu.assertEquals(tonumber(busy:get()), 0, how)
  end
end

function TestPools.test_imap()
  local got = {}
  for i, value in pool:imap(function(x) return x * 2 end, { 5, 6, 7 }) do
    got[i] = value
  end
  lu.assertEquals(got, { 10, 12, 14 })
  got = {}
  for i, value in pool:imap_unordered(function(x) return x * 2 end, { 5, 6, 7, 8 }, { chunksize = 2 }) do
    got[i] = value
  end
  lu.assertEquals(got, { 10, 12, 14, 16 })
end

function TestPools.test_loops()
  for _, partitioner in ipairs { "auto", "simple", "static", "affinity" } do
    local a = array.zeros(1000)
    pool:parallel_for(1, 1000, function(i) a[i] = a[i] + i end, { partitioner = partitioner, grain = 30 })
    lu.assertEquals(a:sum(), 500500)
  end
  local a = array.zeros(3)
  pool:parallel_for(2, 1, function(i) a[i] = 1 end)
  pool:for_each(function(i) a[i] = i end, { 1, 2, 3 })
  lu.assertEquals(a:sum(), 6)
  fails("first is an integer", pool.parallel_for, pool, 0.5, 2, print)
  fails("partitioner is", pool.parallel_for, pool, 1, 2, print, { partitioner = "best" })
  fails("partitioner is", pool.parallel_for, pool, 1, 2, print, { partitioner = 1 })
  fails("last is an integer, got inf", pool.parallel_for, pool, 1, math.huge, print)
end

function TestPools.test_pieces_that_workers_take()
  for _, partitioner in ipairs { "simple", "affinity" } do
    for _, range in ipairs { { 1, 1 }, { 5, 4 }, { -3, 9 }, { 1, 100003 } } do
      local first, last = range[1], range[2]
      local count = array.zeros(math.max(1, last - first + 1), { dtype = "int32" })
      pool:parallel_for(first, last, function(i) count[i - first + 1] = count[i - first + 1] + 1 end,
        { partitioner = partitioner })
      lu.assertTrue(first > last or (count:min() == 1 and count:max() == 1))
    end
    local calls = parallel.atomic(0)
    fails("at 7", pool.parallel_for, pool, 1, partitioner == "simple" and 1e12 or 1e5, function(i)
      calls:add(1)
      if i == 7 then -- 1e12 would take a while, were the others not told
        error("at 7")
      end
    end, { partitioner = partitioner })
  end
  -- The same workers come first to the same places, where they are there to come.
  local home, barrier = array.zeros(3), parallel.barrier(3)
  for _ = 1, 3 do
    pool:parallel_for(1, 3, function(i)
      barrier:wait()
      home[i] = parallel.worker()
    end, { partitioner = "affinity" })
    lu.assertTrue(home == array.range(3), tostring(home))
  end
end

function TestPools.test_reduce()
  local add = function(a, b) return a + b end
  lu.assertEquals(pool:reduce(add, { 1, 2, 3 }), 6)
  lu.assertEquals(pool:reduce(add, { 1, 2, 3 }, 10), 16)
  lu.assertEquals(pool:reduce(add, {}, 10), 10)
  fails("the list is empty", pool.reduce, pool, add, {})
  lu.assertFalse(pool:reduce(function(any, x) return any == true or x end, { false, false }, false))
  lu.assertEquals(pool:reduce(add, parallel.range(1, 100000), 0), 5000050000)
  lu.assertEquals(pool:reduce(function(s, x) return s .. x end, { "a", "b", "c" }), "abc")
  lu.assertEquals(pool:reduce(function(n, s) return n + #s end, { "a", "bb", "ccc" }, 0, { combine = add }), 6)
  local x = array.linspace(0, 1, 12345)
  local sum = pool:reduce(add, x)
  for n = 1, 4 do
    local other = parallel.pool(n)
    lu.assertTrue(other:reduce(add, x) == sum) -- to the last bit
    other:close()
  end
  lu.assertAlmostEquals(pool:reduce(add, x, 0, { deterministic = false }), sum, 1e-8)
end

function TestPools.test_nested()
  lu.assertEquals(pool:map(function(n)
    local sum = 0
    for _, v in ipairs(pool:map(function(x) return x * n end, { 1, 2, 3 }, { chunksize = 1 })) do
      sum = sum + v
    end
    return sum
  end, { 1, 2, 3, 4, 5, 6, 7, 8 }, { chunksize = 1 }), { 6, 12, 18, 24, 30, 36, 42, 48 })
  local function fib(n)
    if n < 2 then
      return n
    end
    local a = pool:submit(fib, n - 1)
    return pool:submit(fib, n - 2):result() + a:result()
  end
  lu.assertEquals(pool:submit(fib, 12):result(), 144)
  lu.assertEquals(pool:submit(function()
    local inner = parallel.pool(2)
    return inner:map(function(x) return x + 1 end, { 1, 2 })
  end):result(), { 2, 3 })
  fails("a worker cannot wait for the end of its own pool", function()
    pool:submit(function() pool:shutdown() end):result()
  end)
end

function TestPools.test_deadlocks_are_reported()
  local two, barrier = parallel.pool(2), parallel.barrier(3)
  -- Whoever finds it first is told; the others find the barrier broken.
  lu.assertFalse((pcall(two.map, two, function() barrier:wait() end, { 1, 2 }, { chunksize = 1 })))
  two:close()
  two = parallel.pool(2)
  local event = parallel.event()
  fails("deadlock", function() two:submit(function() event:wait() end):result() end)
  two:close()
end

function TestPools.test_tasks_that_wait_end_with_a_pool_that_is_let_go()
  local event = parallel.event()
  do
    local p = parallel.pool(1)
    local begun = parallel.event()
    p:submit(function() begun:set() event:wait() end)
    begun:wait()
  end
  do
    local p = parallel.pool(1)
    local begun = parallel.event()
    p:submit(function() begun:set() pg.timer.sleep(1e6) end)
    begun:wait()
  end
  collectgarbage()
  collectgarbage()
end

function TestPools.test_pools_that_wait_for_each_other()
  local a, b, both = parallel.pool(1), parallel.pool(1), parallel.barrier(2)
  local first = a:submit(function() both:wait() b:shutdown() end)
  local second = b:submit(function() both:wait() a:shutdown() end)
  local errors = tostring(select(2, pcall(first.exception, first))) .. tostring(select(2, pcall(second.exception, second)))
  lu.assertStrContains(errors, "deadlock: ") -- one of the three is told
  lu.assertStrContains(errors, "waits for the tasks of a pool to end")
end

function TestPools.test_memory_limit()
  local one = parallel.pool(1, { memory_limit = 2 ^ 25 })
  fails("memory limit reached", function() one:submit(function() return array.zeros(2 ^ 23) end):result() end)
  lu.assertEquals(one:submit(function() return array.ones(10):sum() end):result(), 10)
  -- Tables count as well. What filled the heap is gone with the task.
  for _ = 1, 2 do
    fails("memory limit reached: the Lua heap of a worker has grown too large", function()
      one:submit(function()
        local list = {}
        for i = 1, 1e8 do
          list[i] = i
        end
      end):result()
    end)
    lu.assertEquals(one:submit(function() return array.ones(2 ^ 20):sum() end):result(), 2 ^ 20)
  end
  one:close()
  fails("memory_limit is a number of bytes that each worker may hold, from 2^20 to 2^50, got 5", parallel.pool, 1,
    { memory_limit = 5 })
end

-- Tasks that wait for tasks run each other, as deep as a worker's stack allows; then there is an error and no end.
function TestPools.test_recursion_without_end()
  local one = parallel.pool(1)
  local function down(n)
    return one:submit(down, n + 1):result()
  end
  fails("tasks of one worker wait for each other", function() return one:submit(down, 1):result() end)
  lu.assertEquals(one:submit(function() return 3 end):result(), 3)
  one:close()
end

function TestPools.test_initializer()
  local seen = parallel.atomic(0)
  local with = parallel.pool(2, { initializer = function(n, m) seen:add(n + m) end, initargs = { 2, 3 } })
  with:map(function(x) return x end, { 1, 2 })
  with:shutdown()
  lu.assertEquals(tonumber(seen:get()), 10)
  local broken = parallel.pool(2, { initializer = function() error("no licence") end })
  fails("BrokenPool", function()
    broken:submit(function() end):result()
  end)
  broken:shutdown()
end

function TestPools.test_shutdown()
  local p = parallel.pool(1)
  local future = p:submit(function() return 1 end)
  p:shutdown()
  lu.assertTrue(p.closed)
  lu.assertEquals(future:result(), 1)
  fails("the pool was shut down", p.submit, p, print)
  p:shutdown()
  p = parallel.pool(1)
  local gate = parallel.event()
  p:submit(function() gate:wait() end)
  local waiting = p:submit(function() end)
  p:shutdown { wait = false, cancel_futures = true }
  lu.assertTrue(waiting:cancelled())
  gate:set()
  p:shutdown()
end

function TestPools.test_one_thread_in_workers()
  lu.assertEquals(pool:submit(function() return pg.threads() end):result(), 1)
end

function TestPools.test_memory_and_code_do_not_grow()
  local one = parallel.pool(1)
  local function heap()
    return one:submit(function() collectgarbage() collectgarbage() return collectgarbage("count") end):result()
  end
  local function work()
    local k = 1
    for i = 1, 200 do
      k = k + 1
      one:map(function(x) return x * k end, { 1, 2, 3 })
      one:submit(function(x) return x + i end, 1):result()
    end
  end
  work()
  local before = heap()
  work()
  work()
  lu.assertTrue(heap() - before < 64, ("the worker's heap grew by %.0f KiB"):format(heap() - before))
  one:close()
end

os.exit(lu.LuaUnit.run(), true)
