-- Delayed calls: what is computed, how often and in which order, what a graph looks like, and what is refused.
local lu = require "luaunit"
local pg = require "perigee"
local tasks, array = pg.tasks, pg.array
local delayed = tasks.delayed

local function inc(x)
  return x + 1
end

local add = function(a, b)
  return a + b
end

local function total(list)
  local sum = 0
  for _, value in ipairs(list) do
    sum = sum + value
  end
  return sum
end

local dinc, dadd, dtotal = delayed(inc), delayed(add), delayed(total)

tasks.scheduler("serial") -- functions that count their calls below count here; TestWorkers has the others

-- A function that counts its calls, and the count.
local function counted(fn)
  local count = { n = 0 }
  return function(...)
    count.n = count.n + 1
    return fn(...)
  end, count
end

local function message_of(fn, ...)
  local ok, message = pcall(fn, ...)
  lu.assertFalse(ok)
  return message
end

TestDelayed = {}

function TestDelayed:test_nothing_runs_before_compute_and_shared_nodes_run_once()
  local fn, count = counted(inc)
  local a = delayed(fn)(1)
  local b, c = dadd(a, a), dinc(a)
  lu.assertEquals(count.n, 0)
  local x, y, z = tasks.compute(b, c, a)
  lu.assertEquals({ x, y, z }, { 4, 3, 2 })
  lu.assertEquals(count.n, 1)
  b:compute() -- values are not kept
  lu.assertEquals(count.n, 2)
end

function TestDelayed:test_operators_fields_methods_and_calls()
  local two, five = dinc(1), dinc(4)
  lu.assertEquals({ tasks.compute(two + five, two - 1, 10 * five, five / two, five % two, 2 ^ five, -five, two .. "!") },
    { 7, 1, 50, 2.5, 1, 32, -5, "2!" })
  local t = delayed(function() return { x = 7, [1] = "first", inner = { y = { 8 } } } end)()
  lu.assertEquals({ tasks.compute(t.x, t[1], t.inner.y[1]) }, { 7, "first", 8 })
  local key = delayed(function() return "x" end)()
  lu.assertEquals(t[key]:compute(), 7)
  local ones = delayed(array.ones)(3, 4)
  lu.assertEquals((ones:sum(1) * 2):compute():totable(), { 6, 6, 6, 6 })
  local make = delayed(function(k) return function(x) return k * x end end)(3)
  lu.assertEquals(make(two):compute(), 6)
end

function TestDelayed:test_delayed_values_inside_tables()
  local a, b = dinc(1), dinc(2)
  lu.assertEquals(dtotal({ a, b, 10 }):compute(), 15)
  local show = delayed(function(t) return t.deep.er[1], t end)
  lu.assertEquals(show({ deep = { er = { a } } }):compute(), 2)
  local shared = { a }
  local same = delayed(function(t) return t[1] == t[2], t[1][1] end)
  lu.assertTrue(same({ shared, shared }):compute())
  local itself = { a }
  itself.me = itself
  lu.assertTrue(delayed(function(t) return t.me == t and t.me[1] == 2 end)(itself):compute())
  local list, plain, n = tasks.compute({ a, { b } }, { 1 }, 3)
  lu.assertEquals({ list, plain, n }, { { 2, { 3 } }, { 1 }, 3 })
  lu.assertEquals(delayed({ a, x = b }):compute(), { 2, x = 3 })
  local node = { value = 1 } -- a list of 1e5 links
  for i = 1, 1e5 do
    node = { next = node }
  end
  node.here = a
  lu.assertEquals(delayed(function(t) return t.here end)(node):compute(), 2)
end

function TestDelayed:test_tables_are_those_of_the_call()
  local pair, out = {}, {}
  for i = 1, 3 do
    pair[1], pair[2] = dinc(i), i
    out[i] = dtotal(pair)
  end
  lu.assertEquals({ tasks.compute(out[1], out[2], out[3]) }, { 3, 5, 7 })
  local big = { 1, 2 } -- no delayed value: the table itself
  lu.assertTrue(delayed(function(t) return t == big end)(big):compute())
  local left = delayed(function(t) return tasks.is_delayed(t[1]) end, { traverse = false })
  lu.assertTrue(left({ dinc(1) }):compute())
  local set = pg.collections.set { 1, 2 } -- neither looked into nor copied
  lu.assertTrue(delayed(function(s) return s == set end)(set):compute())
