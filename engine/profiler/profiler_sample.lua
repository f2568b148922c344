-- The sampling profile: the JIT compiler stays on, and a timer on the thread asks for the stack. The work is in
-- sampler.cpp; here is what needs LuaJIT's own tables: where the VM keeps its state, and which line of a compiled trace a
-- sample belongs to.
local core, kit = ...
local C, ffi = core.C, core.ffi
local profiler, natives = kit.profiler, kit.natives
local util = require "jit.util"
local format, concat, sort = string.format, table.concat, table.sort

local activities = { "interpreted", "compiled", "library", "engine", "collector", "compiler", "system" } -- enum Activity
profiler.activities = activities

-- ----------------------------------------------------------------------------------------------------- VM's state ----
-- While profiled, LuaJIT's machine code stores the trace's number in the VM's state when a trace starts (mov dword
-- [r14 + x], number) and tests a bit of its hook mask at every new line (test byte [r14 + y], 0x80). A small trace
-- tells x and y; so no offset into LuaJIT's structures is assumed, and where there is no such code there is no sampling.
local found

local function spin()
  local dispatch
  for _ = 1, 300 do
    dispatch = C.pg_profiler_dispatch()
  end
  return dispatch
end

local function find_state()
  local was_on = jit.status()
  jit.on()
  jit.on(spin)
  local trace
  local function on_trace(what, number)
    if what == "stop" then
      trace = number
    end
  end
  jit.attach(on_trace, "trace")
  local dispatch = spin()
  jit.attach(on_trace)
  if not was_on then
    jit.off()
  end
  if not trace or dispatch == nil then
    return nil
  end
  local code = util.tracemc(trace)
  local bytes = ffi.cast("const uint8_t *", code)
  local state, mask
  for i = 0, #code - 12 do
    local form = bytes[i + 2]
    if bytes[i] == 0x41 and (form == 0x46 or form == 0x86) then
      local offset = form == 0x46 and ffi.cast("const int8_t *", bytes + i + 3)[0] or
        ffi.cast("const int32_t *", bytes + i + 3)[0]
      local operand = bytes + i + (form == 0x46 and 4 or 7)
      if bytes[i + 1] == 0xc7 and ffi.cast("const int32_t *", operand)[0] == trace then
        state = offset
      elseif bytes[i + 1] == 0xf6 and operand[0] == 0x80 then
        mask = offset
      end
    end
  end
  if state and mask then
    local base = tonumber(ffi.cast("intptr_t", dispatch))
    return { state = base + state, mask = base + mask }
  end
end

-- ------------------------------------------------------------------------------------------- lines of compiled code ---
-- A sample in compiled code is placed at the next check, which is at the start of the next line. The line it belongs to
-- is the one before that in its trace, so the order of lines in each trace is kept as LuaJIT records it.
-- `keep(number, recorded)` is given each at once where the VM will not be asked later.
local function trace_log(sampler_of, keep)
  local log = { finished = {}, generation = 0 }
  local recording
  function log.on_record(_, fn, pc, depth)
    if recording and pc >= 0 then
      local n = recording.n
      recording[n + 1], recording[n + 2], recording[n + 3] = fn, pc, depth
      recording.n = n + 3
    end
  end
  function log.on_trace(what, number)
    if what == "start" then
      recording = { n = 0 }
    elseif what == "stop" then
      if keep then
        keep(number, recording)
      else
        log.finished[log.generation * 65536 + number] = recording
      end
      recording = nil
    elseif what == "abort" then
      recording = nil
    elseif what == "flush" then
      log.generation = log.generation + 1
      recording = nil
      natives.sample_flushed(sampler_of())
    end
  end
  return log
end

