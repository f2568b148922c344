-- Tasks, streams and subprocesses. Nothing here depends on how fast the machine is: what is asserted is order, not time.
local lu = require "luaunit"
local pg = require "perigee"
local async, timer = pg.async, pg.timer
local run, sleep, gather, create_task, await = async.run, async.sleep, async.gather, async.create_task, async.await

local here = debug.getinfo(1, "S").short_src

-- The line of the caller, as errors name it.
local function line(offset)
  return ("%s:%d:"):format(here, debug.getinfo(2, "l").currentline + (offset or 0))
end

local function fails_with(expected, f, ...)
  local ok, err = pcall(f, ...)
  lu.assertFalse(ok, "no error")
  lu.assertStrContains(tostring(err), expected)
  return err
end

-- Runs a program in a process of its own; its output and standard error together, and its exit code.
local own_pid
do
  local stat = assert(io.open("/proc/self/stat"))
  own_pid = stat:read("*n")
  stat:close()
end
local function run_program(text, options)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local process = async.subprocess({ "/proc/" .. own_pid .. "/exe", "run", path }, { stdout = "pipe", stderr = "stdout",
    stdin = "null" })
  if options and options.during then
    options.during(process)
  end
  local output = process:communicate()
  os.remove(path)
  return output:gsub(path:gsub("%p", "%%%0"), "FILE"), process.returncode
end
local function after_each() -- nothing stays open, whatever a test did
  lu.assertEquals(async._left_open, 0)
end

TestTasks = { tearDown = after_each }

function TestTasks:test_run_returns_what_the_function_returns()
  lu.assertEquals({ run(function(a, b) return a + b, nil, "x" end, 1, 2) }, { 3, nil, "x" })
  lu.assertEquals(select("#", run(function() end)), 0)
  lu.assertEquals(select("#", run(function() return nil, nil end)), 2)
end

