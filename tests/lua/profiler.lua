-- Profiles: known programs must come out as they are. Shares of time are compared on programs that spin until a clock says
-- so; since other programs may take the processor at any moment, such a comparison has up to five tries.
local lu = require "luaunit"
local pg = require "perigee"
local profiler, timer, array = pg.profiler, pg.timer, pg.array

-- Per cent by which shares may be wrong. (Instrumented, the profilers themselves take 4% of what they watch.)
local margin = require "support.sanitizer" and 10 or 3

local function tries(check)
  local ok, message
  for _ = 1, 5 do
    ok, message = pcall(check)
    if ok then
      return
    end
  end
  error(message, 0)
end

-- Three functions that take 70, 20 and 10% of `seconds` by `clock`.
local function seventy(clock, till)
  local x = 0
  while clock() < till do
    for i = 1, 300 do
      x = x + i % 7
    end
  end
  return x
end

local function twenty(clock, till)
  local x = 0
  while clock() < till do
    for i = 1, 300 do
      x = x + i % 5
    end
  end
  return x
end

local function ten(clock, till)
  local x = 0
  while clock() < till do
    for i = 1, 300 do
      x = x + i % 3
    end
  end
  return x
end

local function mixture(clock, seconds)
  for _ = 1, 10 do
    seventy(clock, clock() + seconds * 0.07)
    twenty(clock, clock() + seconds * 0.02)
    ten(clock, clock() + seconds * 0.01)
  end
end

-- The same by the wall clock, with a stopwatch beside it: a neighbour on the processor is in both. Few calls and lines, so
-- that what hooks cost hardly counts.
local rep = string.rep

local function spin_a(till)
  while timer.now() < till do rep("x", 200000) end
end

local function spin_b(till)
  while timer.now() < till do rep("y", 200000) end
end

local function spin_c(till)
  while timer.now() < till do rep("z", 200000) end
end

local watch

local function watched(name, spin, seconds)
  local start = timer.now()
  spin(start + seconds) -- in all of them
  watch[name] = watch[name] + timer.now() - start
end

local function watched_mixture(seconds)
  watch = { a = 0, b = 0, c = 0 }
  for _ = 1, 10 do
    watched("a", spin_a, seconds * 0.07)
    watched("b", spin_b, seconds * 0.02)
    watched("c", spin_c, seconds * 0.01)
  end
end