-- The recorded instructions of a trace as runs of equal {source, defined, line, depth}.
local function runs_of(recorded)
  local runs = {}
  for i = 1, recorded.n, 3 do
    local info = util.funcinfo(recorded[i], recorded[i + 1])
    if info.source then -- of Lua functions
      local run = { source = info.source, defined = info.linedefined, line = info.currentline, depth = recorded[i + 2] }
      local last = runs[#runs]
      if not last or last.source ~= run.source or last.defined ~= run.defined or last.line ~= run.line or
        last.depth ~= run.depth then
        runs[#runs + 1] = run
      end
    end
  end
  return runs
end

-- Moves a stack (outermost first, frames {source, defined, line}) from the check back to the line before it.
local function step_back(stack, runs)
  local leaf = stack[#stack]
  local at
  for i, run in ipairs(runs) do
    if run.source == leaf.source and run.defined == leaf.defined and run.line == leaf.line then
      at = i
      break
    end
  end
  if not at then
    return stack -- a check in another trace: leave it
  end
  local before = at > 1 and at - 1 or #runs
  if before == at then
    return stack
  end
  -- The inlined frames that are open at `before`, from the depth of the leaf's run on.
  local target, base = runs[before], runs[at].depth
  local moved = {}
  local keep = #stack + math.min(0, target.depth - base) - 1
  if keep < 0 then
    return stack
  end
  for i = 1, keep do
    moved[i] = stack[i]
  end
  local open = {}
  for i = 1, before do
    open[runs[i].depth] = runs[i]
  end
  for depth = math.min(base, target.depth), target.depth do
    local run = open[depth] or target
    moved[#moved + 1] = { source = run.source, defined = run.defined, line = run.line }
  end
  return moved
end

-- ------------------------------------------------------------------------------------------------------ a profile ----
local Profile = { write = kit.write }
Profile.__index = Profile

-- What a sampler kept -> stacks of a profile: {frames = {{fn, line}...}, seconds, count, activity [, thread]}, the frames'
-- functions by index_of. runs_at(key) gives the runs of a trace; `thread` is the function that stands for a worker.
local function build(raw, index_of, stacks, runs_at, thread)
  for _, sample in ipairs(raw.samples) do
    local stack, node = {}, sample.node
    while node > 1 do
      local frame = raw.nodes[node]
      table.insert(stack, 1, { source = raw.sources[frame.source], defined = frame.defined, line = frame.line,
        name = frame.name and raw.sources[frame.name] })
      node = frame.parent
    end
    local runs = sample.trace > 0 and #stack > 0 and runs_at(sample.generation * 65536 + sample.trace)
    if runs then
      stack = step_back(stack, runs)
    end
    -- The profiler's own frames are below the profiled function's, the pool's below a task's; the engine's inner ones say
    -- little.
    local frames, inside = {}, false
    for _, frame in ipairs(stack) do
      local engine = kit.is_engine(frame.source)
      if frame.source == "@perigee:profiler" then
        frames = {}
      elseif engine and thread and #frames == 0 then
        -- the pool's
      elseif not (engine and inside) then
        frames[#frames + 1] = { fn = index_of(frame.source, frame.defined, frame.name), line = frame.line }
      end
      inside = engine and frame.source ~= "@perigee:profiler" and #frames > 0
    end
    if thread then
      table.insert(frames, 1, { fn = thread, line = 0 })
    end
    stacks[#stacks + 1] = { frames = frames, seconds = sample.seconds, count = sample.count,
      activity = activities[sample.activity], thread = thread }
  end
end

local function find_or_refuse()
  if jit.arch ~= "x64" then
    core.unsupported("profiler.sample: sampling is there for x86-64 only, and this is %s: what the VM is doing, and " ..
      "where, is read from the machine code that LuaJIT makes for x86-64; use profiler.trace or profiler.lines", jit.arch)
  end
  if not found then
    local probe, reason = natives.sample_start(1e6)
    if not probe then
      core.unsupported("profiler.sample: %s", reason)
    end
    found = find_state() or false
    natives.sample_stop(probe)
  end
  if not found then
    core.unsupported("profiler.sample: this LuaJIT's machine code is not as expected (another version, or one built " ..
      "without its compiler); use profiler.trace or profiler.lines")
  end
end

-- ------------------------------------------------------------------------------------------------------- workers -----
-- Called in a worker of a pool, before its next task, while a script is sampled (workers.cpp); and when that is over.
local worker

function profiler._join()
  find_or_refuse()
  local sampler
  local log = trace_log(function() return sampler end, function(number, recorded)
    local flat = {}
    for _, run in ipairs(runs_of(recorded)) do
      local n = #flat
      flat[n + 1], flat[n + 2], flat[n + 3], flat[n + 4] = run.source, run.defined, run.line, run.depth
    end
    natives.sample_trace(sampler, number, flat)
  end)
  sampler = natives.sample_start(0.001, found.state, found.mask)
  if sampler then -- the sandbox has one timer only
    jit.attach(log.on_trace, "trace")
    jit.attach(log.on_record, "record")
    worker = { sampler = sampler, log = log }
    natives.worker_join(sampler)
  end
end

function profiler._leave()
  if worker then
    natives.sample_stop(worker.sampler)
    natives.worker_leave(worker.sampler)
    jit.attach(worker.log.on_trace)
    jit.attach(worker.log.on_record)
    worker = nil
  end
end

-- profiler.sample(fn, ...) -> profile, results of fn...: runs fn(...) with the JIT compiler on and samples it every
-- millisecond. An error in fn is raised again; the profile up to there is profiler.last.
function profiler.sample(fn, ...)
  local sampler, log, with_workers
  local function start()
    find_or_refuse()
    log = trace_log(function() return sampler end)
    local reason
    sampler, reason = natives.sample_start(0.001, found.state, found.mask)
    if not sampler then
      core.unsupported("profiler.sample: %s", reason)
    end
    jit.attach(log.on_trace, "trace")
    jit.attach(log.on_record, "record")
    with_workers = natives.workers_start()
  end
  local wall
  local function stop()
    local raw = natives.sample_stop(sampler)
    raw.workers = with_workers and natives.workers_stop() or {}
    jit.attach(log.on_trace)
    jit.attach(log.on_record)
    return raw
  end
  local t0 = C.pg_timer_now()
  local raw, results = kit.run("profiler.sample", start, stop, fn, ...)
  wall = C.pg_timer_now() - t0
  local profile = setmetatable({ kind = "sample", wall = wall, cpu = raw.seconds, lost = raw.lost,
    whole_process = raw.whole_process, interval = 0.001 }, Profile)
  local index_of
  profile.functions, index_of = kit.function_table()
  profile.stacks = {}
  local runs = {} -- of traces, when needed
  build(raw, index_of, profile.stacks, function(key)
    runs[key] = runs[key] or log.finished[key] and runs_of(log.finished[key])
    return runs[key]
  end)
  for _, one in ipairs(raw.workers) do
    for _, list in pairs(one.runs) do
      for _, run in ipairs(list) do
        run.source = one.sources[run.source]
      end
    end
    local thread = index_of("=" .. one.name, 0)
    local fn = profile.functions[thread]
    fn.name, fn.native, fn.thread = one.name, true, true
    build(one, index_of, profile.stacks, function(key) return one.runs[key] end, thread)
  end
  local count, seconds = 0, 0
  for _, stack in ipairs(profile.stacks) do
    count, seconds = count + stack.count, seconds + stack.seconds
  end
  profile.count, profile.seconds = count, seconds
  return kit.finish(profile, results)
end

-- ------------------------------------------------------------------------------------------------------- its text ----
-- Own and total seconds of each function, and of each line.
function Profile:by_function()
  local rows = {}
  for i in ipairs(self.functions) do
    rows[i] = { fn = self.functions[i], own = 0, total = 0 }
  end
  for _, stack in ipairs(self.stacks) do
    local seen = {}
    for i, frame in ipairs(stack.frames) do
      local row = rows[frame.fn]
      if not seen[frame.fn] then
        seen[frame.fn] = true
        row.total = row.total + stack.seconds
      end
      if i == #stack.frames then
        row.own = row.own + stack.seconds
      end
    end
  end
  sort(rows, function(a, b)
    if a.own ~= b.own then return a.own > b.own end
    return a.total > b.total
  end)
  return rows
end

-- {fn, line, own, activities = {name = seconds}}: the innermost line of the learner's own code pays for the engine calls
-- it makes.
function Profile:by_line()
  local rows, index = {}, {}
  for _, stack in ipairs(self.stacks) do
    local at
    for i = #stack.frames, 1, -1 do
      local fn = self.functions[stack.frames[i].fn]
      if not fn.engine and not fn.thread then
        at = stack.frames[i]
        break
      end
    end
    if at then
      local fn = self.functions[at.fn]
      local key = fn.source .. ":" .. at.line
      local row = index[key]
      if not row then
        row = { fn = fn, line = at.line, own = 0, activities = {} }
        index[key] = row
        rows[#rows + 1] = row
      end
      row.own = row.own + stack.seconds
      row.activities[stack.activity] = (row.activities[stack.activity] or 0) + stack.seconds
    end
  end
  sort(rows, function(a, b)
    if a.own ~= b.own then return a.own > b.own end
    return a.line < b.line
  end)
  return rows
end

-- {name, seconds, activities}: the script's own thread first, then the workers of pools that had tasks.
function Profile:by_thread()
  local list, index = {}, {}
  local function of(thread)
    if not index[thread] then
      index[thread] = { name = thread and self.functions[thread].name or "main", seconds = 0, activities = {} }
      list[#list + 1] = index[thread]
    end
    return index[thread]
  end
  of(false)
  for _, stack in ipairs(self.stacks) do
    local row = of(stack.thread or false)
    row.seconds = row.seconds + stack.seconds
    row.activities[stack.activity] = (row.activities[stack.activity] or 0) + stack.seconds
  end
  return list
end

function Profile:by_activity()
  local sums = {}
  for _, name in ipairs(activities) do
    sums[name] = 0
  end
  for _, stack in ipairs(self.stacks) do
    sums[stack.activity] = sums[stack.activity] + stack.seconds
  end
  return sums
end

-- The calls as a tree, largest first.
function Profile:tree()
  local root = kit.tree(self)
  local function order(node)
    sort(node.children, function(a, b) return a.seconds > b.seconds end)
    for _, child in ipairs(node.children) do
      order(child)
    end
  end
  order(root)
  return root
end

local words = { interpreted = "interpreted", compiled = "compiled", library = "Lua library", engine = "C++ engine",
  collector = "garbage collection", compiler = "JIT compiler", system = "system" }

local function split(sums, whole, least)
  local parts = {}
  for _, name in ipairs(activities) do
    if (sums[name] or 0) > least * whole then
      parts[#parts + 1] = { name, sums[name] }
    end
  end
  sort(parts, function(a, b) return a[2] > b[2] end)
  for i, part in ipairs(parts) do
    parts[i] = format("%s %s", words[part[1]], kit.percent(part[2], whole))
  end
  return concat(parts, ", ")
end

local enough = 50 -- samples: shares are then good to 7 points at worst (one standard error)

-- What to hold against the numbers.
function Profile:say_doubts(say)
  if self.count < enough then
    say("Only %d samples: shares are rough. Let it run longer (more work, or the work several times),\nor use an exact " ..
      "profile: of calls or of lines.", self.count)
  end
  if self.whole_process then
    say("The timer here is the process's: where other threads run, samples are spread over their time too.")
  end
end

function Profile:text()
  local out = {}
  local function say(...)
    out[#out + 1] = format(...)
  end
  say("Sampled %d times in %s of CPU time (%s elapsed), JIT compiler on.", self.count, kit.seconds(self.seconds),
    kit.seconds(self.wall))
  self:say_doubts(say)
  if self.count == 0 then
    return concat(out, "\n")
  end
  say("%s", split(self:by_activity(), self.seconds, 0))
  local threads = self:by_thread()
  if #threads > 1 then
    for _, one in ipairs(threads) do
      say("  %-10s %6s  %s", one.name, kit.percent(one.seconds, self.seconds), split(one.activities, one.seconds, 0.005))
    end
  end
  local rows = {}
  for _, row in ipairs(self:by_line()) do
    if #rows == 12 or row.own < 0.005 * self.seconds and #rows > 0 then
      break
    end
    rows[#rows + 1] = { kit.percent(row.own, self.seconds), kit.place(row.fn, row.line),
      (string.gsub(kit.lines_of(row.fn.source)[row.line] or "", "^%s+", "")), split(row.activities, row.own, 0.1) }
  end
  say("\nHot lines")
  say("%s", kit.table({ { "time", right = true }, { "line", width = 24, tail = true }, { "source", width = 36 },
    { "doing", width = 28 } }, rows))
  rows = {}
  for _, row in ipairs(self:by_function()) do
    if #rows == 15 or row.total < 0.005 * self.seconds and #rows > 0 then
      break
    end
    rows[#rows + 1] = { kit.percent(row.own, self.seconds), kit.percent(row.total, self.seconds), row.fn.name,
      kit.place(row.fn) }
  end
  say("\nFunctions")
  say("%s", kit.table({ { "own", right = true }, { "total", right = true }, { "function", width = 48 },
    { "defined", width = 32, tail = true } }, rows))
  rows = {}
  local function walk(node, depth)
    for _, child in ipairs(node.children) do
      if child.seconds >= 0.01 * self.seconds and #rows < 40 then
        rows[#rows + 1] = { kit.percent(child.seconds, self.seconds), kit.percent(child.own, self.seconds),
          string.rep("  ", depth) .. child.fn.name, kit.place(child.fn) }
        walk(child, depth + 1)
      end
    end
  end
  walk(self:tree(), 0)
  say("\nCall tree")
  say("%s", kit.table({ { "total", right = true }, { "own", right = true }, { "function", width = 52 },
    { "defined", width = 28, tail = true } }, rows))
  return concat(out, "\n")
end

Profile.__tostring = function(self) return self:text() end
