-- pg.bench: how long functions take, and whether one is faster than another. All times are seconds.
local core = ...
local timer = core.require "timer"
local floor, ceil, min, max, log, exp, sqrt, huge = math.floor, math.ceil, math.min, math.max, math.log, math.exp, math.sqrt,
  math.huge
local format, concat, sort = string.format, table.concat, table.sort
local funcinfo = require("jit.util").funcinfo

local bench = {}

-- ----------------------------------------------------------------------------------------------------- options -------
local function describe(value)
  return type(value) == "string" and format("%q", value) or tostring(value)
end

local function positive(what, legal)
  return function(name, value)
    if type(value) ~= "number" or not (value > 0 and value < huge) or (what == "integer" and floor(value) ~= value) then
      core.fail("%s must be %s, got %s", name, legal, describe(value))
    end
  end
end

local function of_type(wanted)
  return function(name, value)
    if type(value) ~= wanted then
      core.fail("%s must be a %s, got %s", name, wanted, describe(value))
    end
  end
end

local seconds = positive("number", "a number of seconds above 0")

local function clock_name(name, value)
  if value ~= "wall" and value ~= "cpu" then
    core.fail('%s must be "wall" or "cpu", got %s', name, describe(value))
  end
end

local function confidence(name, value)
  if type(value) ~= "number" or not (value >= 0.5 and value <= 0.9999) then
    core.fail("%s must be a number from 0.5 to 0.9999, got %s", name, describe(value))
  end
end

