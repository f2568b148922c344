-- The exact profiles: every call (profiler.trace) or every line (profiler.lines), by hooks (tracer.cpp). Compiled code has
-- no hooks, so the JIT compiler is off meanwhile; what the hooks cost is measured and subtracted.
local core, kit = ...
local C = core.C
local profiler, natives = kit.profiler, kit.natives
local format, concat, sort, gsub = string.format, table.concat, table.sort, string.gsub

-- ------------------------------------------------------------------------------------------------------ hook cost ----
-- What an event costs beside the time inside the hook, which the tracer itself subtracts: calling it from the
-- interpreter. Measured on an empty function: the traced loop's time, less the hooks', less that of the loop without.
local event_costs = {}

local function nothing() end

local function empty_calls(n)
  for _ = 1, n do
    nothing()
  end
end

local function measure(lines)
  local n = 2000
  local costs = {}
  for i = 1, 9 do
    local t0 = C.pg_timer_now()
    empty_calls(n)
    local plain = C.pg_timer_now() - t0
    local tracer = natives.trace_start(lines, 0, {})
    if not tracer then
      return 0
    end
    empty_calls(n)
    local raw = natives.trace_stop(tracer)
    costs[i] = (raw.elapsed - raw.hooks - plain) / raw.events
  end
  sort(costs)
  return math.max(0, costs[1]) * 1e9
end
jit.off(measure, true)
jit.off(empty_calls)
jit.off(nothing)

-- ------------------------------------------------------------------------------------------------------ a profile ----
-- Names of C functions: of those that scripts can reach.
local function native_names()
  local names = {}
  local function add(prefix, t)
    for name, value in pairs(t) do
      if type(value) == "function" and type(name) == "string" then
        names[format("%p", value)] = prefix .. name
      end
    end
  end
  for _, library in ipairs { "string", "table", "math", "coroutine", "bit", "os", "io", "debug" } do
    local t = _G[library]
    if type(t) == "table" then
      add(library .. ".", t)
    end
  end
  add("", _G)
  add("io.", rawget(core.env, "io") or {})
  names[format("%p", core.env.print)] = "print"
  return names
end

local function function_index(raw)
  local functions, index_of = kit.function_table()
  local natives_by_address
  return functions, function(frame)
    local source = raw.sources[frame.source]
    local address, called = string.match(source, "^=%[C%](%S+) (.*)$")
    local at = index_of(source, frame.defined, frame.name and raw.sources[frame.name])
    if address then
      natives_by_address = natives_by_address or native_names()
      local fn = functions[at]
      fn.name, fn.file, fn.native = natives_by_address[address] or (called ~= "" and called or "a C function"), "C", true
    end
    return at
  end
end

local function run(what, lines, targets, fn, ...)
  local tracer, was_on
  local function start()
    was_on = jit.status()
    jit.off()
    jit.flush()
    event_costs[lines] = event_costs[lines] or measure(lines)
    local reason
    tracer, reason = natives.trace_start(lines, event_costs[lines], targets)
    if not tracer then
      if was_on then jit.on() end
      core.fail("%s: %s", what, reason)
    end
  end
  local function stop()
    local raw = natives.trace_stop(tracer)
    if was_on then
      jit.on()
    end
    return raw
  end
  return kit.run(what, start, stop, fn, ...)
end
jit.off(run, true)

local Calls = { write = kit.write }
Calls.__index = Calls

