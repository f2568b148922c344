-- Clocks and benchmarks. Nothing here depends on how fast the machine is; comparisons use CPU time, which other
-- programs on the machine hardly disturb.
local lu = require "luaunit"
local pg = require "perigee"
local timer, bench = pg.timer, pg.bench

TestTimer = {}

function TestTimer:test_clocks_go_forward()
  for _, clock in ipairs { "now", "cpu", "thread" } do
    local last, sum = timer[clock](), 0
    for _ = 1, 2000 do
      local now = timer[clock]()
      lu.assertTrue(now >= last)
      last, sum = now, sum + now
    end
    lu.assertTrue(sum > 0)
  end
end

function TestTimer:test_clocks_stay_in_compiled_traces()
  local aborts, traces = 0, 0
  local function watch(what, _, fn)
    if what == "abort" and debug.getinfo(fn, "S").source == "@perigee:timer" then
      aborts = aborts + 1
    elseif what == "stop" then
      traces = traces + 1
    end
  end
  local function loop(n)
    local total = 0
    for _ = 1, n do
      total = total + timer.now() + timer.cpu() + timer.thread()
      timer.sleep(0)
    end
    return total
  end
  jit.attach(watch, "trace")
  loop(1000)
  jit.attach(watch)
  lu.assertEquals(aborts, 0)
  lu.assertTrue(traces >= 1)
end

function TestTimer:test_sleep_waits_and_takes_no_cpu_time()
  local wall, cpu = timer.now(), timer.thread()
  timer.sleep(0.05)
  lu.assertTrue(timer.now() - wall >= 0.05)
  lu.assertTrue(timer.thread() - cpu < timer.now() - wall)
end

function TestTimer:test_busy_work_takes_cpu_time()
  local cpu, thread = timer.cpu(), timer.thread()
  local x = 0
  while timer.cpu() - cpu < 0.01 do
    x = x + 1
  end
  lu.assertTrue(timer.thread() > thread)
end

function TestTimer:test_resolution()
  for _, clock in ipairs { "wall", "cpu", "thread" } do
    lu.assertTrue(timer.resolution(clock) > 0)
  end
  lu.assertTrue(timer.resolution() > 0)
end

function TestTimer:test_errors()
  lu.assertErrorMsgContains("seconds must be a number from 0 to 1e9, got -1", timer.sleep, -1)
  lu.assertErrorMsgContains("seconds must be a number from 0 to 1e9, got nil", timer.sleep)
  lu.assertErrorMsgContains("seconds must be a number from 0 to 1e9", timer.sleep, 0 / 0)
  lu.assertErrorMsgContains('the clock must be "wall", "cpu" or "thread", got sun', timer.resolution, "sun")
end

TestBench = {}

-- n steps that no compiler shortens.
local function work(n)
  return function()
    local x = 0.5
    for _ = 1, n do
      x = 3.7 * x * (1 - x)
    end
    return x
  end
end

-- The verdict that is wanted, out of at most five measurements: code laid out badly, or a neighbour on a shared machine,
-- can make one of them differ for good; a bias of the method would show in all five.
local function compare_until(wanted, who, make, options)
  local r
  for _ = 1, 5 do
    r = bench.compare(make(), options)
    if r.candidates[who].verdict == wanted then
      break
    end
  end
  lu.assertEquals(r.candidates[who].verdict, wanted, r.table)
  return r
end

local careful = { clock = "cpu", confidence = 0.999, seconds = 1, quiet = true }

function TestBench:test_equal_work_shows_no_difference()
  local r = compare_until("no difference shown", "mine", function()
    return { naive = work(20000), mine = work(20000) }
  end, careful)
  lu.assertStrContains(tostring(r), "no difference shown between mine and naive")
  lu.assertStrContains(r.table, "no difference shown")
end

function TestBench:test_equal_short_work_shows_no_difference()
  -- Two closures of one function share bytecode; measured on one trace, the second came out 12% slower.
  local function short(x)
    return function() return x * 2 end
  end
  local r = compare_until("no difference shown", "b", function() return { a = short(1), b = short(2) } end, careful)
  lu.assertStrContains(r.table, "note: calling a function costs")