end

function TestDelayed:test_nil_false_and_several_results()
  local nothing, no = delayed(function() return nil end)(), delayed(function() return false end)()
  local both = delayed(function(...) return select("#", ...) .. tostring((...)) .. tostring((select(2, ...))) end)
  lu.assertEquals(both(nothing, no, nil):compute(), "3nilfalse")
  lu.assertEquals({ tasks.compute(no, dinc(1)) }, { false, 2 })
  lu.assertEquals(select("#", tasks.compute(nothing, nothing)), 2)
  local whole, rest = delayed(math.modf, { nout = 2 })(dinc(2.25))
  lu.assertEquals({ tasks.compute(whole, rest) }, { 3, 0.25 })
  lu.assertEquals(both(1, 2, 3, 4, 5):compute(), "512")
end

function TestDelayed:test_pure_calls_are_one_node()
  local fn, count = counted(function(x, t) return x * t[1] end)
  local pure = delayed(fn, { pure = true })
  local a = dinc(1)
  local x, y, z = pure(a, { 3 }), pure(a, { 3 }), pure(a, { 4 })
  lu.assertTrue(rawequal(x, y))
  lu.assertFalse(rawequal(x, z))
  lu.assertFalse(rawequal(pure("1", { 1 }), pure(1, { 1 })))
  lu.assertEquals({ tasks.compute(x, y, z) }, { 6, 6, 8 })
  lu.assertEquals(count.n, 2)
end

function TestDelayed:test_persist()
  local fn, count = counted(inc)
  local a = delayed(fn)(1)
  local kept, three = tasks.persist(a, 3)
  lu.assertEquals({ tasks.compute(kept + 1, dadd(kept, three)) }, { 3, 5 })
  lu.assertEquals((a:persist() + 1):compute(), 3)
  lu.assertEquals(count.n, 2)
end

function TestDelayed:test_names()
  lu.assertEquals(tostring(dinc(1)), "delayed inc(1)")
  lu.assertEquals(tostring(dadd(dinc(1), "text")), 'delayed add(<inc>, "text")')
  lu.assertEquals(tostring(delayed(array.zeros)(3)), "delayed array.zeros(3)")
  lu.assertEquals(tostring(delayed(math.sqrt)(2)), "delayed math.sqrt(2)")
  lu.assertEquals(tostring(delayed(inc, { name = "mine" })(array.zeros(2, 3))), "delayed mine(float64[2x3])")
  lu.assertEquals(tostring(dinc(1) + 1), "delayed <inc> + 1")
  lu.assertEquals(tostring(dinc(1).field), "delayed <inc>.field")
end

function TestDelayed:test_long_chains_and_wide_graphs()
  local deep = dinc(0)
  for _ = 2, 1e5 do
    deep = dinc(deep)
  end
  lu.assertEquals(deep:compute(), 1e5)
  local wide = {}
  for i = 1, 1e5 do
    wide[i] = dinc(i)
  end
  lu.assertEquals(dtotal(wide):compute(), 1e5 * (1e5 + 3) / 2)
end

function TestDelayed:test_values_are_let_go_when_no_call_needs_them()
  local alive, most = setmetatable({}, { __mode = "k" }), 0
  local step = delayed(function(before)
    collectgarbage()
    local n = 0
    for _ in pairs(alive) do
      n = n + 1
    end
    most = math.max(most, n)
    local value = { (before and before[1] or 0) + 1 }
    alive[value] = true
    return value
  end)
  local d = step()
  for _ = 1, 30 do
    d = step(d)
  end
  lu.assertEquals(d:compute()[1], 31)
  lu.assertTrue(most <= 2, most)
end