-- "line N" of this file that holds `text`, which stands in it once before the tests.
local source_lines = {}
for line in io.lines((debug.getinfo(1, "S").source:gsub("^@", ""))) do
  source_lines[#source_lines + 1] = line
end

local function line_of(text)
  for i, line in ipairs(source_lines) do
    if line:find(text, 1, true) then
      return i
    end
  end
  error("no line with " .. text)
end

local function share(rows, name, total)
  for _, row in ipairs(rows) do
    if row.fn.name == name then
      return 100 * row.own / total
    end
  end
  return 0
end

TestSample = {}

function TestSample:test_shares_are_true()
  tries(function()
    local profile = profiler.sample(mixture, timer.thread, 0.6)
    local rows = profile:by_function()
    -- What the clocks take is the functions' own: they are called for them.
    local totals = {}
    for _, row in ipairs(rows) do
      totals[row.fn.name] = 100 * row.total / profile.seconds
    end
    lu.assertAlmostEquals(totals.seventy, 70, margin)
    lu.assertAlmostEquals(totals.twenty, 20, margin)
    lu.assertAlmostEquals(totals.ten, 10, margin)
  end)
end

function TestSample:test_all_cpu_time_is_accounted_for()
  tries(function()
    local profile = profiler.sample(mixture, timer.thread, 0.2)
    lu.assertAlmostEquals(profile.seconds, profile.cpu, 0.01 + 0.05 * profile.cpu)
    lu.assertEquals(profile.lost, 0)
    lu.assertTrue(profile.count > 20)
  end)
end

-- A line that is hot alone, in compiled code: the sample is taken on the line after it.
local function hot_line(n)
  local t, x = {}, 0
  for i = 1, n do
    x = x + 1
    t[1] = tostring(i) .. "hot" .. tostring(x)
    x = x + 1
  end
  return t
end

function TestSample:test_the_hot_line_is_named()
  tries(function()
    local profile = profiler.sample(hot_line, 300000)
    local line = profile:by_line()[1]
    lu.assertEquals(line.fn.name, "hot_line")
    lu.assertEquals(line.line, line_of('.. "hot" ..'))
    lu.assertTrue(line.own > 0.7 * profile.seconds)
  end)
end

local function multiply(m, times)
  local product
  for _ = 1, times do
    local sum = 1
    product = array.matmul(m, m)
    sum = sum + 1
  end
  return product
end

function TestSample:test_engine_time_is_the_lines_that_called()
  local m = array.ones(200, 200)
  array.matmul(m, m)
  tries(function()
    local profile = profiler.sample(multiply, m, 150)
    local line = profile:by_line()[1]
    lu.assertEquals(line.line, line_of("product = array.matmul(m, m)"))
    lu.assertTrue(line.own > 0.8 * profile.seconds)
    lu.assertTrue((line.activities.engine or 0) + (line.activities.system or 0) > 0.5 * line.own)
    local named
    for _, fn in ipairs(profile.functions) do
      named = named or fn.name == "array.matmul"
    end
    lu.assertTrue(named)
  end)
end

local function garbage(n)
  local keep
  for i = 1, n do
    keep = { i, { i } }
    if i % 100 == 0 then
      keep = { keep, tostring(i) }
    end
  end
  collectgarbage()
  return keep
end

function TestSample:test_garbage_collection_is_told_apart()
  local big = {}
  for i = 1, 300000 do
    big[i] = { i }
  end
  tries(function()
    local profile = profiler.sample(function()
      for _ = 1, 3 do
        collectgarbage()
      end
      return garbage(1000)
    end)
    lu.assertTrue(profile:by_activity().collector > 0.5 * profile.seconds)
  end)
  lu.assertEquals(#big, 300000)
end

local function in_coroutine(seconds)
  local wrapped = coroutine.wrap(function()
    while true do
      seventy(timer.thread, timer.thread() + seconds)
      coroutine.yield()
    end
  end)
  for _ = 1, 3 do
    wrapped()
  end
end

function TestSample:test_coroutines_are_seen()
  tries(function()
    local profile = profiler.sample(in_coroutine, 0.05)
    local total = 0
    for _, row in ipairs(profile:by_function()) do
      if row.fn.name == "seventy" then
        total = row.total
      end
    end
    lu.assertTrue(total > 0.9 * profile.seconds)
    for _, stack in ipairs(profile.stacks) do -- and stand on the stack that resumed them
      local names = {}
      for _, frame in ipairs(stack.frames) do
        names[profile.functions[frame.fn].name] = true
      end
      lu.assertTrue(not names.seventy or names.in_coroutine)
    end
  end)
end

-- Workers of pools are sampled too, each by its own CPU time.
function TestSample:test_workers_of_pools()
  local pool = pg.parallel.pool(2)
  local function task(first, second)
    local now = require("perigee.timer").thread
    local function one(till)
      local x = 0
      while now() < till do
        for i = 1, 300 do x = x + i % 7 end
      end
      return x
    end
    local function two(till)
      local x = 0
      while now() < till do
        for i = 1, 300 do x = x + i % 5 end
      end
      return x
    end
    for _ = 1, 5 do
      one(now() + first)
      two(now() + second)
    end
  end
  tries(function()
    local profile = profiler.sample(function()
      local a, b = pool:submit(task, 0.014, 0.006), pool:submit(task, 0.014, 0.006)
      a:result()
      b:result()
    end)
    local threads = profile:by_thread()
    lu.assertEquals(threads[1].name, "main")
    lu.assertTrue(#threads >= 2)
    local totals = {}
    for _, row in ipairs(profile:by_function()) do
      totals[row.fn.name] = (totals[row.fn.name] or 0) + row.total
    end
    local all = 0
    for i = 2, #threads do
      lu.assertStrMatches(threads[i].name, "worker [12]")
      all = all + threads[i].seconds
    end
    lu.assertAlmostEquals(all, 0.2, 0.02)
    lu.assertAlmostEquals(100 * totals.one / all, 70, margin)
    lu.assertAlmostEquals(100 * totals.two / all, 30, margin)
    lu.assertStrContains(profile:text(), "worker ")
  end)
  -- Many small tasks, some that fail, pools that come and go, one profile after the other.
  for round = 1, 3 do
    local profile = profiler.sample(function()
      lu.assertEquals(#pool:map(function(x) return x + 1 end, pg.parallel.range(1, 300)), 300)
      lu.assertErrorMsgContains("boom", function() pool:submit(function() error("boom") end):result() end)
      local other = pg.parallel.pool(1)
      lu.assertEquals(other:submit(function(x) return 2 * x end, round):result(), 2 * round)
      other:shutdown()
    end)
    lu.assertTrue(profile.seconds >= 0)
    lu.assertEquals(pool:map(function(x) return x + 1 end, { round }), { round + 1 }) -- not sampled
  end
  pool:shutdown()
end

-- Elsewhere than on x86-64 the register in which LuaJIT keeps its state is not read: "not supported", and what to use.
function TestSample:test_other_processors_say_so()
  local arch = jit.arch
  jit.arch = "arm64"
  local ok, message = pcall(profiler.sample, hot_line, 1)
  jit.arch = arch
  lu.assertFalse(ok)
  lu.assertStrContains(message, "not supported: profiler.sample: sampling is there for x86-64 only, and this is arm64")
  lu.assertStrContains(message, "use profiler.trace or profiler.lines")
end

function TestSample:test_results_and_errors_pass_through()
  local profile, a, b = profiler.sample(function(x) return x, 2 end, 1)
  lu.assertEquals({ a, b }, { 1, 2 })
  lu.assertStrContains(tostring(profile), "Sampled")
  lu.assertErrorMsgContains("boom", profiler.sample, function()
    mixture(timer.thread, 0.02)
    error("boom")
  end)
  lu.assertStrContains(profiler.last.failure.message, "boom")
  lu.assertTrue(profiler.last.seconds > 0.01)
  lu.assertErrorMsgContains("a function is expected, got number", profiler.sample, 3)
  lu.assertErrorMsgContains("profiles cannot be nested", profiler.sample, function()
    profiler.sample(function() end)
  end)
  profiler.sample(function() end) -- and works after all that
end

function TestSample:test_a_short_run_says_so()
  lu.assertStrContains(profiler.sample(function() end):text(), "Let it run longer")
end

TestTrace = {}

local function leaf(x)
  return x + 1
end

-- Of variable arguments, as every main chunk is: LuaJIT moves their frame after the call.
local function variable(...)
  local x = select("#", ...)
  for _ = 1, 4 do
    x = x + 1 -- in a function of variable arguments
  end
  return x
end

local function middle(n)
  local x = 0
  for _ = 1, n do
    x = leaf(x)
  end
  return x
end

local function top()
  return middle(10) + middle(20), nil
end

local function find(rows, name)
  for _, row in ipairs(rows) do
    if row.fn.name == name then
      return row
    end
  end
end

function TestTrace:test_calls_are_counted_and_placed()
  local profile, result = profiler.trace(top)
  lu.assertEquals(result, 30)
  lu.assertEquals(find(profile.calls, "leaf").calls, 30)
  lu.assertEquals(find(profile.calls, "middle").calls, 2)
  lu.assertEquals(find(profile.calls, "top").calls, 1)
  lu.assertEquals(find(profile.calls, "leaf").fn.line, line_of("local function leaf"))
  local edge
  for _, one in ipairs(profile.edges) do
    if profile.functions[one.callee].name == "leaf" then
      edge = one
    end
  end
  lu.assertEquals(profile.functions[edge.caller].name, "middle")
  lu.assertEquals(edge.calls, 30)
end

function TestTrace:test_shares_are_true()
  tries(function()
    local profile = profiler.trace(watched_mixture, 0.3)
    local whole, total = watch.a + watch.b + watch.c, find(profile.calls, "watched").total
    for name, seconds in pairs(watch) do
      lu.assertAlmostEquals(100 * find(profile.calls, "spin_" .. name).total / total, 100 * seconds / whole, margin)
    end
    lu.assertTrue(total > 0.5 * whole)
    lu.assertTrue(profile.seconds <= profile.wall)
  end)
end

local function countdown(n)
  if n == 0 then
    return 0
  end
  return 1 + countdown(n - 1)
end

-- What comes after a function of variable arguments is not its time.
function TestTrace:test_functions_of_variable_arguments_end()
  local function after()
    variable(1, 2)
    local x = 0
    for i = 1, 200000 do
      x = x + i
    end
    return x
  end
  tries(function()
    local profile = profiler.trace(after)
    lu.assertEquals(find(profile.calls, "variable").calls, 1)
    lu.assertTrue(find(profile.calls, "variable").total < 0.5 * find(profile.calls, "after").own)
  end)
end

function TestTrace:test_recursion_counts_time_once()
  local profile = profiler.trace(countdown, 3000)
  local row = find(profile.calls, "countdown")
  lu.assertEquals(row.calls, 3001)
  lu.assertTrue(row.total <= profile.wall)
  lu.assertTrue(row.own <= row.total + 1e-9)
end

function TestTrace:test_tail_calls_and_errors_leave_the_stack_right()
  local function tail(n)
    if n == 0 then
      error("thrown")
    end
    return leaf(n) and (function() return 1 end)()
  end
  local function run()
    for i = 0, 50 do
      pcall(tail, i % 2)
    end
    leaf(1)
  end
  local profile = profiler.trace(run)
  lu.assertEquals(find(profile.calls, "tail").calls, 51)
  for _, edge in ipairs(profile.edges) do -- the last leaf is run's, not below a tail that had ended
    if profile.functions[edge.callee].name == "leaf" and profile.functions[edge.caller].name == "run" then
      lu.assertEquals(edge.calls, 1)
    end
  end
end

function TestTrace:test_coroutines_are_not_counted_twice()
  local function body()
    for _ = 1, 3 do
      seventy(timer.now, timer.now() + 0.01)
      coroutine.yield()
    end
  end
  local function run()
    local co = coroutine.create(body)
    for _ = 1, 3 do
      coroutine.resume(co)
      twenty(timer.now, timer.now() + 0.01)
    end
  end
  local profile = profiler.trace(run)
  lu.assertTrue(profile.seconds <= profile.wall)
  lu.assertTrue(find(profile.calls, "coroutine.resume").own < find(profile.calls, "seventy").total)
end

function TestTrace:test_coroutines_stand_on_what_resumed_them()
  local function body()
    leaf(1)
    coroutine.yield()
    leaf(2)
  end
  local function resume(co)
    coroutine.resume(co)
  end
  local profile = profiler.trace(function()
    local co = coroutine.create(body)
    resume(co)
    resume(co)
  end)
  local callers = {}
  for _, edge in ipairs(profile.edges) do
    callers[profile.functions[edge.callee].name] = profile.functions[edge.caller].name
  end
  lu.assertEquals(callers.leaf, "body")
  lu.assertEquals(callers.body, "coroutine.resume")
  lu.assertEquals(callers["coroutine.resume"], "resume")
  lu.assertEquals(find(profile.calls, "leaf").calls, 2)
end

-- array.exp tail-calls what does the work, and an operator goes through the FFI: one call each.
function TestTrace:test_an_array_function_is_called_once()
  local a = array.ones(10)
  local function run()
    for _ = 1, 20 do
      local b = array.exp(a)
      b = a:sqrt() + b
      b:sum()
    end
  end
  local profile = profiler.trace(run)
  local seen = {}
  for _, row in ipairs(profile.calls) do
    lu.assertNil(seen[row.fn.name])
    seen[row.fn.name] = true
    if row.fn.engine and not row.fn.name:find("__index", 1, true) then
      lu.assertEquals(row.calls, 20)
    end
  end
  for _, name in ipairs { "array.exp", "array.sqrt", "array.sum", "array.__add" } do
    lu.assertEquals(find(profile.calls, name).calls, 20)
  end
  lu.assertNil(find(profile.calls, "__add"))
end

function TestTrace:test_the_compiler_is_on_again_and_the_hook_gone()
  profiler.trace(top)
  lu.assertTrue(jit.status())
  lu.assertNil(debug.gethook())
  pcall(profiler.trace, error, "x")
  lu.assertTrue(jit.status())
  lu.assertNil(debug.gethook())
end

function TestTrace:test_the_real_time_beside_it()
  local profile = profiler.trace(top)
  lu.assertNotStrContains(profile:text(), "Really")
  lu.assertEquals(profile:real_time(top), 30)
  lu.assertTrue(profile.real > 0)
  lu.assertStrContains(profile:text(), "Really, without the profiler and with the JIT compiler on, it takes ")
  lu.assertErrorMsgContains("real_time: a function is expected, got number", profile.real_time, profile, 3)
  local lines = profiler.lines(top)
  lines:run(top)
  lines:real_time(top)
  lu.assertStrContains(lines:text(), "Really")
end

function TestTrace:test_orders()
  local profile = profiler.trace(top)
  for _, order in ipairs { "own", "cumulative", "calls", "per_call", "name", "defined" } do
    lu.assertStrContains(profile:text { sort = order }, "Who calls whom")
  end
  lu.assertErrorMsgContains('sort must be "own", "cumulative", "calls", "per_call", "name" or "defined", got size',
    profile.text, profile, { sort = "size" })
end

TestLines = {}

local function lined(n)
  local x = 0
  for i = 1, n do
    x = x + i
    if i % 2 == 0 then
      x = leaf(x) -- half of them
    end
  end
  return x
end

function TestLines:test_hits_are_exact()
  local lines = profiler.lines(lined)
  lu.assertStrContains(tostring(lines), "has not run yet")
  lu.assertEquals(lines:run(lined, 10), 60)
  local hits = {}
  for _, row in ipairs(lines.rows) do
    lu.assertEquals(lines.functions[row.fn].name, "lined")
    hits[row.line] = row.hits
  end
  local first = line_of("local function lined")
  lu.assertEquals(hits[first + 1], 1)
  lu.assertEquals(hits[first + 3], 10)
  lu.assertEquals(hits[line_of("-- half of them")], 5)
  lu.assertStrContains(lines:text(), "x = leaf(x)")
end

function TestLines:test_functions_of_variable_arguments()
  local lines = profiler.lines(variable)
  lu.assertEquals(lines:run(variable, 1, 2, 3), 7)
  for _, row in ipairs(lines.rows) do
    if row.line == line_of("-- in a function of variable arguments") then
      lu.assertEquals(row.hits, 4)
      return
    end
  end
  lu.fail("the line is not there")
end

local function spinning_lines(seconds)
  watch = { 0, 0, 0 }
  for _ = 1, 10 do
    local start = timer.now()
    spin_a(start + seconds * 0.07)
    local second = timer.now()
    spin_b(second + seconds * 0.02)
    local third = timer.now()
    spin_c(third + seconds * 0.01)
    watch = { watch[1] + second - start, watch[2] + third - second, watch[3] + timer.now() - third }
  end
end

function TestLines:test_shares_are_true()
  tries(function()
    local lines = profiler.lines(spinning_lines)
    lines:run(spinning_lines, 0.3)
    local seconds = {}
    for _, row in ipairs(lines.rows) do
      seconds[row.line] = row.seconds
    end
    local first = line_of("local function spinning_lines")
    local a, b, c = seconds[first + 4], seconds[first + 6], seconds[first + 8]
    local whole = watch[1] + watch[2] + watch[3]
    lu.assertAlmostEquals(100 * a / (a + b + c), 100 * watch[1] / whole, margin)
    lu.assertAlmostEquals(100 * b / (a + b + c), 100 * watch[2] / whole, margin)
    lu.assertAlmostEquals(100 * c / (a + b + c), 100 * watch[3] / whole, margin)
  end)
end

function TestLines:test_sampled_lines()
  tries(function()
    local lines = profiler.lines(mixture, { sampled = true })
    lu.assertNil((lines:run(mixture, timer.thread, 0.4)))
    local seconds, all = {}, 0
    for _, row in ipairs(lines.rows) do
      lu.assertEquals(lines.functions[row.fn].name, "mixture")
      lu.assertNil(row.hits)
      seconds[row.line], all = row.seconds, all + row.seconds
    end
    local first = line_of("local function mixture")
    lu.assertAlmostEquals(100 * seconds[first + 2] / all, 70, margin)
    lu.assertAlmostEquals(100 * seconds[first + 3] / all, 20, margin)
    lu.assertAlmostEquals(100 * seconds[first + 4] / all, 10, margin)
    lu.assertStrContains(lines:text(), "JIT compiler on")
    lu.assertStrContains(lines:text(), "seventy(clock, clock() + seconds * 0.07)")
  end)
  local lines = profiler.lines { sampled = true }
  lu.assertErrorMsgContains("boom", lines.run, lines, function() error("boom") end)
  lu.assertEquals(profiler.last, lines)
  lu.assertStrContains(tostring(lines), "Let it run longer")
  lu.assertErrorMsgContains("a function is expected, got nil", lines.run, lines)
end

function TestLines:test_errors()
  lu.assertErrorMsgContains('there is no option "sample"', profiler.lines, lined, { sample = true })
  lu.assertErrorMsgContains("sampled must be true or false, got 1", profiler.lines, { sampled = 1 })
  lu.assertErrorMsgContains("argument 2 must be a function, got number", profiler.lines, lined, 2)
  lu.assertErrorMsgContains("only Lua functions have lines", profiler.lines, math.sin)
end

TestJit = {}

local function closures(n)
  local t = {}
  for i = 1, n do
    t[1] = function() return i end -- a closure in a loop
  end
  return t
end

local function compiles(n)
  local x = 0
  for i = 1, n do -- compiles well
    x = x + i
  end
  return x
end

-- (A recording may be given up for another reason first, as when the collector runs a finaliser meanwhile: hence the tries.)
function TestJit:test_a_known_abort_is_explained_at_its_line()
  tries(function()
    local report = profiler.jit(function()
      for _ = 1, 50 do
        closures(500)
      end
    end)
    local found
    for _, abort in ipairs(report.aborts) do
      if abort.at_line == line_of("-- a closure in a loop") then
        found = abort
      end
    end
    lu.assertStrContains(found.text, "a function is made inside the loop")
    lu.assertStrContains(found.cure, "before the loop")
    lu.assertStrContains(report:text(), "-- a closure in a loop")
  end)
end

-- (LuaJIT now and then finds no room for machine code where it looks, and drops all traces: hence the tries.)
function TestJit:test_compiled_loops_are_named()
  tries(function()
    local report = profiler.jit(compiles, 10000)
    local mark
    for _, loop in ipairs(report.loops) do
      if loop.line == line_of("-- compiles well") then
        mark = loop.mark
      end
    end
    lu.assertEquals(mark, "compiled")
  end)
end

local function with_constants(n)
  local x = 0LL -- a C value among the function's constants
  for _ = 1, n do
    x = x + 1LL
  end
  local function inner(m)
    for _ = 1, m do x = x + 1LL end -- of a function inside
  end
  inner(n)
  return x
end

function TestJit:test_functions_inside_and_constants_of_all_kinds()
  local report, x = profiler.jit(with_constants, 1000)
  lu.assertEquals(x, 2000LL)
  local found
  for _, loop in ipairs(report.loops) do
    found = found or loop.line == line_of("-- of a function inside")
  end
  lu.assertTrue(found)
end

function TestJit:test_it_needs_the_compiler()
  pg.jit("off")
  local ok, message = pcall(profiler.jit, compiles, 10)
  pg.jit("on")
  lu.assertFalse(ok)
  lu.assertStrContains(message, "the JIT compiler is off")
end

TestMemory = {}

local kept = {}

local function leaks(n)
  for i = 1, n do
    kept[#kept + 1] = { i, { i } } -- a leak
    local garbage = { i }
  end
end

local function temporaries(a)
  local b
  for _ = 1, 20 do
    b = a + 1 -- a temporary
  end
end

local function memory_line(profile, text)
  local line = line_of(text)
  for _, row in ipairs(profile.lines) do
    if row.line == line then
      return row
    end
  end
end

function TestMemory:test_a_leak_is_named_at_its_line()
  local profile = profiler.memory(leaks, 30000)
  lu.assertEquals(profile:held()[1].row.line, line_of("-- a leak"))
  lu.assertTrue(profile:held()[1].held > 30000 * 64) -- two tables each
  lu.assertStrContains(profile:text(), "-- a leak")
  local other = memory_line(profile, "local garbage = { i }")
  lu.assertTrue(other.lua_bytes > 30000 * 32)
  lu.assertTrue(other.lua_held < 0.1 * other.lua_bytes)
  kept = {}
end

-- Growth over time is seen where there are enough points of it, one a millisecond at most.
function TestMemory:test_growth_and_the_hint_at_a_leak()
  local function run(seconds, step)
    local till = timer.now() + seconds
    repeat
      step(300)
    until timer.now() > till
  end
  local seconds = 0.1
  tries(function()
    seconds = 2 * seconds -- a busy machine does less in it
    local profile = profiler.memory(run, seconds, leaks)
    kept = {}
    lu.assertTrue(profile:grows())
    lu.assertStrContains(profile:text(), "Memory grew all the time")
    lu.assertStrMatches(profile:text(), ".*Most was made at profiler%.lua:" .. line_of("-- a leak") .. ":\n.*")
    local last, before = profile.curve[#profile.curve], 0
    lu.assertTrue(last.lua > profile.curve[1].lua)
    for _, point in ipairs(profile.curve) do
      lu.assertTrue(point.seconds >= before)
      before = point.seconds
    end
    lu.assertTrue(profile.peak >= last.lua and profile.peak_lua + profile.peak_arrays == profile.peak)
    lu.assertTrue(profile.resident > profile.peak)
  end)
  -- What is let go again is no leak.
  local profile = profiler.memory(run, 0.05, function(n)
    local t = {}
    for i = 1, n do
      t[i] = { i }
    end
  end)
  lu.assertNotStrContains(profile:text(), "Memory grew all the time")
end

function TestMemory:test_arrays_are_counted_by_line()
  local a = array.ones(100000)
  local profile = profiler.memory(temporaries, a)
  local row = memory_line(profile, "-- a temporary")
  lu.assertEquals(row.array_count, 20)
  lu.assertEquals(row.array_bytes, 20 * 800000)
  lu.assertTrue(profile.peak_arrays >= 800000)
  lu.assertStrContains(profile:text(), "made 20 arrays")
end

function TestMemory:test_it_leaves_the_vm_as_it_was()
  pcall(profiler.memory, error, "x")
  lu.assertTrue(jit.status())
  lu.assertNil(debug.gethook())
  local profile, a, b = profiler.memory(function(x) return x, 2 end, 1)
  lu.assertEquals({ a, b }, { 1, 2 })
  lu.assertTrue(profile.peak > 0)
end

TestCounters = {}

function TestCounters:test_they_count_or_say_why_not()
  local function touch()
    local a = array.zeros(3000000)
    a:add_(1)
    return 5
  end
  local ok, counters, five = pcall(profiler.counters, touch)
  if not ok then
    lu.assertStrContains(counters, "not supported: profiler.counters: ")
    return
  end
  lu.assertEquals(five, 5)
  lu.assertTrue(counters.wall > 0)
  lu.assertTrue(counters.page_faults ~= nil or counters.missing ~= nil)
  if counters.instructions then
    lu.assertTrue(counters.instructions > 300000)
    local more = profiler.counters(function()
      for _ = 1, 20 do
        touch()
      end
    end)
    lu.assertTrue(more.instructions > 5 * counters.instructions)
  else
    lu.assertStrContains(counters:text(), "The others are not there: ")
  end
  lu.assertErrorMsgContains("boom", profiler.counters, function() error("boom") end)
end

TestOperations = {}

local function operation(profile, name)
  for _, row in ipairs(profile.operations) do
    if row.operation == name then
      return row
    end
  end
end

function TestOperations:test_calls_bytes_and_operations_are_counted()
  local a, m = array.ones(1000), array.ones(50, 60)
  array.matmul(m, m:transpose())
  local profile, seven = profiler.ops(function()
    for _ = 1, 10 do
      local b = a + a
    end
    array.ones(10):add_(1)
    a:exp({ out = a })
    local p = array.matmul(m, m:transpose())
    local s = a:sum()
    a:fill(1)
    return 7
  end)
  lu.assertEquals(seven, 7)
  local add = operation(profile, "add") -- add_(1) moves less, so it is a row of its own
  lu.assertEquals(add.count, 10)
  lu.assertEquals(add.dtype, "float64")
  lu.assertEquals(add.flops, 10000)
  lu.assertEquals(add.bytes, 240000)
  lu.assertEquals(operation(profile, "exp").flops, 20000)
  lu.assertEquals(operation(profile, "matmul").flops, 2 * 50 * 50 * 60)
  lu.assertEquals(operation(profile, "sum").bytes, 8000)
  lu.assertTrue(add.seconds > 0 and add.seconds >= add.longest and profile.seconds <= profile.wall)
  lu.assertStrContains(profile:text(), "matmul")
end

function TestOperations:test_what_is_not_watched_is_not_counted()
  local a = array.ones(10)
  local profile = profiler.ops(function() end)
  local b = a + a
  lu.assertEquals(profile.count, 0)
  lu.assertStrContains(profile:text(), "0 operations")
  pcall(profiler.ops, error)
  lu.assertEquals(profiler.ops(function() return a + a end).count, 1)
end

function TestOperations:test_calls_of_kernels()
  local kernel = pg.kernel
  local double = kernel.jit(function(x) return 2 * x end)
  double(1.5)
  local profile = profiler.ops(function()
    for i = 1, 200 do
      assert(double(i + 0.5) == 2 * i + 1)
    end
  end)
  lu.assertEquals(profile.count, 200)
  lu.assertEquals(profile.operations[1].call, "pg_kernel_call")
  local fails = kernel.jit(function(x, i) return x[i] end)
  profile = profiler.ops(function() lu.assertFalse((pcall(fails, pg.array.ones(3), 7))) end)
  lu.assertEquals(profile.operations[1].count, 1)
end

function TestOperations:test_the_roof()
  local roof = profiler.roofline()
  lu.assertTrue(#roof.levels >= 1)
  lu.assertEquals(roof.levels[#roof.levels].name, "memory")
  lu.assertTrue(roof.levels[1].bandwidth > 1e8 and roof.peak > 1e8 and roof.peak_single > 1e8)
  lu.assertEquals(profiler.roofline().peak, roof.peak) -- measured once
  lu.assertStrContains(roof:text(), "memory is the limit")
  local a = array.ones(2000000)
  local profile = profiler.ops(function()
    for _ = 1, 5 do
      a:add_(1)
    end
  end)
  local bound = profile:bound(operation(profile, "add"))
  lu.assertEquals(bound.bound, "memory")
  lu.assertAlmostEquals(bound.intensity, 1 / 16, 0.03)
  lu.assertTrue(bound.share > 0)
  local tiny = profiler.ops(function()
    local b = array.ones(2) + 1
  end)
  lu.assertNotNil(tiny:bound(operation(tiny, "add")).text)
  lu.assertErrorMsgContains("there is no option", profiler.roofline, { again = true })
end

TestTimeline = {}

function TestTimeline:test_spans_nest_and_operations_are_in_them()
  local a = array.ones(1000)
  local timeline, x, y = profiler.timeline(function()
    profiler.span("outer", function()
      profiler.span("in \"quotes\"", function() return a + a end)
      profiler.mark("now")
    end)
    lu.assertErrorMsgContains("boom", profiler.span, "bad", error, "boom")
    return 1, 2
  end)
  lu.assertEquals({ x, y }, { 1, 2 })
  local by_name = {}
  for _, event in ipairs(timeline.events) do
    by_name[event.name] = event
  end
  local outer, inner, add = by_name.outer, by_name['in "quotes"'], by_name.add
  lu.assertTrue(outer.begin <= inner.begin and inner.begin <= add.begin)
  lu.assertTrue(add.begin + add.seconds <= inner.begin + inner.seconds)
  lu.assertTrue(inner.begin + inner.seconds <= outer.begin + outer.seconds)
  lu.assertEquals(by_name.now.phase, "i")
  lu.assertNotNil(by_name.bad)
  local path = os.tmpname() .. ".json"
  timeline:write(path)
  local trace = pg.io.read_json(path)
  os.remove(path)
  lu.assertEquals(#trace.traceEvents, #timeline.events + 1 + 2 * #timeline.threads)
  lu.assertStrContains(tostring(timeline), "outer")
  lu.assertErrorMsgContains(".json or .txt", timeline.write, timeline, "x.svg")
end

-- "Trace Event Format": what each kind of event must have.
function TestTimeline:test_the_file_is_as_the_format_says()
  local timeline = profiler.timeline(function()
    profiler.span("s", function() profiler.counter("level", 2.5) end)
    profiler.mark("m")
    collectgarbage()
  end)
  local path = os.tmpname() .. " ä.json"
  timeline:write(path)
  local trace = pg.io.read_json(path)
  os.remove(path)
  local kinds, threads = {}, {}
  for _, event in ipairs(trace.traceEvents) do
    kinds[event.ph] = (kinds[event.ph] or 0) + 1
    lu.assertIsString(event.name)
    lu.assertIsNumber(event.pid)
    lu.assertIsNumber(event.tid)
    if event.ph == "M" then
      threads[event.tid] = true
    else
      lu.assertTrue(threads[event.tid]) -- its thread was named before
      lu.assertTrue(event.ts >= 0 and event.ts <= timeline.wall * 1e6 + 1)
      lu.assertIsString(event.cat)
    end
    if event.ph == "X" then
      lu.assertTrue(event.dur >= 0)
    elseif event.ph == "C" then
      lu.assertIsNumber(event.args.value)
    elseif event.ph == "i" then
      lu.assertEquals(event.s, "t")
    end
  end
  lu.assertTrue(kinds.M > 0 and kinds.X > 0 and kinds.C > 0 and kinds.i > 0)
end

function TestTimeline:test_garbage_collections()
  local timeline = profiler.timeline(function()
    local _ = {}
    collectgarbage()
    lu.assertEquals(collectgarbage("count") > 0, true) -- not one
  end)
  local asked, ended, heap = 0, 0, 0
  for _, event in ipairs(timeline.events) do
    asked = asked + (event.category == "garbage" and event.name == "collectgarbage" and 1 or 0)
    ended = ended + (event.name == "a collection ended" and 1 or 0)
    if event.name == "Lua heap" then
      heap = heap + 1
      lu.assertTrue(event.value > 1000)
    end
  end
  lu.assertEquals(asked, 1)
  lu.assertTrue(ended >= 1)
  lu.assertTrue(heap >= 3)
  collectgarbage() -- as before
end

function TestTimeline:test_tasks_of_a_pool_are_on_their_threads()
  local parallel = pg.parallel
  local timeline = profiler.timeline(function()
    local pool = parallel.pool(2)
    lu.assertEquals(pool:map(function(x)
      local pg = require "perigee"
      return pg.profiler.span("of task " .. x, function() return (pg.array.ones(10) * x):sum() end)
    end, { 1, 2, 3 }), { 10, 20, 30 })
    pool:shutdown()
  end)
  local tasks, spans = 0, {}
  for _, event in ipairs(timeline.events) do
    local thread = timeline.threads[event.thread]
    if event.category == "task" then
      tasks = tasks + 1
      lu.assertStrMatches(thread, "worker [12]")
    elseif event.category == "span" then
      spans[event.name] = true
      lu.assertStrMatches(thread, "worker [12]")
    end
  end
  lu.assertTrue(tasks >= 1)
  lu.assertEquals(spans, { ["of task 1"] = true, ["of task 2"] = true, ["of task 3"] = true })
  lu.assertEquals(timeline.threads[1], "main")
end

function TestTimeline:test_messages_are_arrows_between_spans()
  local parallel = pg.parallel
  local pool, queue = parallel.pool(1), parallel.queue()
  local timeline = profiler.timeline(function()
    local future = pool:submit(function() return queue:get(), queue:get() end)
    queue:put(1)
    queue:put { "two" }
    future:result()
  end)
  pool:shutdown()
  local from, to = {}, {}
  for _, event in ipairs(timeline.events) do
    if event.arrow then
      lu.assertEquals({ event.name, event.category }, { "message", "queue" })
      local ends = event.phase == "s" and from or to
      lu.assertNil(ends[event.arrow])
      ends[event.arrow] = event
    end
  end
  local count = 0
  for arrow, sent in pairs(from) do
    count = count + 1
    lu.assertTrue(to[arrow].begin >= sent.begin)
    lu.assertEquals(timeline.threads[sent.thread], "main")
    lu.assertEquals(timeline.threads[to[arrow].thread], "worker 1")
  end
  lu.assertEquals(count, 2)
  local path = os.tmpname() .. ".json"
  timeline:write(path)
  local trace = pg.io.read_json(path)
  os.remove(path)
  local arrows = 0
  for _, event in ipairs(trace.traceEvents) do
    if event.ph == "s" or event.ph == "f" then
      arrows = arrows + 1
      lu.assertTrue(from[event.id] ~= nil)
    end
  end
  lu.assertEquals(arrows, 4)
end

function TestTimeline:test_tasks_of_loops_and_graphs_are_spans()
  local async, tasks = pg.async, pg.tasks
  local square = tasks.delayed(function(x) return x * x end, { name = "square" })
  local fails = tasks.delayed(function() error("x") end, { name = "fails" })
  local timeline = profiler.timeline(function()
    async.run(function()
      async.sleep(0)
      async.sleep(0)
    end)
    lu.assertEquals(square(3):compute { scheduler = "serial" }, 9)
    lu.assertEquals((square(2) + square(3)):compute { workers = 2 }, 13)
    lu.assertFalse((pcall(function() fails():compute { workers = 2 } end)))
  end)
  local seen = {}
  for _, event in ipairs(timeline.events) do
    local key = event.category .. " " .. event.name
    seen[key] = (seen[key] or 0) + 1
  end
  lu.assertEquals(seen["async the main task"], 3)
  lu.assertEquals(seen["delayed square"], 3)
  lu.assertEquals(seen["delayed fails"], 1)
end

function TestTimeline:test_errors()
  lu.assertErrorMsgContains("the value must be a finite number, got nan", profiler.counter, "x", 0 / 0)
  lu.assertErrorMsgContains("the name must be a string", profiler.counter, 1, 2)
  lu.assertErrorMsgContains("boom", profiler.timeline, function()
    profiler.span("open", function() error("boom") end)
  end)
  lu.assertStrContains(tostring(profiler.last), "open")
  local timeline = profiler.timeline(function() profiler.mark("one") end)
  profiler.timeline(function() profiler.mark("another") end)
  lu.assertStrContains(tostring(timeline), "one") -- made into text after another was recorded
end

function TestTimeline:test_without_a_timeline_spans_are_calls()
  lu.assertEquals({ profiler.span("x", function(...) return ... end, 1, 2) }, { 1, 2 })
  profiler.mark("nothing")
  lu.assertErrorMsgContains("the name must be a string", profiler.span, print)
end

TestExport = {}

local function written(profile, name, kind)
  local path = os.tmpname() .. name
  profile:write(path, kind)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  os.remove(path)
  return text
end

function TestExport:test_formats_hold_the_same_time()
  local profile = profiler.trace(mixture, timer.now, 0.05)
  local folded, sum = written(profile, ".folded"), 0
  for line in folded:gmatch("[^\n]+") do
    sum = sum + tonumber(line:match("^.+ (%d+)$"))
  end
  lu.assertAlmostEquals(sum * 1e-6, profile.seconds, 0.001)
  lu.assertStrContains(folded, "mixture (profiler.lua:")
  local callgrind = written(profile, ".callgrind")
  sum = 0
  local skip
  for line in callgrind:gmatch("[^\n]+") do
    local cost = line:match("^%d+ (%d+)$")
    if cost and not skip then
      sum = sum + tonumber(cost)
    end
    skip = line:find("^calls=") ~= nil -- the next line is inclusive
  end
  lu.assertAlmostEquals(sum * 1e-9, profile.seconds, 1e-5)
  lu.assertStrContains(written(profile, ".txt"), "Who calls whom")
end

-- What speedscope's schema asks of a "sampled" profile.
function TestExport:test_speedscope()
  for _, profile in ipairs { profiler.trace(mixture, timer.now, 0.02), profiler.sample(mixture, timer.thread, 0.02) } do
    profile.title = 'a "title"\n' .. string.char(1)
    local scope = pg.io.parse_json(written(profile, ".speedscope.json"))
    lu.assertEquals(scope["$schema"], "https://www.speedscope.app/file-format-schema.json")
    lu.assertEquals(scope.name, profile.title)
    lu.assertEquals(#scope.shared.frames, #profile.functions)
    for _, frame in ipairs(scope.shared.frames) do
      lu.assertIsString(frame.name)
      lu.assertIsString(frame.file)
      lu.assertTrue(frame.line >= 1)
    end
    lu.assertEquals(#scope.profiles, 1)
    local one = scope.profiles[1]
    lu.assertEquals({ one.type, one.unit, one.startValue }, { "sampled", "seconds", 0 })
    lu.assertEquals(#one.samples, #one.weights)
    local sum = 0
    for i, stack in ipairs(one.samples) do
      sum = sum + one.weights[i]
      for _, frame in ipairs(stack) do
        lu.assertTrue(frame >= 0 and frame < #scope.shared.frames)
      end
    end
    lu.assertAlmostEquals(sum, one.endValue, 1e-6)
    lu.assertAlmostEquals(sum, profile.seconds, 1e-5)
  end
end

function TestExport:test_callgrind_annotate_reads_it()
  local there = io.popen("command -v callgrind_annotate")
  local tool = there:read("*l")
  there:close()
  if not tool then
    lu.skip("callgrind_annotate (Debian: valgrind) is not installed")
  end
  local profile = profiler.trace(mixture, timer.now, 0.05)
  profile.title = "a title"
  local path = os.tmpname() .. " ä.callgrind"
  profile:write(path)
  local pipe = io.popen("callgrind_annotate --auto=no --threshold=100 --tree=both '" .. path .. "' 2>&1")
  local text = pipe:read("*a")
  pipe:close()
  os.remove(path)
  lu.assertStrContains(text, "Profiled target:  a title")
  lu.assertNotStrContains(text, "WARNING")
  -- The totals are the profile's, and mixture calls the three.
  local total = text:match("([%d,]+) %(100%.0%%%)%s+PROGRAM TOTALS")
  lu.assertAlmostEquals(tonumber((total:gsub(",", ""))) * 1e-9, profile.seconds, 1e-5)
  for _, name in ipairs { "seventy", "twenty", "ten" } do
    lu.assertStrMatches(text, ".*>%s+[^\n]*profiler%.lua:" .. name .. " %(10x%).*")
  end
end

function TestExport:test_svg_and_html_are_whole_and_escaped()
  local profile = profiler.trace(mixture, timer.now, 0.01)
  profile.title = "a <b> & \"c\""
  for _, text in ipairs { written(profile, ".svg"), written(profile, ".html") } do
    lu.assertStrContains(text, "a &lt;b&gt; &amp; &quot;c&quot;")
    lu.assertStrContains(text, "seventy")
    lu.assertStrContains(text, "</svg>")
    lu.assertNil(text:find("https?://[^w]")) -- self-contained: nothing but the name of the namespace
  end
end

-- The counterpart of cython -a: each line of the script with what the compiler made of it.
function TestExport:test_annotated_source_of_the_compiler()
  tries(function()
    local report = profiler.jit(function()
      compiles(10000)
      for _ = 1, 50 do
        closures(500)
      end
    end)
    local html = written(report, ".html")
    local number = line_of("-- compiles well")
    lu.assertStrMatches(html, '.*<tr style="background:#e3f4e1"><td class="n">' .. number ..
      "</td><td>%+</td><td>  for i = 1, n do %-%- compiles well</td></tr>\n.*loop compiled.*")
    number = line_of("-- a closure in a loop")
    lu.assertStrMatches(html, '.*<tr style="background:#fbdcd8"><td class="n">' .. number .. "</td><td>!</td>.*")
    lu.assertStrContains(html, "a function is made inside the loop")
    lu.assertStrContains(html, "&quot;")
    lu.assertErrorMsgContains("has no call stacks", report.write, report, "x.svg")
  end)
end

function TestExport:test_every_kind_of_profile_has_a_page()
  local lines = profiler.lines(lined)
  lines:run(lined, 10)
  local sampled = profiler.lines(mixture, { sampled = true })
  sampled:run(mixture, timer.thread, 0.02)
  local page = written(lines, ".html")
  lu.assertStrMatches(page, '.*<td class="n">10</td><td>    if i %% 2 == 0 then</td>.*')
  lu.assertStrContains(written(sampled, ".html"), "local function mixture")
  page = written(profiler.memory(temporaries, array.ones(100000)), ".html")
  lu.assertStrMatches(page, ".*<td class=\"n\">15%.3 MiB</td>.*b = a %+ 1 %-%- a temporary.*")
  lu.assertStrContains(written(profiler.ops(temporaries, array.ones(10)), ".html", "html"), "operations of the engine")
end

function TestExport:test_what_cannot_be_written_says_so()
  local profile = profiler.trace(top)
  lu.assertErrorMsgContains("the format does not follow from the name", profile.write, profile, "x.doc")
  lu.assertErrorMsgContains('there is no format "pdf"', profile.write, profile, "x.txt", "pdf")
  lu.assertErrorMsgContains("cannot write /nowhere/x.txt", profile.write, profile, "/nowhere/x.txt")
  lu.assertErrorMsgContains("has no call stacks", profiler.lines().write, profiler.lines(), "x.svg")
end

TestCommand = {}

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local perigee = output_of("readlink /proc/$PPID/exe"):gsub("\n", "")

local function profile_of(script, options, name)
  local path = os.tmpname() .. (name or "")
  local file = assert(io.open(path, "w"))
  file:write(script)
  file:close()
  local text = output_of(string.format("'%s' profile %s '%s' one two 2>&1; echo $?", perigee, options, path))
  os.remove(path)
  return text
end

local busy = [[
local function work(n) local x = 0
  for i = 1, n do x = x + math.sin(i) end
  return x
end
work(1e5)
print(...)
]]

function TestCommand:test_each_kind()
  for options, expected in pairs { [""] = "Traced", ["--sample"] = "Sampled", ["--lines"] = "for i = 1, n do",
    ["--jit"] = "loop compiled", ["--memory"] = "Allocated, by line", ["--ops"] = "operations of the engine", ["--timeline"] = "ui.perfetto.dev", ["--lines --function work"] = "for i = 1, n do", ["--sort calls"] = "work" } do
    tries(function()
      local text = profile_of(busy, options, " ä b.lua")
      lu.assertStrContains(text, expected)
      lu.assertStrContains(text, "one\ttwo")
      lu.assertStrMatches(text, ".*\n0\n")
    end)
  end
end

-- Profiles of calls and lines run the script once more, as it is, and print its time; what it prints then is not seen.
function TestCommand:test_the_real_time()
  for _, options in ipairs { "", "--lines" } do
    local text = profile_of(busy, options)
    lu.assertStrContains(text, "Really, without the profiler")
    local _, printed = text:gsub("one\ttwo", "")
    lu.assertEquals(printed, 1)
    lu.assertNotStrContains(profile_of(busy, options .. " --once"), "Really")
    text = profile_of("error('broken')", options)
    lu.assertNotStrContains(text, "Really")
    lu.assertStrMatches(text, ".*broken.*\n1\n")
  end
  lu.assertNotStrContains(profile_of(busy, "--sample"), "Really")
end

function TestCommand:test_sampled_lines()
  lu.assertStrContains(profile_of(busy, "--lines --sampled --function work"), "Sampled lines")
  lu.assertStrContains(profile_of(busy, "--lines --sampled --function wrok"), "No sample is in ")
  lu.assertStrMatches(profile_of(busy, "--sampled"), ".*\n2\n")
end

-- Measured once and kept: the second time it is read.
function TestCommand:test_roofline()
  local folder = os.tmpname()
  os.remove(folder)
  local command = string.format("XDG_CACHE_HOME='%s' '%s' roofline 2>&1; echo $?", folder, perigee)
  local first = output_of(command)
  lu.assertStrMatches(first, ".*memory is the limit.*\n0\n")
  local file = assert(io.open(folder .. "/perigee/roofline.json"))
  local kept = file:read("*a")
  file:close()
  lu.assertEquals(#pg.io.parse_json(kept).roofs, 1)
  lu.assertEquals(output_of(command), first)
  -- A machine with other caches wrote it: the home folder may be that of several.
  file = assert(io.open(folder .. "/perigee/roofline.json", "w"))
  file:write((kept:gsub('"bytes":%d+', '"bytes":7340032', 1)))
  file:close()
  lu.assertNotStrContains(output_of(command), "7.0 MiB")
  os.execute("rm -r '" .. folder .. "'")
end

function TestCommand:test_a_failing_script_still_gives_its_profile()
  for _, options in ipairs { "", "--sample", "--lines", "--jit", "--memory" } do
    local text = profile_of(busy .. "\nerror('broken')", options)
    lu.assertStrMatches(text, ".*broken.*\n1\n")
    lu.assertTrue((text:find("Traced", 1, true) or text:find("Sampled", 1, true) or
      text:find("JIT compiler:", 1, true) or text:find("Peak", 1, true)) ~= nil)
  end
end

function TestCommand:test_a_script_that_ends_itself_still_gives_its_profile()
  for options, expected in pairs { [""] = "Traced", ["--sample"] = "Sampled", ["--lines"] = "Traced lines" } do
    local text = profile_of(busy .. "\nos.exit(7)", "--trusted " .. options)
    lu.assertStrMatches(text, ".*" .. expected .. ".*\n7\n")
  end
end

function TestCommand:test_bad_input_is_named()
  lu.assertStrMatches(profile_of("x = = 1", ""), ".*:1: .*\n1\n")
  lu.assertStrMatches(output_of("'" .. perigee .. "' profile nowhere.lua 2>&1; echo $?"),
    "perigee: cannot read nowhere.lua: No such file or directory\n2\n")
  lu.assertStrMatches(profile_of(busy, "-o /nowhere/x.svg"), "perigee: cannot write /nowhere/x.svg: .*\n2\n")
  lu.assertStrMatches(profile_of(busy, "--sample --lines"), ".*only one of %-%-sample.*\n2\n")
  lu.assertStrMatches(profile_of(busy, "--function work"), ".*%-%-function goes with %-%-lines.*\n2\n")
  lu.assertStrMatches(profile_of(busy, "--sort size"), ".*per_call, name or defined is expected, not size.*\n2\n")
  -- Before the script runs, which may take long.
  local refused = profile_of("print 'it ran'", "-o /tmp/perigee-profile.xyz")
  lu.assertStrContains(refused, "the format does not follow from the name")
  lu.assertNotStrContains(refused, "it ran")
  lu.assertStrMatches(profile_of(busy, "--lines --function wrok"), ".*no function \"wrok\" ran; these did: .*work.*\n1\n")
end

os.exit(lu.LuaUnit.run(), true)