-- Checks the options against a table of checkers and fills in defaults.
local function read_options(where, given, checkers, defaults)
  if given ~= nil and type(given) ~= "table" then
    core.fail("%s: options are a table, got %s", where, describe(given))
  end
  local options = {}
  for name, value in pairs(defaults) do
    options[name] = value
  end
  for name, value in pairs(given or {}) do
    if not checkers[name] then
      local legal = {}
      for known in pairs(checkers) do
        legal[#legal + 1] = known
      end
      sort(legal)
      core.fail("%s: there is no option %s; there are %s", where, describe(name), concat(legal, ", "))
    end
    checkers[name](format("%s: %s", where, name), value)
    options[name] = value
  end
  return options
end

-- ------------------------------------------------------------------------------------------------------ timing -------
-- The loop that calls a function n times is never compiled. Compiled, LuaJIT would inline the function and move what
-- does not change between calls out of the loop; interpreted, every call runs in full (in its own compiled trace) and
-- gives its result back, and no candidate's trace can grow into another's. A call costs about 10 ns so.
local function call_repeatedly(fn, n)
  local result
  for _ = 1, n do
    result = fn()
  end
  return result
end
jit.off(call_repeatedly)

-- Seconds that n calls take. Garbage that others left is collected before the clock starts.
local function time(fn, n, read)
  collectgarbage()
  local start = read()
  call_repeatedly(fn, n)
  return read() - start
end

local readers = { wall = timer.now, cpu = timer.cpu }

-- The shortest slice worth timing: 5 ms, so that a reading of the clock and a scheduler's tick weigh little.
local slice = 5e-3

-- Warms fn up until a block of calls stops improving by 5% (LuaJIT compiles traces late), for `limit` seconds at most
-- where calls are that fast. Returns the seconds a call takes.
local function warm_up(fn, read, limit)
  local n, best, stale, start = 1, huge, 0, timer.now()
  while true do
    local t = time(fn, n, read)
    local out_of_time = timer.now() - start > limit
    if t < slice / 2 and not out_of_time then -- too short to judge
      n = min(n * 10, ceil(n * slice / max(t, slice / 1e3)))
    else
      stale = t / n > 0.95 * best and stale + 1 or 0
      best = min(best, t / n)
      if stale == 2 or out_of_time then
        return best
      end
    end
  end
end

-- What calling a function that does nothing costs.
local function cost_of_call(read)
  return warm_up(function() end, read, 0.05)
end

-- --------------------------------------------------------------------------------------------------- statistics ------
local function sorted(samples)
  local copy = {}
  for i = 1, #samples do
    copy[i] = samples[i]
  end
  sort(copy)
  return copy
end

local function median(samples)
  local s = sorted(samples)
  return (s[ceil(#s / 2)] + s[floor(#s / 2) + 1]) / 2
end

-- The interval of the median of n samples that the sign test gives: the k-th smallest and the k-th largest, for the
-- largest k with P(Binomial(n, 1/2) < k) <= (1 - level) / 2. It assumes nothing about how the samples are distributed.
local function sign_interval(samples, level)
  local n, s = #samples, sorted(samples)
  local probability, cumulative, k = 0.5 ^ n, 0, 0
  while k < n / 2 and cumulative + probability <= (1 - level) / 2 do
    cumulative = cumulative + probability
    k = k + 1
    probability = probability * (n - k + 1) / k
  end
  if k == 0 then
    return -huge, huge
  end
  return s[k], s[n + 1 - k]
end

local function summary(samples)
  local total, squares = 0, 0
  for i = 1, #samples do
    total = total + samples[i]
  end
  local mean = total / #samples
  for i = 1, #samples do
    squares = squares + (samples[i] - mean) ^ 2
  end
  return { best = sorted(samples)[1], median = median(samples), mean = mean, deviation = sqrt(squares / (#samples - 1)),
    samples = samples }
end

-- ----------------------------------------------------------------------------------------------------- printing ------
-- Three digits, trailing zeros kept, so that columns can be compared: 0.912, 1.10, 12.3, 456.
local function digits(x)
  return format(x < 0.9995 and "%.3f" or x < 9.995 and "%.2f" or x < 99.95 and "%.1f" or "%.0f", x)
end

local function show_time(t)
  if t < 1e-6 then
    return digits(t * 1e9) .. " ns"
  elseif t < 1e-3 then
    return digits(t * 1e6) .. " us"
  elseif t < 1 then
    return digits(t * 1e3) .. " ms"
  end
  return digits(t) .. " s"
end

local function show_ratio(x)
  return x == huge and "any" or digits(x)
end

local function clock_words(clock)
  return clock == "cpu" and "CPU time" or "wall time"
end

local function note_on_calls(fastest, call)
  if fastest < 10 * call then
    return format("note: calling a function costs %s of each call; put a loop inside to see more of your code",
      show_time(call))
  end
end

-- ---------------------------------------------------------------------------------------------------- bench.run ------
local run_checkers = { name = of_type "string", clock = clock_name, seconds = seconds, warmup = seconds }

local run_result = {
  __tostring = function(r)
    local lines = { format("%s%s a call (best %s, mean %s, deviation %s; %d samples of %d call%s, %s)",
      r.name and r.name .. ": " or "", show_time(r.median), show_time(r.best), show_time(r.mean), show_time(r.deviation),
      #r.samples, r.calls, r.calls == 1 and "" or "s", clock_words(r.clock)) }
    lines[2] = r.note
    return concat(lines, "\n")
  end,
}

--- bench.run(fn [, options]): measures what a call of fn() takes. Returns a table that prints well: best, median, mean,
--- deviation (standard, of the samples), samples (seconds a call, in order of measuring), calls (a sample is the mean of
--- so many), clock, name, note. Options: name; clock = "wall" (default) or "cpu" (CPU time of the process, which other
--- programs on the machine disturb less); seconds (1): how long to measure; warmup (1): how long to warm up at most.
--- There are 5 to 100 samples. What fn returns is not optimised away; what it computes and drops may be.
function bench.run(fn, options)
  if type(fn) ~= "function" then
    core.fail("bench.run: a function is expected, got %s", describe(fn))
  end
  options = read_options("bench.run", options, run_checkers, { clock = "wall", seconds = 1, warmup = 1 })
  local read = readers[options.clock]
  local cost = warm_up(fn, read, options.warmup)
  local least = max(options.seconds / 100, min(slice, options.seconds / 20))
  local calls = max(1, ceil(least / max(cost, 1e-10)))
  local count = max(5, min(100, floor(options.seconds / (calls * max(cost, 1e-10)))))
  local samples = {}
  for i = 1, count do
    samples[i] = time(fn, calls, read) / calls
  end
  local result = summary(samples)
  result.calls, result.clock, result.name = calls, options.clock, options.name
  result.note = note_on_calls(result.best, cost_of_call(read))
  return setmetatable(result, run_result)
end

-- ------------------------------------------------------------------------------------------------ bench.compare ------
local compare_checkers = { clock = clock_name, seconds = seconds, warmup = seconds, confidence = confidence,
  rounds = positive("integer", "an integer above 0"), baseline = of_type "string", quiet = of_type "boolean" }

-- Smaller differences are not claimed: where the machine code of equal functions happens to lie moves them by so much.
local margin = 0.02

-- Two closures of one function share its bytecode, and LuaJIT lets the second run through a side exit of the first's
-- trace (equal 12 ns functions came out 12% apart). So each gets a copy of the bytecode, with the same upvalues.
local function own_bytecode(fn, seen)
  local info = funcinfo(fn)
  if not info.proto then
    return fn -- a C function
  elseif not seen[info.proto] then
    seen[info.proto] = true
    return fn
  end
  local copy = loadstring(core.dump(fn))
  for i = 1, debug.getinfo(fn, "u").nups do
    debug.upvaluejoin(copy, i, fn, i)
  end
  return setfenv(copy, getfenv(fn))
end

local function pick_baseline(names, candidates, wanted)
  if wanted then
    if not candidates[wanted] then
      core.fail("bench.compare: there is no candidate %s to be the baseline; there are %s", describe(wanted),
        concat(names, ", "))
    end
    return wanted
  end
  return candidates.naive and "naive" or candidates.baseline and "baseline" or names[1]
end

local function read_candidates(candidates)
  if type(candidates) ~= "table" then
    core.fail("bench.compare: a table such as {naive = f, mine = g} is expected, got %s", describe(candidates))
  end
  local names = {}
  for name, fn in pairs(candidates) do
    if type(name) ~= "string" then
      core.fail("bench.compare: candidates need names, as in {naive = f, mine = g}; got the key %s", describe(name))
    elseif type(fn) ~= "function" then
      core.fail("bench.compare: candidate %s must be a function, got %s", name, describe(fn))
    end
    names[#names + 1] = name
  end
  if #names < 2 then
    core.fail("bench.compare: at least two candidates are expected, got %d", #names)
  end
  sort(names)
  return names
end

local function compare_words(c, baseline)
  if c.verdict == "no difference shown" then
    return format("no difference shown between %s and %s", c.name, baseline)
  end
  return format("%s is %sx as fast as %s", c.name, digits(c.speedup), baseline)
end

local compare_result = {
  __tostring = function(r)
    local lines = {}
    for _, name in ipairs(r.names) do
      if name ~= r.baseline then
        local c = r.candidates[name]
        lines[#lines + 1] = format("%s (%s to %s)", compare_words(c, r.baseline), digits(c.low), show_ratio(c.high))
      end
    end
    return concat(lines, "\n")
  end,
}

local function pad(text, width)
  return text .. (" "):rep(width - #text)
end

local function draw_table(r)
  local rows = { { "candidate", "median", "best", "speedup", format("%g%% interval", r.confidence * 100), "" } }
  for _, name in ipairs(r.names) do
    local c = r.candidates[name]
    local base = name == r.baseline
    rows[#rows + 1] = { name, show_time(c.median), show_time(c.best), digits(c.speedup) .. "x",
      base and "" or format("%s to %s", digits(c.low), show_ratio(c.high)), base and "baseline" or c.verdict }
  end
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      widths[i] = max(widths[i] or 0, #cell)
    end
  end
  for i, row in ipairs(rows) do
    for j, cell in ipairs(row) do
      row[j] = pad(cell, widths[j])
    end
    lines[i] = concat(row, "  "):gsub("%s+$", "")
  end
  lines[#lines + 1] = format("%s a call; %d interleaved rounds of 2 x %d call%s each", clock_words(r.clock), r.rounds,
    r.calls, r.calls == 1 and "" or "s")
  lines[#lines + 1] = r.note
  return concat(lines, "\n")
end

--- bench.compare({naive = f, mine = g, ...} [, options]): which is faster, and by how much. Prints a table and returns
--- {baseline, names, candidates, clock, rounds, calls, confidence, table (the printed text)}; candidates[name] has
--- median, best, mean, deviation and samples (seconds a call), speedup (the baseline's time over its own: the median of
--- the rounds' ratios), low and high (its interval), verdict ("faster", "slower" or "no difference shown").
--- The candidates run by turns, in random order and then in the reverse order, all with the same number of calls, so that
--- what disturbs the machine disturbs them alike; a difference is claimed where the whole interval is beyond 2%.
--- Options: clock = "wall" or "cpu"; seconds (2): how long to measure, at least 12 rounds; warmup (1) for each candidate
--- at most; rounds: how many instead of as many as fit; confidence (0.99) of the interval; baseline: a candidate's name,
--- by default "naive", else "baseline", else the first in the alphabet; quiet = true: do not print.
function bench.compare(candidates, options)
  local names = read_candidates(candidates)
  options = read_options("bench.compare", options, compare_checkers,
    { clock = "wall", seconds = 2, warmup = 1, confidence = 0.99 })
  local baseline = pick_baseline(names, candidates, options.baseline)
  local read = readers[options.clock]

  local count, functions, seen = #names, {}, {}
  local fastest, total = huge, 0
  for i, name in ipairs(names) do
    functions[i] = own_bytecode(candidates[name], seen)
    local cost = max(warm_up(functions[i], read, options.warmup), 1e-10)
    fastest, total = min(fastest, cost), total + cost
  end

  -- One number of calls for all (differing ones have biased ratios by 1%), from the fastest; less where the slow ones
  -- would not get through 12 rounds in time, but never so few that reading the clock would show.
  local clock_step = timer.resolution(options.clock)
  local calls = min(ceil(slice / fastest), floor(options.seconds / (12 * 2 * total)))
  calls = max(calls, ceil(1000 * clock_step / fastest), 1)
  local rounds = options.rounds or max(12, min(64, floor(options.seconds / (2 * calls * total))))

  local samples, order = {}, {}
  for i = 1, count do
    samples[i], order[i] = {}, i
  end
  -- Its own generator: drawing from math.random would change what the script draws next.
  local rng = core.require("random").generator(floor(timer.now() * 1e6) % 2 ^ 53)
  for round = 0, rounds do -- round 0 is not counted
    rng:shuffle(order)
    local spent = {}
    for turn = 1, 2 * count do
      local i = order[turn <= count and turn or 2 * count + 1 - turn]
      spent[i] = (spent[i] or 0) + time(functions[i], calls, read)
    end
    for i = 1, round > 0 and count or 0 do
      samples[i][round] = max(spent[i] / (2 * calls), 1e-12)
    end
  end

  local result = { baseline = baseline, names = names, candidates = {}, clock = options.clock, rounds = rounds,
    calls = calls, confidence = options.confidence }
  local base
  for i, name in ipairs(names) do
    base = name == baseline and samples[i] or base
  end
  local wide = false
  for i, name in ipairs(names) do
    local c, ratios = summary(samples[i]), {}
    for round = 1, rounds do
      ratios[round] = log(base[round] / samples[i][round])
    end
    local low, high = sign_interval(ratios, options.confidence)
    c.name, c.speedup, c.low, c.high = name, exp(median(ratios)), exp(low), exp(high)
    c.verdict = c.low > 1 + margin and "faster" or c.high < 1 / (1 + margin) and "slower" or "no difference shown"
    wide = wide or high - low > 0.2
    result.candidates[name] = c
  end
  result.note = wide and "note: the interval is wide because the machine is busy; measure longer, or with clock = \"cpu\"" or
    note_on_calls(fastest, cost_of_call(read))
  result.table = draw_table(result)
  if not options.quiet then
    core.env.print(result.table)
  end
  return setmetatable(result, compare_result)
end

bench.scaling = core.part("bench_scaling", { describe = describe, of_type = of_type, seconds = seconds,
  clock_name = clock_name, read_options = read_options, readers = readers, time = time, now = timer.now,
  show_time = show_time })

return bench