function TestDelayed:test_scheduler_switch()
  lu.assertEquals(tasks.scheduler("serial"), "serial")
  lu.assertEquals({ tasks.scheduler() }, { "serial", 1 })
  lu.assertStrContains(message_of(tasks.scheduler, "serail"), 'must be "serial", "threads", "processes" or "mpi"')
  lu.assertStrContains(message_of(tasks.scheduler, "serail"), "did you mean 'serial'?")
  lu.assertStrContains(message_of(tasks.compute, dinc(1), { scheduler = "dask" }), 'got the string "dask"')
  lu.assertStrContains(message_of(tasks.scheduler, "serial", { workers = 0 }), "from 1 to 1024, got 0")
end

TestFailures = {}

local function broken(x)
  error("cannot do " .. x)
end

function TestFailures:test_errors_name_the_call_its_place_and_its_path()
  local d = dtotal({ dadd(delayed(broken)("that"), 1), 2 })
  local message = message_of(d.compute, d)
  lu.assertStrContains(message, "compute: 'broken' failed: ")
  lu.assertStrContains(message, "cannot do that")
  lu.assertStrMatches(message, '.*in the call broken%("that"%), defined at [^\n]*tasks.lua:%d+\n.*')
  lu.assertStrContains(message, "needed by add <- total")
  lu.assertStrMatches(message, ".*\n  traceback:\n    [^\n]*tasks.lua:%d+: in .*")
  message = message_of(tasks.compute, delayed(function() return {} end)().x.y)
  lu.assertStrContains(message, "attempt to index a nil value")
  lu.assertStrContains(message_of(tasks.compute, dinc({ 1 }) + 1), "attempt to perform arithmetic")
end

function TestFailures:test_what_is_left_does_not_run()
  local fn, count = counted(inc)
  lu.assertFalse(pcall(tasks.compute, delayed(broken)(1), delayed(fn)(1)))
  lu.assertEquals(count.n, 0)
end

function TestFailures:test_results_of_others_are_not_lost()
  local fn, count = counted(inc)
  local bad = delayed(broken)("this")
  local failed, fine, needs, list = tasks.compute(bad, delayed(fn)(1), dadd(delayed(fn)(bad), 1), { bad, delayed(fn)(5) },
    { return_exceptions = true })
  lu.assertEquals(fine, 2)
  lu.assertEquals(count.n, 2)
  lu.assertTrue(tasks.is_failure(failed) and tasks.is_failure(needs) and tasks.is_failure(list[1]))
  lu.assertEquals(list[2], 6)
  lu.assertFalse(tasks.is_failure(fine))
  lu.assertEquals({ failed.name, failed.call, failed.attempts }, { "broken", 'broken("this")', 1 })
  lu.assertStrContains(failed.message, "cannot do this")
  lu.assertTrue(needs == failed)
  lu.assertStrContains(tostring(failed), "'broken' failed: ")
  local thrown = { code = 5 }
  local d = delayed(function() error(thrown) end)()
  lu.assertTrue(d:compute({ return_exceptions = true }).value == thrown)
end

function TestFailures:test_what_cannot_come_back()
  local d = delayed(function() return { thread = coroutine.create(print) } end)()
  for _, scheduler in ipairs { "threads", "processes" } do
    lu.assertStrContains(message_of(d.compute, d, { scheduler = scheduler, workers = 2 }),
      "the result.thread (a coroutine) cannot be sent back by a worker")
  end
  local yields = delayed(function() coroutine.yield(1) end)()
  lu.assertStrContains(message_of(yields.compute, yields, { scheduler = "serial" }), "cannot yield out of the computation")
  lu.assertStrContains(message_of(yields.compute, yields, { scheduler = "threads" }), "cannot yield out of its worker")
end

function TestFailures:test_retries()
  local calls = 0
  local function flaky(till)
    calls = calls + 1
    if calls < till then
      error("not yet")
    end
    return calls
  end
  lu.assertEquals(delayed(flaky, { retries = 2 })(3):compute(), 3)
  calls = 0
  lu.assertEquals(delayed(flaky, { retries = { count = 5, delay = 0.001 } })(4):compute(), 4)
  calls = 0
  lu.assertStrContains(message_of(tasks.compute, delayed(flaky, { retries = 2 })(9)), "'flaky' failed (3 attempts)")
  lu.assertEquals(calls, 3)