end

function TestBench:test_ten_percent_more_work_is_seen()
  local r = compare_until("faster", "mine", function()
    return { naive = work(22000), mine = work(20000), worse = work(24200) }
  end, careful)
  lu.assertEquals(r.baseline, "naive")
  lu.assertEquals(r.candidates.mine.verdict, "faster", r.table)
  lu.assertEquals(r.candidates.worse.verdict, "slower", r.table)
  lu.assertEquals(r.candidates.naive.speedup, 1)
  lu.assertTrue(r.candidates.mine.low <= r.candidates.mine.speedup)
  lu.assertTrue(r.candidates.mine.speedup <= r.candidates.mine.high)
  lu.assertTrue(r.rounds >= 12)
  lu.assertEquals(#r.candidates.mine.samples, r.rounds)
  lu.assertStrContains(tostring(r), "as fast as naive")
end

function TestBench:test_few_rounds_claim_nothing()
  -- Three rounds cannot give a 99% interval, whatever the difference.
  local r = bench.compare({ a = work(1000), b = work(100000) }, { clock = "cpu", rounds = 3, seconds = 0.1, quiet = true })
  lu.assertEquals(r.rounds, 3)
  lu.assertEquals(r.candidates.b.verdict, "no difference shown")
end

function TestBench:test_compare_prints_a_table()
  local print_before, lines = print, {}
  print = function(text) lines[#lines + 1] = text end
  local ok, r = pcall(bench.compare, { a = work(1000), b = work(1000) }, { seconds = 0.05, warmup = 0.05, baseline = "b" })
  print = print_before
  lu.assertTrue(ok, r)
  lu.assertEquals(lines, { r.table })
  lu.assertStrMatches(r.table, "candidate +median +best +speedup +99%% interval\n.*")
  lu.assertEquals(r.baseline, "b")
end

function TestBench:test_compare_leaves_the_scripts_random_numbers_alone()
  math.randomseed(1)
  local expected = { math.random(), math.random() }
  math.randomseed(1)
  local first = math.random()
  bench.compare({ a = work(10), b = work(10) }, { seconds = 0.02, warmup = 0.02, quiet = true })
  lu.assertEquals({ first, math.random() }, expected)
end

function TestBench:test_candidates_keep_their_upvalues()
  local function counter()
    local count = 0
    return function() count = count + 1 end, function() return count end
  end
  local f, f_count = counter()
  local g, g_count = counter()
  local r = bench.compare({ f = f, g = g }, { seconds = 0.02, warmup = 0.02, quiet = true })
  lu.assertTrue(f_count() > 2 * r.calls * r.rounds)
  lu.assertTrue(g_count() > 2 * r.calls * r.rounds)
end

function TestBench:test_run()
  local calls = 0
  local r = bench.run(function() calls = calls + 1 end, { name = "count", seconds = 0.1, warmup = 0.05 })
  lu.assertTrue(calls >= r.calls * #r.samples)
  lu.assertTrue(#r.samples >= 5 and #r.samples <= 100)
  lu.assertTrue(r.best > 0 and r.best <= r.median and r.best <= r.mean and r.deviation >= 0)
  local sum, best = 0, math.huge
  for _, t in ipairs(r.samples) do
    sum, best = sum + t, math.min(best, t)
  end
  lu.assertAlmostEquals(r.mean, sum / #r.samples, 1e-12)
  lu.assertEquals(r.best, best)
  lu.assertStrMatches(tostring(r), "count: %S+ %a+ a call .*")
end

function TestBench:test_run_times_each_call_in_full()
  -- The loop of calls must not hoist what is the same in every call: 100 times the work takes over 10 times as long.
  local short = bench.run(work(100), { clock = "cpu", seconds = 0.1 })
  local long = bench.run(work(10000), { clock = "cpu", seconds = 0.1 })
  lu.assertTrue(long.best > 10 * short.best)
end

function TestBench:test_run_on_slow_functions()
  local r = bench.run(function() timer.sleep(0.02) end, { seconds = 0.02, warmup = 0.02 })
  lu.assertEquals(#r.samples, 5)
  lu.assertEquals(r.calls, 1)
  lu.assertTrue(r.best >= 0.02)
  bench.run(function() timer.sleep(0.02) end, { clock = "cpu", seconds = 0.02, warmup = 0.02 }) -- ends, too
end

function TestBench:test_errors()
  local f = function() end
  local function fails(message, ...)
    lu.assertErrorMsgContains(message, ...)
  end
  fails("a function is expected, got 3", bench.run, 3)
  fails("there is no option \"second\"; there are clock, name, seconds, warmup", bench.run, f, { second = 1 })
  fails("bench.run: seconds must be a number of seconds above 0, got 0", bench.run, f, { seconds = 0 })
  fails('bench.run: clock must be "wall" or "cpu", got "sun"', bench.run, f, { clock = "sun" })
  fails("options are a table, got 1", bench.run, f, 1)
  fails("at least two candidates are expected, got 1", bench.compare, { a = f })
  fails("candidates need names", bench.compare, { f, f })
  fails("candidate a must be a function, got 1", bench.compare, { a = 1, b = f })
  fails("there is no candidate \"c\" to be the baseline; there are a, b", bench.compare, { a = f, b = f }, { baseline = "c" })
  fails("confidence must be a number from 0.5 to 0.9999", bench.compare, { a = f, b = f }, { confidence = 1 })
  fails("rounds must be an integer above 0, got 1.5", bench.compare, { a = f, b = f }, { rounds = 1.5 })
  fails("oh dear", bench.compare, { a = f, b = function() error("oh dear") end })
end

TestScaling = {}

-- Steps that no compiler shortens; the number of steps is the time.
local function steps(n)
  local x = 0.5
  for _ = 1, n do
    x = 3.7 * x * (1 - x)
  end
  return x
end

local growths = {
  ["n"] = { function(n) return steps(200 * n) end, { 10, 30, 100, 300, 1000 } },
  ["n^2"] = { function(n) return steps(n * n) end, { 50, 100, 200, 400, 800 } },
  ["n^3"] = { function(n) return steps(n * n * n) end, { 20, 30, 45, 65, 90 } },
  ["2^n"] = { function(n) return steps(2 ^ n) end, { 10, 12, 14, 16, 18, 20 } },
  ["constant"] = { function() return steps(20000) end, { 10, 100, 1000, 10000 } },
}

function TestScaling:test_known_orders_are_found()
  for order, case in pairs(growths) do
    local found
    for _ = 1, 5 do -- a neighbour may disturb
      found = bench.scaling(case[1], case[2], { seconds = 0.2, quiet = true })
      if found.order == order then
        break
      end
    end
    lu.assertEquals(found.order, order)
    lu.assertEquals(#found.times, #case[2])
    lu.assertStrContains(tostring(found), "grows as " .. order)
  end
end

function TestScaling:test_setup_is_not_timed()
  local made = {}
  local found = bench.scaling(function(t) return #t end, { 2, 4, 8, 16 }, { seconds = 0.05, quiet = true,
    setup = function(n)
      made[#made + 1] = n
      return { n }
    end })
  lu.assertEquals(made, { 2, 4, 8, 16 })
  lu.assertEquals(found.sizes, { 2, 4, 8, 16 })
end

function TestScaling:test_what_is_too_slow_is_left_out()
  local found = bench.scaling(function(n) timer.sleep(n > 5 and 0.2 or 0) end, { 2, 3, 4, 5, 6, 7, 8 },
    { seconds = 0.1, clock = "wall", quiet = true })
  lu.assertTrue(#found.sizes < 7)
  lu.assertStrContains(found.note, "were left out")
end

function TestScaling:test_errors()
  local function fails(text, ...)
    lu.assertErrorMsgContains(text, bench.scaling, ...)
  end
  fails("a function is expected, got 3", 3)
  fails("at least four sizes are expected, as in {1000, 2000, 4000, 8000}, got 2", print, { 2, 3 })
  fails("size 3 is 3", print, { 2, 3, 3, 4 })
  fails("there is no option \"size\"", print, { 2, 3, 4, 5 }, { size = 1 })
end

os.exit(lu.LuaUnit.run(), true)