function TestTasks:test_tasks_take_turns()
  local order = {}
  local function work(name)
    for i = 1, 3 do
      order[#order + 1] = name .. i
      sleep(0)
    end
    return name
  end
  local results = run(function()
    return gather { function() return work "a" end, create_task(work, "b") }
  end)
  lu.assertEquals(results, { "a", "b" })
  -- The tasks of the list's functions begin after those that were there before.
  lu.assertEquals(order, { "b1", "a1", "b2", "a2", "b3", "a3" })
end

function TestTasks:test_sleepers_wake_in_the_order_of_their_time()
  local order = {}
  run(function()
    local tasks = {}
    for i, t in ipairs { 0.03, 0.01, 0.02, 0.001, 0.04, 0.01 } do
      tasks[i] = create_task(function()
        local before = timer.now()
        sleep(t)
        lu.assertTrue(timer.now() - before >= t)
        order[#order + 1] = before + t
      end)
    end
    gather(tasks)
  end)
  for i = 2, #order do
    lu.assertTrue(order[i] > order[i - 1] - 0.002) -- libuv's timers count milliseconds
  end
end

function TestTasks:test_await_gives_all_results_and_errors()
  run(function()
    lu.assertEquals({ await(create_task(function(...) sleep(0) return ..., 3 end, 1, 2)) }, { 1, 3 })
    local t = create_task(function() sleep(0) error("boom", 0) end)
    lu.assertEquals({ pcall(await, t) }, { false, "boom" })
    lu.assertEquals({ pcall(await, t) }, { false, "boom" }) -- again
    lu.assertEquals(t:exception(), "boom")
    lu.assertEquals({ pcall(t.result, t) }, { false, "boom" })
    local value = {}
    t = create_task(error, value)
    lu.assertIs(select(2, pcall(await, t)), value)
  end)
end

function TestTasks:test_states()
  run(function()
    local t = create_task(sleep, 0)
    lu.assertFalse(t:done())
    fails_with("the task has not ended yet; async.await(task) waits for it", t.result, t)
    fails_with("the task has not ended yet", t.exception, t)
    lu.assertEquals(async.all_tasks(), { async.current_task(), t })
    await(t)
    lu.assertTrue(t:done())
    lu.assertFalse(t:cancelled())
    lu.assertNil(t:result())
    lu.assertNil(t:exception())
    lu.assertFalse(t:cancel())
  end)
  lu.assertNil(async.current_task())
end

function TestTasks:test_gather()
  run(function()
    local results, errors = gather({ function() return 1 end, function() error("two", 0) end, function() end },
      { return_exceptions = true })
    lu.assertEquals(results, { 1, nil, nil })
    lu.assertEquals(errors, { [2] = "two" })
    lu.assertEquals(gather {}, {})
    -- The first error comes at once; the others go on.
    local go = async.event()
    local other = create_task(function() go:wait() return "fine" end)
    lu.assertEquals({ pcall(gather, { other, function() error("bad", 0) end }) }, { false, "bad" })
    lu.assertFalse(other:done())
    go:set()
    lu.assertEquals(await(other), "fine")
    local same = create_task(function() sleep(0) return 5 end)
    lu.assertEquals(gather { same, same }, { 5, 5 })
  end)
end

function TestTasks:test_wait()
  run(function()
    local function after(seconds, err)
      return create_task(function()
        sleep(seconds)
        if err then
          error(err, 0)
        end
      end)
    end
    local fast, slow = after(0), after(30)
    local done, pending = async.wait({ fast, slow }, { return_when = "FIRST_COMPLETED" })
    lu.assertIs(done[1], fast)
    lu.assertIs(pending[1], slow)
    done, pending = async.wait({ slow }, { timeout = 0.005 })
    lu.assertEquals({ #done, #pending }, { 0, 1 })
    local bad = after(0, "bad")
    done, pending = async.wait({ after(0), bad, slow }, { return_when = "FIRST_EXCEPTION" })
    lu.assertEquals({ #done, #pending }, { 2, 1 })
    lu.assertEquals(bad:exception(), "bad")
    local cancelled = after(30)
    cancelled:cancel()
    done, pending = async.wait({ cancelled, after(0), slow }, { return_when = "FIRST_EXCEPTION", timeout = 0.01 })
    lu.assertEquals({ #done, #pending }, { 2, 1 }) -- being cancelled is no error
    done, pending = async.wait { after(0), after(0.002) }
    lu.assertEquals({ #done, #pending }, { 2, 0 })
    done = async.wait({ fast, slow }, { return_when = "FIRST_COMPLETED" }) -- one has ended already
    lu.assertIs(done[1], fast)
  end)
end

function TestTasks:test_as_completed()
  local order = run(function()
    local tasks, order = {}, {}
    for i, turns in ipairs { 9, 1, 5 } do
      tasks[i] = create_task(function()
        for _ = 1, turns do
          sleep(0)
        end
        return i
      end)
    end
    for task in async.as_completed(tasks) do
      order[#order + 1] = task:result()
    end
    return order
  end)
  lu.assertEquals(order, { 2, 3, 1 })
end

function TestTasks:test_a_loop_that_was_left_wakes_nobody()
  run(function()
    local go = async.event()
    local first, second = create_task(function() end), create_task(function() go:wait() end)
    for task in async.as_completed { first, second } do
      lu.assertIs(task, first)
      break
    end
    create_task(function() go:set() end)
    local before = timer.now()
    sleep(0.02) -- second ends meanwhile
    lu.assertTrue(second:done())
    lu.assertTrue(timer.now() - before >= 0.02)
  end)
end

function TestTasks:test_waiting_goes_through_calls_pcall_iterators_and_metamethods()
  run(function()
    local t = setmetatable({}, { __index = function(_, k) sleep(0) return k end, __add = function() sleep(0) return 7 end })
    lu.assertEquals(t.x, "x")
    lu.assertEquals(t + 1, 7)
    local ok, err = pcall(function() sleep(0) error("x", 0) end)
    lu.assertEquals({ ok, err }, { false, "x" })
    for i in function(_, i) sleep(0) return (i or 0) < 3 and (i or 0) + 1 or nil end do
      lu.assertTrue(i <= 3)
    end
  end)
end

function TestTasks:test_waiting_where_it_is_impossible()
  local impossible = "a task cannot wait inside a function that C code calls"
  run(function()
    fails_with(impossible, table.sort, { 3, 1, 2 }, function() sleep(0) end)
    fails_with(impossible, string.gsub, "a", ".", function() sleep(0) end)
    fails_with("called in a coroutine of your own", coroutine.wrap(function() sleep(0) end))
    local t = create_task(function() coroutine.yield(1) end)
    fails_with(line(-1) .. " coroutine.yield in a task, where nothing takes what it yields", await, t)
    fails_with("a task cannot wait for itself", function() await(async.current_task()) end)
    fails_with("a task cannot wait for itself", function() gather { async.current_task() } end)
    -- Coroutines of one's own are fine as generators.
    local sum = 0
    for x in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do
      sum = sum + x
      sleep(0)
    end
    lu.assertEquals(sum, 6)
  end)
  fails_with("sleep: no event loop runs here; call it in a function that async.run(fn) runs", sleep, 0)
  fails_with("create_task: no event loop runs here", create_task, print)
end

function TestTasks:test_a_loop_inside_a_loop_is_refused()
  run(function()
    fails_with("run: an event loop runs already; call the function itself", run, print)
    sleep(0) -- this one goes on
  end)
end

function TestTasks:test_arguments()
  run(function()
    fails_with("sleep: seconds must be a number from 0 to 1e9, got -1", sleep, -1)
    fails_with('got "1"', sleep, "1")
    fails_with("create_task: a function is expected, got nil", create_task)
    fails_with("gather: a list of tasks or functions is expected, as in async.gather{a, b}, got a function", gather, print)
    fails_with("gather: element 2 of the list must be a task or a function, got 5", gather, { print, 5 })
    fails_with("gather: one list of tasks is expected", gather, { print }, print)
    fails_with("gather: unknown option 'return_exception'; legal are: return_exceptions; did you mean", gather, {},
      { return_exception = true })
    fails_with("wait: return_when is", async.wait, {}, { return_when = "LAST" })
    fails_with("await: a task is expected, got a function; call the function", await, print)
    fails_with("wait_for: the task or function comes first, then the seconds", async.wait_for, 1, print)
    fails_with("pass the function itself and then its arguments, as in async.create_task(f, x)", create_task, nil)
    local t = create_task(print, "")
    fails_with("cancel: a task comes first: write object:cancel(...), with a colon", t.cancel)
    fails_with("a task has no 'await'; async.await(task) waits for it", function() return t.await end)
    fails_with("a queue has no 'qsise'; did you mean 'qsize'?", function() return async.queue().qsise end)
    fails_with("a lock has no 'unlock'; release", function() return async.lock().unlock end)
    t:cancel()
    -- A task without a line of its own has that of its creation.
    fails_with(line(1) .. " sleep: seconds must be", await,
      create_task(sleep, "x"))
  end)
  fails_with("run: a function is expected, got 5", run, 5)
  fails_with("perigee.async has no function 'gater'; did you mean 'gather'?", function() return async.gater end)
end

TestErrors = { tearDown = after_each }

function TestErrors:test_main_error_is_raised_as_it_was()
  local value = {}
  lu.assertIs(select(2, pcall(run, function() error(value) end)), value)
  lu.assertEquals({ pcall(run, function() sleep(0) error("x", 0) end) }, { false, "x" })
end

function TestErrors:test_what_nobody_waited_for_is_named()
  local where = line(2)
  local err = fails_with("failed, and nothing waited for it: lost", run, function()
    create_task(function() error("lost", 0) end)
    sleep(0)
  end)
  lu.assertStrContains(err, "the task of the function at " .. where:sub(1, -2))
  -- Nothing is lost that somebody has seen.
  run(function()
    local t = create_task(error, "seen")
    async.wait { t }
    t:exception()
    create_task(function() sleep(60) end) -- cancelled at the end, which is no error
  end)
end

function TestErrors:test_deadlock_names_the_lines()
  local where
  local err = fails_with("run: deadlock: all tasks wait, and nothing is left that could wake one of them", run, function()
    local q = async.queue()
    create_task(function()
      where = line(1)
      local x = q:get()
      return x
    end)
    local lock = async.lock()
    lock:acquire()
    lock:acquire()
  end)
  lu.assertStrContains(err, where .. " the task of the function at")
  lu.assertStrContains(err, "waits (queue:get)")
  lu.assertStrContains(err, "the main task waits (lock:acquire)")
end

function TestErrors:test_traceback_goes_through_tasks()
  run(function()
    local output, code = run_program [[
local async = require "perigee.async"
local function inner(n)
  local x = n.field.more
  return x
end
local function fetch(n)
  async.sleep(0)
  local y = inner(n)
  return y
end
async.run(function()
  local t = async.create_task(fetch, {})
  local z = async.await(t)
  return z
end)
]]
    lu.assertEquals(code, 1)
    lu.assertEquals(output, [[
perigee: FILE:3: attempt to index field 'field' (a nil value)
called from, innermost first:
  FILE: in function 'inner'
  FILE:8: in the function defined at line 6
  FILE:12: in async.create_task or the like
  FILE:13: in the function defined at line 11
  FILE:11: in the main chunk
]])
  end)
end

function TestErrors:test_frames_stay_through_with_and_repeated_errors()
  run(function()
    local output = run_program [[
local async = require "perigee.async"
local function deep()
  error("deep")
end
async.run(function()
  local lock = async.lock()
  local function inner()
    lock:with(function()
      async.sleep(0)
      deep()
    end)
    return 1
  end
  local function outer()
    local x = async.await(async.create_task(inner))
    return x
  end
  for _ = 1, 3 do
    pcall(outer)
  end
  local y = outer()
  return y
end)
]]
    lu.assertEquals(output, [[
perigee: FILE:3: deep
called from, innermost first:
  FILE:3: in function 'deep'
  FILE:10: in the function defined at line 8
  FILE:8: in the function defined at line 7
  FILE:15: in async.create_task or the like
  FILE:15: in function 'outer'
  FILE:21: in the function defined at line 5
  FILE:5: in the main chunk
]])
  end)
end

TestCancel = { tearDown = after_each }

function TestCancel:test_cancelled_tasks_can_clean_up()
  run(function()
    local cleaned
    local t = create_task(function()
      local ok, err = pcall(sleep, 60)
      lu.assertFalse(ok)
      lu.assertTrue(err == async.CancelledError)
      lu.assertFalse(err == async.TimeoutError)
      sleep(0.001) -- clean-up may wait
      cleaned = true
      error(err, 0)
    end)
    sleep(0)
    lu.assertTrue(t:cancel())
    local ok, err = pcall(await, t)
    lu.assertFalse(ok)
    lu.assertTrue(err == async.CancelledError)
    lu.assertTrue(cleaned)
    lu.assertTrue(t:cancelled())
    lu.assertTrue(t:exception() == async.CancelledError)
  end)
end

function TestCancel:test_a_task_that_has_not_begun()
  run(function()
    local began = false
    local t = create_task(function() began = true end)
    t:cancel()
    sleep(0)
    lu.assertTrue(t:cancelled())
    lu.assertFalse(began)
    fails_with("the task was cancelled", await, t)
  end)
end

function TestCancel:test_oneself()
  run(function()
    local t = create_task(function()
      async.current_task():cancel()
      sleep(0)
      return "never"
    end)
    async.wait { t }
    lu.assertTrue(t:cancelled())
  end)
end

function TestCancel:test_a_task_that_survives_its_cancellation()
  run(function()
    local t = create_task(function() pcall(sleep, 60) return "stayed" end)
    sleep(0)
    t:cancel()
    lu.assertEquals(await(t), "stayed")
    lu.assertFalse(t:cancelled())
  end)
end

function TestCancel:test_it_reaches_what_is_awaited()
  run(function()
    local inner = create_task(sleep, 60)
    local outer = create_task(await, inner)
    sleep(0)
    outer:cancel()
    async.wait { outer }
    lu.assertTrue(inner:cancelled())
    lu.assertTrue(outer:cancelled())
    -- A gather cancels all, a shield none.
    local a, b = create_task(sleep, 60), create_task(sleep, 60)
    outer = create_task(gather, { a, b })
    sleep(0)
    sleep(0)
    outer:cancel()
    async.wait { outer }
    lu.assertTrue(a:cancelled() and b:cancelled() and outer:cancelled())
    local go = async.event()
    inner = create_task(go.wait, go)
    outer = create_task(async.shield, inner)
    sleep(0)
    outer:cancel()
    async.wait { outer }
    lu.assertTrue(outer:cancelled())
    lu.assertFalse(inner:done())
    go:set()
    await(inner)
  end)
end

function TestCancel:test_wait_for()
  run(function()
    lu.assertEquals({ async.wait_for(function() sleep(0) return 1, 2 end, 60) }, { 1, 2 })
    fails_with("bad", async.wait_for, function() error("bad", 0) end, 60)
    local t = create_task(sleep, 60)
    local err = fails_with("wait_for: timed out after 0.005 s", async.wait_for, t, 0.005)
    lu.assertTrue(err == async.TimeoutError)
    lu.assertTrue(t:cancelled())
    -- One that waits is cancelled itself.
    t = create_task(sleep, 60)
    local outer = create_task(async.wait_for, t, 60)
    sleep(0)
    outer:cancel()
    async.wait { outer }
    lu.assertTrue(t:cancelled() and outer:cancelled())
    -- Time limits inside of each other: the inner one first.
    err = fails_with("after 0.002 s", async.wait_for, function()
      async.wait_for(function() sleep(60) end, 0.002)
    end, 60)
    lu.assertTrue(err == async.TimeoutError)
  end)
end

function TestCancel:test_the_end_of_run_cancels_what_is_left()
  local cleaned = 0
  run(function()
    for _ = 1, 10 do
      create_task(function()
        local ok, err = pcall(sleep, 60)
        cleaned = cleaned + (ok and 0 or 1)
        error(err, 0)
      end)
    end
    sleep(0)
  end)
  lu.assertEquals(cleaned, 10)
end

function TestCancel:test_interrupt()
  run(function()
    local output, code = run_program([[
local async = require "perigee.async"
async.run(function()
  async.create_task(function()
    pcall(async.sleep, 60)
    print("cleaned up")
  end)
  async.sleep(0)
  async.subprocess({ "echo", "ready" }):wait()
  async.sleep(60)
end)
]], { during = function(process)
      lu.assertEquals(process.stdout:read_line(), "ready")
      process:kill("INT")
    end })
    lu.assertEquals(code, 1)
    lu.assertStrContains(output, "cleaned up")
    lu.assertStrMatches(output, ".*perigee: FILE:[89]: interrupted %(Ctrl%-C%)\n.*") -- it may not have left line 8 yet
  end)
end

-- In a task that does not wait, the first one says what it waits for, the second one ends the program.
function TestCancel:test_interrupt_while_computing()
  run(function()
    local _, code = run_program([[
local async = require "perigee.async"
async.run(function()
  async.subprocess { "echo", "ready" }
  while true do end
end)
]], { during = function(process)
      lu.assertEquals(process.stdout:read_line(), "ready")
      process:kill("INT")
      local line
      repeat
        line = process.stdout:read_line()
      until not line or line:find("stopping when")
      lu.assertStrContains(line, "Ctrl-C once more ends the program")
      process:kill("INT")
    end })
    lu.assertEquals(code, -2)
  end)
end

TestSync = { tearDown = after_each }

function TestSync:test_queue()
  run(function()
    local q, seen = async.queue(2), {}
    local consumer = create_task(function()
      for _ = 1, 6 do
        seen[#seen + 1] = q:get()
        q:task_done()
      end
    end)
    for i = 1, 6 do
      q:put(i)
      lu.assertTrue(q:qsize() <= 2)
    end
    q:join()
    await(consumer)
    lu.assertEquals(seen, { 1, 2, 3, 4, 5, 6 })
    lu.assertTrue(q:empty())
    lu.assertNil(q:get_nowait())
    lu.assertTrue(q:put_nowait("a"))
    lu.assertTrue(q:put_nowait("b"))
    lu.assertFalse(q:put_nowait("c"))
    lu.assertTrue(q:full())
    lu.assertEquals(q:get_nowait(), "a")
    fails_with("queue:put: nil cannot be put into a queue", q.put, q, nil)
    fails_with("queue: its size is an integer, 0 (any number) or more, got -1", async.queue, -1)
    q:task_done()
    q:task_done()
    fails_with("queue:task_done: called more often than values were put", q.task_done, q)
  end)
end

function TestSync:test_a_cancelled_getter_takes_nothing()
  run(function()
    local q = async.queue()
    local a, b = create_task(q.get, q), create_task(q.get, q)
    sleep(0)
    q:put("x") -- wakes a, which is cancelled before it runs
    a:cancel()
    lu.assertEquals(await(b), "x")
    lu.assertTrue(a:cancelled())
    local full = async.queue(1)
    full:put(1)
    local c, d = create_task(full.put, full, 2), create_task(full.put, full, 3)
    sleep(0)
    full:get()
    c:cancel()
    await(d)
    lu.assertEquals(full:get(), 3)
    pcall(await, c)
  end)
end

function TestSync:test_event()
  run(function()
    local event, order = async.event(), {}
    for i = 1, 3 do
      create_task(function()
        event:wait()
        order[#order + 1] = i
      end)
    end
    sleep(0)
    lu.assertFalse(event:is_set())
    event:set()
    event:wait()
    sleep(0)
    lu.assertEquals(order, { 1, 2, 3 })
    event:clear()
    fails_with("timed out", async.wait_for, function() event:wait() end, 0.002)
  end)
end

function TestSync:test_lock_and_semaphore()
  run(function()
    local lock, inside, most, order = async.lock(), 0, 0, {}
    local function enter_it(with, i)
      with:with(function()
        inside = inside + 1
        most = math.max(most, inside)
        sleep(0)
        sleep(0)
        inside = inside - 1
        order[#order + 1] = i
      end)
    end
    local function all(with)
      local tasks = {}
      for i = 1, 6 do
        tasks[i] = create_task(enter_it, with, i)
      end
      gather(tasks)
    end
    all(lock)
    lu.assertEquals(most, 1)
    lu.assertEquals(order, { 1, 2, 3, 4, 5, 6 })
    most = 0
    local three = async.semaphore(3)
    all(three)
    lu.assertEquals(most, 3)
    lu.assertFalse(lock:locked() or three:locked())
    lu.assertEquals({ lock:with(function(...) return ..., 5 end, 1) }, { 1, 5 })
    fails_with("inside", lock.with, lock, function() error("inside", 0) end)
    lu.assertFalse(lock:locked())
    fails_with("lock:release: the lock is not held", lock.release, lock)
    -- Cancelled after its turn has come: the next one gets it.
    lock:acquire()
    local a, b = create_task(lock.acquire, lock), create_task(lock.acquire, lock)
    sleep(0)
    lock:release()
    a:cancel()
    await(b)
    lu.assertTrue(lock:locked())
  end)
end

TestStreams = { tearDown = after_each }

function TestStreams:test_echo_over_tcp()
  run(function()
    local server = async.serve("localhost", 0, function(stream)
      for text in stream:lines() do
        stream:write("<", text, ">\n")
      end
    end)
    lu.assertTrue(server.port > 0)
    local function client(i)
      local stream = async.connect("127.0.0.1", server.port)
      for j = 1, 5 do
        stream:write(i, " ", j, "\n")
        lu.assertEquals(stream:read_line(), ("<%d %d>"):format(i, j))
      end
      stream:write_eof()
      lu.assertNil(stream:read_line())
      stream:close()
      lu.assertTrue(stream:closed())
    end
    local clients = {}
    for i = 1, 20 do
      clients[i] = create_task(client, i)
    end
    gather(clients)
    server:close()
    server:wait_closed()
    fails_with("connection refused", async.connect, "localhost", server.port)
  end)
end

function TestStreams:test_much_data_and_a_slow_reader()
  run(function()
    local size = 3e6 -- more than the buffers of the operating system hold
    local server = async.serve("localhost", 0, function(stream)
      local got = stream:read()
      stream:write(#got, "\n", got:sub(-5))
    end)
    local stream = async.connect("localhost", server.port)
    stream:write(("x"):rep(size), "12345")
    stream:write_eof()
    lu.assertEquals(stream:read_line(), tostring(size + 5))
    lu.assertEquals(stream:read_exactly(5), "12345")
    fails_with("stream:read_exactly: the stream ended after 0 of 1 bytes", stream.read_exactly, stream, 1)
    lu.assertNil(stream:read(10))
    stream:close()
    server:close()
  end)
end

function TestStreams:test_cancelled_reads_lose_nothing()
  run(function()
    local go = async.event()
    local server = async.serve("localhost", 0, function(stream)
      go:wait()
      stream:write("one\ntwo\n")
    end)
    local stream = async.connect("localhost", server.port)
    fails_with("timed out", async.wait_for, function() stream:read_line() end, 0.002)
    go:set()
    lu.assertEquals(stream:read_line(), "one")
    lu.assertEquals(stream:read_line(), "two")
    stream:close()
    server:close()
    -- One that reads to the end has taken a part when it is cancelled.
    local half = async.event()
    server = async.serve("localhost", 0, function(other)
      other:write("one")
      half:wait()
      other:write("two")
    end)
    stream = async.connect("localhost", server.port)
    fails_with("timed out", async.wait_for, function() return stream:read() end, 0.02)
    half:set()
    lu.assertEquals(stream:read(), "onetwo")
    stream:close()
    server:close()
  end)
end

function TestStreams:test_misuse()
  run(function()
    local server = async.serve("localhost", 0, function(stream) stream:read(1) end)
    local stream = async.connect("localhost", server.port)
    fails_with("stream:write: argument 2 must be a string or a number, got nil", stream.write, stream, "a", nil)
    fails_with("stream:read: how many bytes is an integer, 1 or more, got 0", stream.read, stream, 0)
    local reader = create_task(stream.read, stream, 1)
    sleep(0)
    fails_with("stream:read_line: another task is reading from this stream", stream.read_line, stream)
    stream:close()
    fails_with("the stream was closed while a task read from it", await, reader)
    fails_with("stream:write: the stream is closed", stream.write, stream, "x")
    fails_with("stream:read: the stream is closed", stream.read, stream)
    stream:close()
    fails_with("not supported: connect: only this machine itself can be reached", async.connect, "example.com", 80)
    fails_with("connect: the port is an integer from 1 to 65535, got 0", async.connect, "localhost", 0)
    fails_with("serve: the third argument is a function", async.serve, "localhost", 0)
    fails_with("address already in use", async.serve, "localhost", server.port, print)
    server:close()
  end)
end

function TestStreams:test_writing_to_one_who_has_gone()
  run(function()
    local server = async.serve("localhost", 0, function() end)
    local stream = async.connect("localhost", server.port)
    lu.assertNil(stream:read(1)) -- closed on the other side
    local ok, err
    for _ = 1, 100 do
      ok, err = pcall(stream.write, stream, ("x"):rep(1e5))
      if not ok then
        break
      end
    end
    lu.assertFalse(ok)
    lu.assertStrMatches(err, ".*stream:write: .*")
    stream:close()
    server:close()
  end)
end

function TestStreams:test_what_is_left_open_is_closed()
  run(function()
    local server = async.serve("localhost", 0, function(stream) stream:read(1) end)
    async.connect("localhost", server.port)
    async.subprocess({ "sleep", "60" }, { stdin = "pipe" })
    sleep(0.001)
  end)
  lu.assertTrue(async._left_open >= 3)
  run(function() end)
end

TestProcesses = { tearDown = after_each }

function TestProcesses:test_output_and_exit_codes()
  run(function()
    local p = async.subprocess({ "sh", "-c", "cat; echo problem >&2; exit 3" },
      { stdin = "pipe", stdout = "pipe", stderr = "pipe" })
    lu.assertTrue(p.pid > 0)
    lu.assertEquals({ p:communicate("some input") }, { "some input", "problem\n" })
    lu.assertEquals(p:wait(), 3)
    lu.assertEquals(p.returncode, 3)
    p:kill() -- has ended: nothing happens
    p = async.subprocess({ "sh", "-c", "echo a; echo b >&2" }, { stdout = "pipe", stderr = "stdout" })
    lu.assertEquals(p:communicate(), "a\nb\n")
    p = async.subprocess({ "sh", "-c", "echo $NAME $HOME; pwd" }, { stdout = "pipe", cwd = "/", env = { NAME = "x" } })
    lu.assertEquals(p:communicate(), "x\n/\n")
    p = async.subprocess({ "cat" }, { stdin = "null", stdout = "pipe" })
    lu.assertEquals(p:communicate(), "")
  end)
end

function TestProcesses:test_signals()
  run(function()
    for signal, code in pairs { KILL = -9, TERM = -15, [2] = -2 } do
      local p = async.subprocess { "sleep", "60" }
      p:kill(signal)
      lu.assertEquals(p:wait(), code)
    end
    local p = async.subprocess { "sleep", "60" }
    fails_with('process:kill: a signal\'s number from 1 to 64 or its name is expected', p.kill, p, "WINK")
    local waiter = create_task(p.wait, p)
    sleep(0)
    waiter:cancel() -- does not end the process
    fails_with("cancelled", await, waiter)
    lu.assertNil(p.returncode)
    p:terminate()
    lu.assertEquals(p:wait(), -15)
  end)
end

function TestProcesses:test_misuse()
  run(function()
    fails_with("subprocess: cannot run 'no-such-program': no such file or directory", async.subprocess,
      { "no-such-program" })
    fails_with("cannot run 'ls' in '/no/such/folder'", async.subprocess, { "ls" }, { cwd = "/no/such/folder" })
    fails_with('subprocess: a list of strings is expected, as in {"ls", "-l"}, got "ls -l"', async.subprocess, "ls -l")
    fails_with("element 2 is a table", async.subprocess, { "ls", {} })
    fails_with('subprocess: stdin is "inherit", "pipe" or "null", got "file"', async.subprocess, { "ls" },
      { stdin = "file" })
    fails_with("unknown option 'shell'", async.subprocess, { "ls" }, { shell = true })
    local p = async.subprocess({ "true" })
    fails_with("there is no pipe to write the input to", p.communicate, p, "x")
    p:wait()
  end)
end

TestPools = { tearDown = after_each }

function TestPools:test_calls_in_workers()
  local pool = pg.parallel.pool(2)
  run(function()
    local function add(a, b) return a + b, "more" end
    lu.assertEquals({ async.run_in_pool(pool, add, 1, 2) }, { 3, "more" })
    lu.assertEquals({ await(pool:submit(add, 3, 4)) }, { 7, "more" })
    local done = pool:submit(add, 1, 1)
    done:result()
    lu.assertEquals({ await(done) }, { 2, "more" })
    lu.assertEquals(gather { pool:submit(add, 5, 6), function() return "here" end }, { 11, "here" })
    lu.assertStrContains(fails_with("went wrong", async.run_in_pool, pool, function() error("went wrong") end),
      "in a worker, called from:")
    fails_with("run_in_pool: a pool is expected (parallel.pool(n)), got 5", async.run_in_pool, 5, add)
    fails_with("run_in_pool: a function is expected, got nil", async.run_in_pool, pool)
    -- A loop in a worker.
    lu.assertEquals(async.run_in_pool(pool, function()
      local inner = require "perigee.async"
      return inner.run(function() inner.sleep(0) return 5 end)
    end), 5)
  end)
  pool:shutdown()
end

function TestPools:test_other_tasks_run_meanwhile()
  local pool, go = pg.parallel.pool(1), pg.parallel.event()
  run(function()
    create_task(function()
      sleep(0.001)
      go:set() -- which the worker waits for
    end)
    lu.assertEquals(async.run_in_pool(pool, function() go:wait() return "done" end), "done")
  end)
  pool:shutdown()
end

function TestPools:test_time_limits_and_cancelling()
  local pool, go = pg.parallel.pool(1), pg.parallel.event()
  run(function()
    local busy = pool:submit(function() go:wait() end)
    while not busy:running() do
      sleep(0.001)
    end
    local waits = pool:submit(function() end)
    fails_with("timed out", async.wait_for, busy, 0.002)
    local t = create_task(await, waits)
    sleep(0)
    t:cancel()
    fails_with("the task was cancelled", await, t)
    lu.assertTrue(waits:cancelled()) -- it had not begun
    fails_with("the task was cancelled", await, waits)
    lu.assertFalse(busy:cancelled())
    -- Ends while nobody waits for it any more.
    create_task(await, busy)
    go:set()
  end)
  pool:shutdown()
end

-- Of several tasks that wait for one call, one may give up: the others are told all the same.
function TestPools:test_several_wait_for_one_call()
  local pool, go = pg.parallel.pool(1), pg.parallel.event()
  run(function()
    local busy = pool:submit(function() go:wait() return 5 end)
    while not busy:running() do
      sleep(0.001)
    end
    local first, second = create_task(await, busy), create_task(await, busy)
    sleep(0)
    first:cancel()
    fails_with("the task was cancelled", await, first)
    go:set()
    lu.assertEquals(await(second), 5)
    lu.assertEquals(gather { busy, busy }, { 5, 5 })
  end)
  pool:shutdown()
end

function TestPools:test_many()
  local pool = pg.parallel.pool(3)
  run(function()
    local function square(x) return x * x end
    local tasks = {}
    for i = 1, 500 do
      tasks[i] = i % 2 == 0 and pool:submit(square, i) or create_task(async.run_in_pool, pool, square, i)
    end
    for i, x in ipairs(gather(tasks)) do
      lu.assertEquals(x, i * i)
    end
  end)
  pool:shutdown()
end

TestStress = { tearDown = after_each }

-- Thousands of tasks, each with random waits, time limits and cancellations: all end, and as they should.
function TestStress:test_random_cancels_and_timeouts()
  local seed = 12345
  local function random(n)
    seed = (seed * 1103515245 + 12345) % 2 ^ 31
    return math.floor(seed / 2 ^ 16) % n
  end
  run(function()
    local queue, lock, semaphore, event = async.queue(5), async.lock(), async.semaphore(3), async.event()
    local count, cleaned, inside = 3000, 0, 0
    local function careful(f, ...)
      local ok, err = pcall(f, ...)
      if not ok and err == async.CancelledError then
        cleaned = cleaned + 1
        error(err, 0)
      elseif not ok and err ~= async.TimeoutError then
        error(err, 0)
      end
    end
    local function work(kind)
      if kind == 0 then
        sleep(random(5) / 1000)
      elseif kind == 1 then
        queue:put(1)
      elseif kind == 2 then
        queue:get()
      elseif kind == 3 then
        lock:with(function()
          inside = inside + 1
          assert(inside == 1)
          local ok, err = pcall(sleep, random(2) / 1000)
          inside = inside - 1
          if not ok then
            error(err, 0)
          end
        end)
      elseif kind == 4 then
        semaphore:with(sleep, 0)
      elseif kind == 5 then
        gather { function() sleep(random(3) / 1000) end, function() sleep(0) end }
      elseif kind == 6 then
        event:wait()
      else
        error("failed", 0)
      end
    end
    local tasks = {}
    for i = 1, count do
      local kind, limit = random(8), random(20)
      tasks[i] = create_task(careful, function()
        if limit > 0 then
          async.wait_for(function() work(kind) end, limit / 1000)
        else
          work(kind)
        end
      end)
      if i % 10 == 0 then
        sleep(0)
        tasks[random(i) + 1]:cancel()
      end
    end
    event:set()
    for i = 1, count, 7 do
      tasks[i]:cancel()
    end
    sleep(0.05)
    for i = 1, count do -- puts and gets without a partner or a time limit
      tasks[i]:cancel()
    end
    local done, pending = async.wait(tasks)
    lu.assertEquals({ #done, #pending }, { count, 0 })
    local kinds = { fine = 0, failed = 0, cancelled = 0 }
    for _, task in ipairs(done) do
      local err = task:exception()
      local kind = not err and "fine" or err == async.CancelledError and "cancelled" or err
      kinds[kind] = kinds[kind] + 1
    end
    lu.assertTrue(kinds.fine > 0 and kinds.failed > 0 and kinds.cancelled > 0)
    lu.assertTrue(cleaned <= kinds.cancelled)
    lu.assertFalse(lock:locked())
    for _ = 1, 3 do
      lu.assertFalse(semaphore:locked())
      semaphore:acquire()
    end
    lu.assertEquals(#async.all_tasks(), 1)
  end)
end

function TestStress:test_many_loops_leave_nothing_open()
  local function descriptors()
    local count = 0
    local list = io.popen("ls /proc/" .. own_pid .. "/fd")
    for _ in list:lines() do
      count = count + 1
    end
    list:close()
    return count
  end
  local before = descriptors()
  for i = 1, 200 do
    lu.assertEquals(run(function() sleep(0) return i end), i)
    pcall(run, function() create_task(sleep, 60) error("x") end)
  end
  lu.assertTrue(descriptors() < before + 20) -- libuv keeps a few for good, and popen's come and go
end

os.exit(lu.LuaUnit.run(), true)