end

function TestFailures:test_cycles()
  local t, u = {}, {}
  local d = dtotal(t)
  t[1] = d
  lu.assertStrContains(message_of(d.compute, d), "the graph is cyclic: 'total' needs 'total'")
  local e = dinc(dtotal(u))
  u[1] = { deep = e }
  lu.assertStrContains(message_of(e.compute, e), "the graph is cyclic: 'inc' needs 'total' needs 'inc'")
  lu.assertStrContains(message_of(e.visualize, e), "visualize: the graph is cyclic")
  local late = {} -- no cycle: found all the same
  local sum = dtotal(late)
  late[1] = dinc(1)
  lu.assertEquals(sum:compute(), 2)
end

function TestFailures:test_bad_input()
  local d = dinc(1)
  for _, case in ipairs {
    { function() return delayed() end, "a function or a value is expected, got nil" },
    { function() return delayed(inc, { nam = "x" }) end, "unknown option 'nam'" },
    { function() return delayed(inc, 5) end, "arguments go into a second pair of parentheses" },
    { function() return delayed(inc, { name = "" }) end, "the name must be a string that is not empty" },
    { function() return delayed(inc, { retries = -1 }) end, "retries must be an integer from 0" },
    { function() return delayed(inc, { retries = { count = 1, delay = -1 } }) end, "the delay of retries" },
    { function() return delayed(inc, { retries = { times = 1 } }) end, "unknown option 'times'" },
    { function() return delayed(inc, { nout = 0 }) end, "nout, how many results" },
    { function() return delayed(inc, { pure = 1 }) end, "pure must be true or false" },
    { function() return delayed(5, { pure = true }) end, "option 'pure' is for functions" },
    { function() return d < dinc(2) end, "a delayed value has no order" },
    { function() d.x = 2 end, "field 'x' of a delayed value cannot be assigned" },
    { function() return d:computed() end, "did you mean 'compute'?" },
    { function() return dinc({ [d] = 1 }) end, "a delayed value cannot be the key of a table" },
    { function() return tasks.compute() end, "a delayed value is expected, got nothing" },
    { function() return tasks.compute(dinc) end, "argument 1 is a delayed function, not a call of it" },
    { function() return tasks.compute(d, "threads") end, 'a table such as {scheduler = "threads"}' },
    { function() return delayed(math.sqrt)("x"):compute() end, "bad argument #1 to 'math.sqrt'" },
    { function() return delayed(math.sqrt)("x"):compute { scheduler = "threads" } end,
      "compute: 'math.sqrt' failed: bad argument #1 to 'math.sqrt'" },
    { function() return tasks.compute(d, { worker = 1 }) end, "unknown option 'worker'" },
    { function() return tasks.compute(d, { workers = 1.5 }) end, "workers must be an integer" },
    { function() return tasks.compute(d, { report = 1 }) end, "report must be true or false" },
    { function() return d.compute() end, "write d:compute(), with a colon" },
    { function() return d:compute(3) end, "compute: options are a table" },
    { function() return delayed(function() return d end)():compute() end, "it returned a delayed value" },
    { function() return tasks.visualize(3) end, "a delayed value, or a table of them, is expected" },
    { function() return tasks.visualize(d, { file = "x.jpg" }) end, '".svg", ".png" or ".dot"' },
    { function() return tasks.visualize(d, { file = "/no/such/folder/x.dot" }) end, "cannot write /no/such/folder" },
    { function() return tasks.critical_path({}) end, "a delayed value, or a report" },
    { function() return tasks.delayd(inc) end, "perigee.tasks has no function 'delayd'; did you mean 'delayed'?" },
  } do
    local message = message_of(case[1])
    lu.assertStrContains(message, case[2])
    lu.assertStrMatches(message, "[^\n]*tasks.lua:%d+: .*") -- the learner's line
  end
