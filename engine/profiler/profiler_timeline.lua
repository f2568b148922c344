-- The timeline: what happened when, on all threads of the process (core/timeline.hpp).
local core, kit = ...
local C = core.C
local profiler, natives = kit.profiler, kit.natives
local format, sort, gsub, find = string.format, table.sort, string.gsub, string.find

local Timeline = {}

-- The events are made into tables when they are asked for.
function Timeline.__index(timeline, key)
  if key == "events" or key == "threads" then
    timeline.events, timeline.threads = natives.timeline_events(timeline._recording)
    for _, event in ipairs(timeline.events) do
      if find(event.name, "^pg_") then -- an operation that does not say what it is: by its C function
        event.name = gsub(gsub(event.name, "^pg_", ""), "_", ".")
      end
    end
    return rawget(timeline, key)
  end
  return Timeline[key]
end

-- ------------------------------------------------------------------------------------------------ garbage collection --
-- LuaJIT does not say when it collects. Two things are known: the collections that the engine and the script ask for, and
-- when a cycle ends, since then the finaliser of an object that nothing refers to runs.
local function watch_collector()
  local recording = true
  local function heap()
    C.pg_profiler_counter("Lua heap", collectgarbage("count") * 1024)
  end
  local function arm()
    local sentinel = newproxy(true)
    getmetatable(sentinel).__gc = function()
      if recording then
        C.pg_profiler_mark("a collection ended", "garbage")
        heap()
        arm()
      end
    end
  end
  local function timed(name, collect)
    return function(...)
      if recording then
        heap()
        C.pg_profiler_span_begin(name, "garbage")
        local result = collect(...)
        C.pg_profiler_span_end()
        heap()
        return result
      end
      return collect(...)
    end
  end
  local whole, cycle, scripts = core.collect, core.collect_cycle, rawget(core.env, "collectgarbage")
  core.collect = timed("collection, for arrays' memory", whole)
  core.collect_cycle = timed("collection, for arrays' memory", cycle)
  local by_script = timed("collectgarbage", scripts)
  rawset(core.env, "collectgarbage", function(what, ...)
    if what == nil or what == "collect" or what == "step" then
      return by_script(what, ...)
    end
    return scripts(what, ...)
  end)
  heap()
  arm()
  return function()
    recording = false
    core.collect, core.collect_cycle = whole, cycle
    rawset(core.env, "collectgarbage", scripts)
  end
end

-- profiler.timeline(fn, ...) -> timeline, results of fn...: what all threads did when, at most a million events: operations
-- of the engine and the parts of them that other threads take, tasks of pools, spans and marks of scripts, garbage
-- collections. timeline:write("x.json") writes Chrome's trace format, which ui.perfetto.dev and chrome://tracing show.
function profiler.timeline(fn, ...)
  local unwatch
  local t0, wall = C.pg_timer_now(), nil
  local recording, results = kit.run("profiler.timeline", function()
    local ok, reason = natives.timeline_start(1e6)
    if not ok then
      core.fail("profiler.timeline: %s", reason)
    end
    unwatch = watch_collector()
  end, function()
    unwatch()
    wall = C.pg_timer_now() - t0
    return { natives.timeline_stop() }
  end, fn, ...)
  local timeline = setmetatable({ kind = "timeline", wall = wall, started = t0, dropped = recording[2],
    _recording = recording[1] }, Timeline)
  return kit.finish(timeline, results)
end

-- profiler.span(name, fn, ...) -> results of fn...: a named span in the timeline that is being recorded, if one is.
function profiler.span(name, fn, ...)
  if type(name) ~= "string" then
    core.fail("profiler.span: the name must be a string, got %s", type(name))
  elseif type(fn) ~= "function" then
    core.fail("profiler.span: a function is expected, got %s", type(fn))
  end
  if C.pg_profiler_recording() == 0 then
    return fn(...)
  end
  core.check(C.pg_profiler_span_begin(name, "span"))
  local function finish(ok, ...)
    core.check(C.pg_profiler_span_end())
    if not ok then
      error((...), 0)
    end
    return ...
  end
  return finish(pcall(fn, ...))
end