-- profiler.trace(fn, ...) -> profile, results of fn...: runs fn(...) and counts and times every call. The JIT compiler is
-- off meanwhile. An error in fn is raised again; the profile up to there is profiler.last.
function profiler.trace(fn, ...)
  local raw, results = run("profiler.trace", false, {}, fn, ...)
  local functions, index_of = function_index(raw)
  local profile = setmetatable({ kind = "trace", functions = functions, wall = raw.elapsed, hooks = raw.hooks,
    events = raw.events, event_cost = event_costs[false] * 1e-9, stacks = {} }, Calls)
  -- Nodes of the profiler itself are left out: what is below them is moved up.
  local shown, calls, edges = {}, {}, {}
  local counted = {} -- calls of an engine function below a node: those that tail-call another are in the tree twice
  local function frames_of(path)
    local frames = {}
    for depth, index in ipairs(path) do
      frames[depth] = { fn = index, line = functions[index].line }
    end
    return frames
  end
  local function skipped(frame)
    return raw.sources[frame.source] == "@perigee:profiler" or raw.sources[frame.source] == "@perigee:profiler_trace"
  end
  for i, node in ipairs(raw.nodes) do
    local path = shown[node.parent] or {}
    local outer = path[#path] and functions[path[#path]]
    if i > 1 and outer and outer.engine and kit.is_engine(raw.sources[node.source]) then
      -- What the engine calls inside is the engine's: its time is that of the function that the script called.
      local sum = raw.calls[i] or { own = 0 }
      shown[i] = path
      calls[path[#path]].own = calls[path[#path]].own + sum.own
      table.insert(profile.stacks, { frames = frames_of(path), seconds = math.max(0, sum.own), count = 0,
        activity = "interpreted" })
    elseif i > 1 and not skipped(node) then
      shown[i] = { unpack(path) }
      local fn_index = index_of(node)
      table.insert(shown[i], fn_index)
      local sum = raw.calls[i] or { calls = 0, own = 0, cumulative = 0 }
      local place = node.parent .. ">" .. fn_index
      local new_calls = math.max(0, sum.calls - (counted[place] or 0))
      counted[place] = (counted[place] or 0) + new_calls
      local outermost = true
      for _, other in ipairs(path) do
        outermost = outermost and other ~= fn_index
      end
      local row = calls[fn_index] or { fn = functions[fn_index], calls = 0, own = 0, total = 0 }
      calls[fn_index] = row
      row.calls, row.own = row.calls + new_calls, row.own + sum.own
      if outermost then
        row.total = row.total + sum.cumulative
      end
      local caller = path[#path]
      if caller then
        local key = caller .. ">" .. fn_index
        local edge = edges[key] or { caller = caller, callee = fn_index, calls = 0, total = 0 }
        edges[key] = edge
        edge.calls, edge.total = edge.calls + new_calls, edge.total + sum.cumulative
      end
      table.insert(profile.stacks, { frames = frames_of(shown[i]), seconds = math.max(0, sum.own), count = new_calls,
        activity = "interpreted" })
    elseif i > 1 then
      shown[i] = shown[node.parent] or {}
    end
  end
  profile.calls, profile.edges = {}, {}
  local seconds, count = 0, 0
  for index, row in pairs(calls) do
    row.index = index
    profile.calls[#profile.calls + 1] = row
    seconds, count = seconds + row.own, count + row.calls
  end
  for _, edge in pairs(edges) do
    profile.edges[#profile.edges + 1] = edge
  end
  sort(profile.calls, function(a, b)
    if a.own ~= b.own then return a.own > b.own end
    return a.fn.name < b.fn.name
  end)
  sort(profile.edges, function(a, b) return a.total > b.total end)
  profile.seconds, profile.count = seconds, count
  return kit.finish(profile, results)
end
jit.off(profiler.trace, true)

-- What the run takes without the profiler, in words.
local function real_time(profile)
  if not profile.real then
    return "The JIT compiler was off: compiled code has no hooks. Shares may differ from a real run's; see --sample."
  end
  return format("Really, without the profiler and with the JIT compiler on, it takes %s%s.\nThe compiler was off, since " ..
    "compiled code has no hooks. Shares may differ from a real run's; see --sample.", kit.seconds(profile.real),
    profile.real < profile.wall and format(" (%s of this run)", kit.percent(profile.real, profile.wall)) or "")
end

-- profile:real_time(fn, ...) -> results of fn...: runs fn(...) once without the profiler, and shows its time beside the
-- profile's.
local function measure_real_time(self, fn, ...)
  if type(fn) ~= "function" then
    core.fail("real_time: a function is expected, got %s", type(fn))
  end
  local t0 = C.pg_timer_now()
  local function finish(...)
    self.real = C.pg_timer_now() - t0
    return ...
  end
  return finish(fn(...))
end
Calls.real_time = measure_real_time

local orders = { -- the largest first, but for texts
  own = function(row) return row.own end,
  cumulative = function(row) return row.total end,
  calls = function(row) return row.calls end,
  per_call = function(row) return row.own / row.calls end,
  name = function(row) return row.fn.name end,
  defined = function(row) return row.fn.native and "~" or format("%s %9d", row.fn.file or "", row.fn.line or 0) end,
}

-- profile:text([{sort = "own" | "cumulative" | "calls" | "per_call" | "name" | "defined"}])
function Calls:text(options)
  local by = options and options.sort or "own"
  local value = orders[by]
  if not value then
    core.fail('text: sort must be "own", "cumulative", "calls", "per_call", "name" or "defined", got %s', tostring(by))
  end
  local out = {}
  local function say(...)
    out[#out + 1] = format(...)
  end
  say("Traced %d calls in %s (%s elapsed: the hooks' %s are subtracted, %s an event).", self.count,
    kit.seconds(self.seconds), kit.seconds(self.wall), kit.seconds(self.hooks),
    kit.seconds(self.events > 0 and self.hooks / self.events or 0))
  say("%s", real_time(self))
  local rows = {}
  local order = { unpack(self.calls) }
  sort(order, function(a, b)
    local x, y = value(a), value(b)
    if x ~= y then
      if type(x) == "string" then
        return x < y
      end
      return x > y
    end
    return a.fn.name < b.fn.name
  end)
  for _, row in ipairs(order) do
    if #rows == 30 then
      break
    end
    rows[#rows + 1] = { format("%d", row.calls), kit.percent(row.own, self.seconds), kit.seconds(row.own),
      kit.seconds(row.own / row.calls), kit.seconds(row.total), row.fn.name,
      row.fn.native and "C" or kit.place(row.fn) }
  end
  say("")
  say("%s", kit.table({ { "calls", right = true }, { "own", right = true }, { "own time", right = true },
    { "per call", right = true }, { "cumulative", right = true }, { "function", width = 30 },
    { "defined", width = 20, tail = true } }, rows))
  rows = {}
  for _, edge in ipairs(self.edges) do
    if #rows == 20 then
      break
    end
    rows[#rows + 1] = { self.functions[edge.caller].name, self.functions[edge.callee].name, format("%d", edge.calls),
      kit.seconds(edge.total) }
  end
  if #rows > 0 then
    say("\nWho calls whom")
    say("%s", kit.table({ { "caller", width = 34 }, { "callee", width = 34 }, { "calls", right = true },
      { "time", right = true } }, rows))
  end
  return concat(out, "\n")
end

Calls.__tostring = function(self) return self:text() end

-- ---------------------------------------------------------------------------------------------------------- lines ----
local Lines = { write = kit.write, real_time = measure_real_time }
Lines.__index = Lines

-- profiler.lines([f, g, ...] [, {sampled = true}]) -> a line profile of these functions (of all functions of scripts,
-- without any), to be filled by profile:run(fn, ...). Sampled: with the JIT compiler on, time by line and no hits.
function profiler.lines(...)
  local targets, count, sampled = {}, select("#", ...), false
  local options = count > 0 and select(count, ...)
  if type(options) == "table" then
    count = count - 1
    for name, value in pairs(options) do
      if name ~= "sampled" then
        core.fail("profiler.lines: there is no option %q; there is sampled", tostring(name))
      elseif type(value) ~= "boolean" then
        core.fail("profiler.lines: sampled must be true or false, got %s", tostring(value))
      end
      sampled = value
    end
  end
  for i = 1, count do
    local fn = select(i, ...)
    if type(fn) ~= "function" then
      core.fail("profiler.lines: argument %d must be a function, got %s", i, type(fn))
    end
    local info = debug.getinfo(fn, "S")
    if info.what == "C" then
      core.fail("profiler.lines: argument %d is a C function; only Lua functions have lines", i)
    end
    targets[i] = { info.source, info.linedefined }
  end
  return setmetatable({ kind = "lines", targets = targets, sampled = sampled }, Lines)
end

-- The rows of a line profile from samples: a line's time is that of the samples that have it on their stack.
local function fill(self, samples)
  self.functions, self.rows, self.samples = samples.functions, {}, samples
  self.wall, self.failure = samples.wall, samples.failure
  local index = {}
  for _, stack in ipairs(samples.stacks) do
    local seen = {}
    for _, frame in ipairs(stack.frames) do
      local fn = samples.functions[frame.fn]
      local wanted = #self.targets == 0 and not fn.engine
      for _, target in ipairs(self.targets) do
        wanted = wanted or target[1] == fn.source and target[2] == fn.line
      end
      local key = frame.fn .. ":" .. frame.line
      if wanted and not seen[key] then
        seen[key] = true
        local row = index[key]
        if not row then
          row = { fn = frame.fn, line = frame.line, samples = 0, seconds = 0 }
          index[key] = row
          table.insert(self.rows, row)
        end
        row.samples, row.seconds = row.samples + stack.count, row.seconds + stack.seconds
      end
    end
  end
  sort(self.rows, function(a, b)
    if a.fn ~= b.fn then return a.fn < b.fn end
    return a.line < b.line
  end)
end

local function run_sampled(self, fn, ...)
  profiler.last = nil
  local function finish(ok, ...)
    if profiler.last then -- also where fn failed
      fill(self, profiler.last)
      profiler.last = self
    end
    if not ok then
      error((...), 0)
    end
    return select(2, ...)
  end
  return finish(pcall(profiler.sample, fn, ...))
end

-- profile:run(fn, ...) -> results of fn...
function Lines:run(fn, ...)
  if self.sampled then
    return run_sampled(self, fn, ...)
  end
  local raw, results = run("lines:run", true, self.targets, fn, ...)
  self.functions, self.rows = {}, {}
  local functions, index_of = kit.function_table()
  self.functions = functions
  self.wall, self.hooks, self.events = raw.elapsed, raw.hooks, raw.events
  for _, line in ipairs(raw.lines) do
    local source = raw.sources[line.source]
    table.insert(self.rows, { fn = index_of(source, line.defined), line = line.line, hits = line.hits,
      seconds = math.max(0, line.seconds) })
  end
  sort(self.rows, function(a, b)
    if a.fn ~= b.fn then return a.fn < b.fn end
    return a.line < b.line
  end)
  return select(2, kit.finish(self, results))
end

-- The names to show, nil for all; a name that no function has is an error (but a sample may have missed a short one).
function Lines:wanted()
  if not self.names or #self.names == 0 then
    return nil
  end
  local there, wanted = {}, {}
  for _, fn in ipairs(self.functions) do
    there[fn.name] = true
  end
  for _, name in ipairs(self.names) do
    if not there[name] and not self.sampled then
      local names = {}
      for _, fn in ipairs(self.functions) do
        if not fn.engine then
          names[#names + 1] = fn.name
        end
      end
      sort(names)
      core.fail("lines: no function %q ran; these did: %s", name, concat(names, ", "))
    end
    wanted[name] = true
  end
  return wanted
end

function Lines:text()
  if not self.rows then
    return "This line profile has not run yet: call profile:run(fn, ...)."
  end
  local out = {}
  local function say(...)
    out[#out + 1] = format(...)
  end
  if self.sampled then
    say("Sampled lines %d times in %s of CPU time, JIT compiler on. A line's time includes what it calls.",
      self.samples.count, kit.seconds(self.samples.seconds))
    self.samples:say_doubts(say)
  else
    say("Traced lines for %s (the hooks' %s are subtracted). A line's time includes what it calls.",
      kit.seconds(self.wall), kit.seconds(self.hooks))
    say("%s", real_time(self))
  end
  if #self.rows == 0 then
    say(self.sampled and "No sample is in these functions." or "No line of these functions ran.")
  end
  local groups, list = {}, {} -- of lines by function
  local wanted = self:wanted()
  for _, row in ipairs(self.rows) do
    local group = groups[row.fn]
    if not group then
      group = { fn = self.functions[row.fn], rows = {}, total = 0, first = row.line, last = row.line }
      groups[row.fn] = group
      if not wanted or wanted[group.fn.name] then
        list[#list + 1] = group
      end
    end
    group.rows[row.line] = row
    group.first, group.last = math.min(group.first, row.line), math.max(group.last, row.line)
    group.total = group.total + row.seconds
  end
  if #list == 0 and #self.rows > 0 then
    say("No sample is in a function called %s.", concat(self.names, ", "))
  end
  sort(list, function(a, b)
    if a.total ~= b.total then return a.total > b.total end
    return a.fn.line < b.fn.line
  end)
  for _, group in ipairs(list) do
    say("\n%s (%s), %s", group.fn.name, kit.place(group.fn), kit.seconds(group.total))
    local text = kit.lines_of(group.fn.source)
    local rows = {}
    for line = math.min(group.fn.line > 0 and group.fn.line or group.first, group.first), group.last do
      local row = group.rows[line]
      rows[#rows + 1] = { format("%d", line), row and format("%d", row.hits or row.samples) or "", row and
        kit.seconds(row.seconds) or "", row and row.hits and kit.seconds(row.seconds / row.hits) or "", row and
        kit.percent(row.seconds, self.sampled and self.samples.seconds or group.total) or "",
        (gsub(text[line] or "", "\t", "    ")) }
    end
    say("%s", kit.table({ { "line", right = true }, { self.sampled and "samples" or "hits", right = true },
      { "time", right = true }, { self.sampled and "" or "per hit", right = true }, { "share", right = true },
      { "source", width = 56 } }, rows))
  end
  return concat(out, "\n")
end

Lines.__tostring = function(self) return self:text() end