end

-- What must be alike for all schedulers, and what pools add.
for _, scheduler in ipairs { "threads", "processes" } do
  local here = rawget(pg.parallel, scheduler == "threads" and "pool" or "processes") ~= nil
  local on = { scheduler = scheduler, workers = 3 }
  local Suite = {}
  if here then
    _G[scheduler == "threads" and "TestWorkers" or "TestProcesses"] = Suite
  end

  local function with(options)
    local all = { scheduler = scheduler, workers = 3 }
    for key, value in pairs(options) do
      all[key] = value
    end
    return all
  end

  function Suite:test_values()
    local two, five = dinc(1), dinc(4)
    lu.assertEquals({ tasks.compute(two + five, -five, two .. "!", dtotal({ two, five, 3 }), { two, { five } }, 7, on) },
      { 7, -5, "2!", 10, { 2, { 5 } }, 7 })
    local nothing, no = delayed(function() end)(), delayed(function() return false end)()
    lu.assertEquals(delayed(function(...) return select("#", ...) end)(nothing, no, nil):compute(on), 3)
    lu.assertEquals(select("#", tasks.compute(nothing, no, on)), 2)
    local whole, rest = delayed(math.modf, { nout = 2 })(dinc(2.25))
    lu.assertEquals({ tasks.compute(whole, rest, on) }, { 3, 0.25 })
    lu.assertEquals(delayed(array.ones)(3, 4):sum(1):compute(on):totable(), { 3, 3, 3, 3 })
    local kept = dinc(1):persist(on)
    lu.assertEquals((kept + 1):compute(), 3)
  end

  function Suite:test_many_calls()
    local wide, sum = {}, 0
    for i = 1, 3000 do
      wide[i] = dinc(i)
      sum = sum + i + 1
    end
    local deep = dinc(0)
    for _ = 2, 1000 do
      deep = dinc(deep)
    end
    lu.assertEquals({ tasks.compute(dtotal(wide), deep, on) }, { sum, 1000 })
    local layers = {} -- each node of a layer needs two of the one below
    for i = 1, 20 do
      layers[i] = i
    end
    for _ = 1, 20 do
      local above = {}
      for i = 1, 20 do
        above[i] = dadd(layers[i], layers[i % 20 + 1])
      end
      layers = above
    end
    lu.assertEquals(dtotal(layers):compute(on), dtotal(layers):compute({ scheduler = "serial" }))
  end

  function Suite:test_errors()
    local d = dtotal({ dadd(delayed(broken)("that"), 1), 2 })
    local message = message_of(d.compute, d, on)
    lu.assertStrMatches(message, "[^\n]*tasks.lua:%d+: compute: 'broken' failed: [^\n]*tasks.lua:%d+: cannot do that\n.*")
    lu.assertStrContains(message, "needed by add <- total")
    lu.assertStrContains(message, "tasks.lua")
    lu.assertStrContains(message_of(tasks.compute, delayed(function() return {} end)().x.y, on),
      "attempt to index a nil value")
    local fine, failed, needs = tasks.compute(dinc(1), delayed(broken)("this"), dinc(delayed(broken)("these")),
      with { return_exceptions = true })
    lu.assertEquals(fine, 2)
    lu.assertTrue(tasks.is_failure(failed) and tasks.is_failure(needs))
    lu.assertStrContains(needs.message, "cannot do these")
    local thrown = delayed(function() error({ code = 5 }) end)():compute(with { return_exceptions = true })
    lu.assertEquals(thrown.value, { code = 5 })
    local gives = delayed(function() return require("perigee").tasks.delayed(1) end)
    lu.assertStrContains(message_of(tasks.compute, gives(), on), "it returned a delayed value")
  end

  function Suite:test_what_cannot_be_sent()
    local thread = coroutine.create(function() end)
    local uses = delayed(function() return thread end, { name = "uses" })
    local message = message_of(tasks.compute, uses(), on)
    lu.assertStrContains(message, "'uses' failed: upvalue 'thread'")
    lu.assertStrContains(message, 'or use scheduler "serial"')
    message = message_of(tasks.compute, dadd(1, thread), on)
    lu.assertStrContains(message, "'add' failed: argument 2")
    local gives = delayed(function() return coroutine.create(function() end) end, { name = "gives", retries = 2 })
    lu.assertStrContains(message_of(tasks.compute, gives(), on), "'gives' failed (3 attempts): ")
  end

  function Suite:test_report()
    local value, report = tasks.compute(dadd(dinc(1), dinc(2)), with { report = true })
    lu.assertEquals(value, 5)
    lu.assertEquals(report.scheduler, scheduler)
    for i = 1, 3 do
      lu.assertTrue(report.nodes[i].worker >= 1 and report.nodes[i].worker <= 3)
      lu.assertTrue(report.nodes[i].seconds >= 0 and report.nodes[i].start >= 0)
    end
    lu.assertTrue(report.nodes[3].start >= report.nodes[1].start + report.nodes[1].seconds)
    lu.assertStrContains(tostring(report), 'scheduler "' .. scheduler .. '"')
  end

  function Suite:test_switch()
    lu.assertEquals({ tasks.scheduler(scheduler, { workers = 2 }) }, { scheduler, 2 })
    local _, report = tasks.compute(dinc(1), { report = true })
    tasks.scheduler("serial")
    lu.assertEquals(report.scheduler, scheduler)
  end