-- profiler.mark(name): an instant in the timeline that is being recorded, if one is.
function profiler.mark(name)
  if type(name) ~= "string" then
    core.fail("profiler.mark: the name must be a string, got %s", type(name))
  end
  core.check(C.pg_profiler_mark(name, "mark"))
end

-- profiler.counter(name, value): the value of something from now on, drawn as a curve in the timeline that is being
-- recorded, if one is.
function profiler.counter(name, value)
  if type(name) ~= "string" then
    core.fail("profiler.counter: the name must be a string, got %s", type(name))
  elseif type(value) ~= "number" or value ~= value or value == math.huge or value == -math.huge then
    core.fail("profiler.counter: the value must be a finite number, got %s", type(value) == "number" and tostring(value) or
      type(value))
  end
  core.check(C.pg_profiler_counter(name, value))
end

function Timeline:text()
  local sums, order = {}, {}
  for _, event in ipairs(self.events) do
    local key = event.category .. " " .. event.name .. " " .. event.thread
    local one = sums[key]
    if not one then
      one = { event = event, count = 0, seconds = 0 }
      sums[key] = one
      order[#order + 1] = one
    end
    one.count = one.count + 1
    one.seconds = one.seconds + (event.seconds or 0)
    one.value = event.value
  end
  sort(order, function(a, b)
    if a.seconds ~= b.seconds then return a.seconds > b.seconds end
    return a.event.name < b.event.name
  end)
  local rows = {}
  for i, one in ipairs(order) do
    if i > 30 then
      break
    end
    rows[i] = { self.threads[one.event.thread], one.event.category, one.event.name, format("%d", one.count),
      one.event.phase == "X" and kit.seconds(one.seconds) or one.value and format("%.4g at last", one.value) or "" }
  end
  return format("%d event%s on %d thread%s in %s%s. Write them to a .json file and open that in ui.perfetto.dev.\n",
    #self.events, #self.events == 1 and "" or "s", #self.threads, #self.threads == 1 and "" or "s", kit.seconds(self.wall), self.dropped > 0 and
    format("; %d more found no room", self.dropped) or "") ..
    kit.table({ { "thread", width = 18 }, { "kind" }, { "name", width = 36 }, { "events", right = true },
      { "time", right = true } }, rows)
end

Timeline.__tostring = function(self) return self:text() end

-- timeline:write(path): Chrome's trace format (.json), or the text (.txt).
function Timeline:write(path)
  if type(path) ~= "string" or not (find(path, "%.json$") or find(path, "%.txt$")) then
    core.fail("write: a timeline is written to a .json or .txt file, got %s", tostring(path))
  end
  local file, reason = io.open(path, "wb")
  if not file then
    core.fail("write: cannot write %s", reason)
  end
  if find(path, "%.txt$") then
    file:write(self:text(), "\n")
  else
    -- "Trace Event Format", the object form; times in microseconds.
    file:write('{"displayTimeUnit":"ns","traceEvents":[\n',
      '{"name":"process_name","ph":"M","pid":1,"tid":1,"args":{"name":"perigee"}}')
    for number, name in ipairs(self.threads) do
      file:write(format(',\n{"name":"thread_name","ph":"M","pid":1,"tid":%d,"args":{"name":%s}}', number,
        kit.json_string(name)))
      file:write(format(',\n{"name":"thread_sort_index","ph":"M","pid":1,"tid":%d,"args":{"sort_index":%d}}', number,
        number))
    end
    for _, event in ipairs(self.events) do
      local head = format(',\n{"name":%s,"cat":"%s","ph":"%s","ts":%.3f,"pid":1,"tid":%d', kit.json_string(event.name),
        event.category, event.phase, (event.begin - self.started) * 1e6, event.thread)
      if event.phase == "X" then
        file:write(head, format(',"dur":%.3f}', event.seconds * 1e6))
      elseif event.phase == "C" then
        file:write(head, format(',"args":{"value":%.17g}}', event.value))
      elseif event.arrow then
        file:write(head, format(',"id":%d%s}', event.arrow, event.phase == "f" and ',"bp":"e"' or ""))
      else
        file:write(head, ',"s":"t"}')
      end
    end
    file:write("\n]}\n")
  end
  local ok, why = file:close()
  if not ok then
    core.fail("write: cannot write %s: %s", path, why)
  end
end