end

-- What threads can share.
function TestWorkers:test_what_is_left_does_not_run()
  local count = pg.parallel.atomic(0)
  local counting = delayed(function(i) return count:add(1) + i end)
  local list = { delayed(broken)("it") }
  for i = 2, 3000 do
    list[i] = counting(i)
  end
  -- One worker begins with the first call, and no more than some calls are sent ahead.
  lu.assertStrContains(message_of(tasks.compute, list, { scheduler = "threads", workers = 1 }), "cannot do it")
  lu.assertTrue(count:get() < 100, count:get())
  local all = tasks.compute(list, { scheduler = "threads", workers = 2, return_exceptions = true })
  lu.assertTrue(tasks.is_failure(all[1]))
  for i = 2, 3000 do
    lu.assertTrue(all[i] >= i)
  end
end

function TestWorkers:test_retries()
  local calls = pg.parallel.atomic(0)
  local flaky = function(till, others)
    if calls:add(1) + 1 < till then
      error("not yet")
    end
    return others
  end
  local d = delayed(flaky, { retries = { count = 5, delay = 0.001 } })(4, dinc(1))
  lu.assertEquals({ tasks.compute(d, dinc(6), { scheduler = "threads", workers = 2 }) }, { 2, 7 })
  lu.assertEquals(calls:get(), 4)
  local failed = delayed(flaky, { retries = 2, name = "flaky" })(1e9, 1)
  lu.assertStrContains(message_of(tasks.compute, failed, { scheduler = "threads" }), "'flaky' failed (3 attempts)")
  lu.assertEquals(calls:get(), 7)
end

function TestWorkers:test_arrays_are_shared()
  local a = delayed(array.zeros)(1000)
  local view = delayed(function(x) return x[{ { 1, 10 } }] end)(a)
  local x, y = tasks.compute(a, view, { scheduler = "threads", workers = 2 })
  lu.assertTrue(array.shares_memory(x, y))
end

function TestWorkers:test_arrays_are_let_go_when_no_call_needs_them()
  local function most_memory() -- MiB
    for line in io.lines("/proc/self/status") do
      local kib = line:match("^VmHWM:%s*(%d+)")
      if kib then
        return kib / 1024
      end
    end
  end
  local make = delayed(function(i) return array.full(1e6, i) end)
  local mean, means = delayed(array.mean), {}
  for i = 1, 200 do -- 1.5 GiB, were they all there at once
    means[i] = mean(make(i))
  end
  local before = most_memory()
  lu.assertEquals(dtotal(means):compute { scheduler = "threads", workers = 2 }, 200 * 201 / 2)
  lu.assertTrue(most_memory() - before < 900, most_memory() - before)
end

function TestWorkers:test_graphs_inside_of_graphs()
  local inner = delayed(function(n)
    local pg_ = require "perigee"
    local double = pg_.tasks.delayed(function(x) return 2 * x end)
    local default = pg_.tasks.delayed(n) + 0
    return double(double(n)):compute { scheduler = "threads", workers = 2 } + default:compute()
  end)
  lu.assertEquals(dtotal({ inner(1), inner(2), inner(3) }):compute { scheduler = "threads", workers = 2 }, 30)
end

TestReports = {}

function TestReports:test_report()
  local spin = delayed(function(n)
    local x = 0
    for i = 1, n do
      x = x + math.sin(i)
    end
    return x
  end, { name = "spin" })
  local value, report = tasks.compute(dadd(spin(10), spin(200000)), { report = true })
  lu.assertEquals(type(value), "number")
  lu.assertEquals(#report.nodes, 3)
  lu.assertEquals(report.scheduler, "serial")
  lu.assertEquals(report.nodes[3].inputs, { 1, 2 })
  local sum = 0
  for i, node in ipairs(report.nodes) do
    sum = sum + node.seconds
    lu.assertEquals(node.worker, 1)
    lu.assertTrue(node.start >= 0 and (i == 1 or node.start >= report.nodes[i - 1].start))
  end
  lu.assertAlmostEquals(report.busy, sum, 1e-12)
  lu.assertTrue(report.wall >= report.busy)
  local path = tasks.critical_path(report)
  lu.assertEquals(#path.nodes, 2)
  lu.assertEquals({ path.nodes[1].call, path.nodes[2].name }, { "spin(200000)", "add" })
  lu.assertStrContains(tostring(report), "spin")
  lu.assertStrContains(tostring(report), "critical path")
end

function TestReports:test_critical_path_of_a_graph()
  local path = tasks.critical_path(dadd(dinc(1), dinc(dinc(dinc(5)))))
  local calls = {}
  for i, node in ipairs(path.nodes) do
    calls[i] = node.call
  end
  lu.assertEquals(calls, { "inc(5)", "inc(<inc>)", "inc(<inc>)", "add(<inc>, <inc>)" })
end

TestVisualize = {}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  os.remove(path)
  return text
end

function TestVisualize:test_dot()
  local a = dinc(1)
  local text = dadd(a, a):visualize()
  lu.assertStrContains(text, 'n1 [label="inc(1)"];')
  lu.assertStrContains(text, 'n2 [label="add(_, _)", peripheries=2];')
  local _, edges = text:gsub("n1 %-> n2;", "")
  lu.assertEquals(edges, 1)
  local path = os.tmpname() .. ".dot"
  lu.assertEquals(tasks.visualize({ a, dinc(2) }, { file = path }), path)
  lu.assertStrContains(read(path), "inc(2)")
end

function TestVisualize:test_texts_are_quoted()
  local evil = 'a "b" \\N \\ {x|<y>}\n$(touch x) `z` ä \1'
  local text = delayed(inc, { name = evil })(1):visualize()
  lu.assertStrContains(text, [["a \"b\" \\N \\ {x|_}\n$(touch x) `z` ä  (1)"]])
  lu.assertStrContains(delayed(inc, { name = "\255bytes" })(1):visualize(), '"?bytes(1)"')
end

function TestVisualize:test_pictures()
  local evil = 'a "b" \\N \\ {x} & ä'
  local value, report = tasks.compute(delayed(inc, { name = evil })(1), { report = true })
  lu.assertEquals(value, 2)
  local d = delayed(inc, { name = evil })(1)
  local name = os.tmpname() .. " it's.svg"
  local path, reason = d:visualize { file = name, report = report }
  if reason then
    lu.assertStrContains(reason, "Graphviz")
    lu.assertStrContains(read(path), "digraph")
  else
    lu.assertEquals(path, name)
    lu.assertStrContains(read(path), "a &quot;b&quot; \\N \\ {x} &amp; ä(1)")
  end
end

os.exit(lu.LuaUnit.run(), true)
