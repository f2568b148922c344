-- When each of the things that a device is given would begin and end on a named GPU: copies to it, kernels and copies from it
-- have an engine each, which does one thing at a time; a stream keeps its order, events hold others back.
local core, shared = ...
local fail = core.fail
local gpu, kit, work = shared.gpu, shared.kit, shared.work
local type, ipairs, pairs, format, concat, floor, max, min, setmetatable, unpack, pcall, error = type, ipairs, pairs,
  string.format, table.concat, math.floor, math.max, math.min, setmetatable, unpack, pcall, error

-- What is assumed of all GPUs.
local issue = 1.5e-6      -- the host's time for each thing that it gives to a device
local copy_setup = 1.5e-6 -- before the first byte moves
local pageable = 10e9     -- bytes a second of copies from and to memory that is not page-locked: one core copies it first
local achieved = 0.9      -- of the data sheet's memory bandwidth, in copies on the device

local engines = { to_device = "to device", to_host = "to host", kernel = "kernels", copy = "kernels", fill = "kernels",
  operation = "kernels" }
local rows = { "to device", "kernels", "to host" }

--- The times of a list of entries (gpu_work.lua) on model m (gpu.model): sets start and stop, in seconds from the begin, of
--- those that take any; returns how long it takes until all is done and the host has given it, and the seconds that each
--- engine is busy. Kernels have their time in `cost`.
function shared.schedule(entries, m)
  local host, free, ready, events, busy, last = 0, {}, {}, {}, {}, 0
  for _, row in ipairs(rows) do
    free[row], busy[row] = 0, 0
  end
  local function ready_of(s)
    local t = max(ready[s] or 0, ready[0] or 0)
    if s == 0 then
      for _, other in pairs(ready) do
        t = max(t, other)
      end
    end
    return t
  end
  for _, e in ipairs(entries) do
    local engine = not e.found and engines[e.kind]
    if engine then
      local took = e.cost
      if e.kind == "to_device" or e.kind == "to_host" then
        took = copy_setup + e.bytes / (e.pinned and m.link_bandwidth or min(pageable, m.link_bandwidth))
      elseif not took then
        took = copy_setup + (e.kind == "copy" and 2 or 1) * (e.bytes or 0) / (m.memory_bandwidth * achieved)
      end
      host = host + issue
      e.engine, e.start = engine, max(host, ready_of(e.stream), free[engine])
      e.stop = e.start + took
      free[engine], ready[e.stream], busy[engine] = e.stop, e.stop, busy[engine] + took
      last = max(last, e.stop)
      -- Memory that is not page-locked is copied while the host waits.
      if e.wait or not e.pinned and (e.kind == "to_device" or e.kind == "to_host") then
        host = max(host, e.stop)
      end
    elseif e.kind == "record" then
      events[e.event] = ready_of(e.stream)
    elseif e.kind == "wait" then
      ready[e.stream] = max(ready[e.stream] or 0, events[e.event] or 0)
    elseif e.kind == "synchronize" then
      local t = e.event and (events[e.event] or 0) or e.stream and ready_of(e.stream) or last
      host = max(host, t)
    end
  end
  return max(host, last), busy
end

local function seconds(t)
  return t < 1e-3 and format("%.1f us", t * 1e6) or t < 1 and format("%.2f ms", t * 1e3) or format("%.2f s", t)
end

local timeline_mt = {}
timeline_mt.__index = timeline_mt

local width = 64

-- A row an engine; what is done there is shown by its stream: 0 the default one, 1 to 9, a to z; "." is nothing.
function timeline_mt.__tostring(t)
  local out = { format("%s on the %s, as estimated", seconds(t.time), t.model) }
  for _, row in ipairs(rows) do
    local cells = {}
    for i = 1, width do
      cells[i] = "."
    end
    for _, e in ipairs(t.operations) do
      if e.engine == row then
        local s = e.stream
        local mark = s < 10 and format("%d", s) or s < 36 and string.char(87 + s) or "*"
        local first = floor(e.start / t.time * width) + 1
        for i = first, max(first, min(width, floor(e.stop / t.time * width))) do
          cells[min(i, width)] = mark
        end
      end
    end
    out[#out + 1] = format("%-10s |%s| %3.0f%%", row, concat(cells), 100 * t.busy[row] / max(t.time, 1e-12))
  end
  for _, text in ipairs(t.advice) do
    out[#out + 1] = "try: " .. text
  end
  return concat(out, "\n")
end

local function advice(operations, time, busy)
  local list, copies, unpinned, lines = {}, 0, 0, {}
  for _, e in ipairs(operations) do
    if e.kind == "to_device" or e.kind == "to_host" then
      copies = copies + 1
      if not e.pinned then
        unpinned = unpinned + e.stop - e.start
        lines[#lines + 1] = e.line
      end
    end
  end
  if unpinned > 0.2 * time then
    list[#list + 1] = format("copies from and to memory that is not page-locked take %.0f%% of the time (line %s): copy from and "
      .. "to gpu.pinned arrays", 100 * unpinned / time, lines[1] or "?")
  end
  local longest, sum = 0, 0
  for _, t in pairs(busy) do
    longest, sum = max(longest, t), sum + t
  end
  if copies > 0 and longest < 0.75 * time and sum > 0.6 * time then
    list[#list + 1] = format("copies and kernels wait for each other: the busiest engine has %.0f%% of the time to do. Cut the "
      .. "work into chunks and give them to streams in turn, so that one chunk is copied while another is computed",
      100 * longest / time)
  end
  return list
end

--- gpu.timeline(f, ...).
return function(f, ...)
  if type(f) ~= "function" then
    fail("gpu.timeline: a function is expected, got %s", kit.kind_of(f))
  elseif shared.launcher() ~= "checked" then
    core.unsupported("gpu.timeline: an estimate from what the checked simulator counts; %s", shared.launcher() == "cuda"
      and "gpu.timer(f) measures on a GPU" or 'gpu.mode("checked") turns it on')
  elseif work.recording() then
    fail("gpu.timeline: what runs is recorded already")
  end
  local list = { costs = true }
  work.record_into(list)
  local results = { pcall(f, ...) }
  work.record_into(nil)
  if not results[1] then
    error(results[2], 0)
  end
  local m = gpu.model()
  local time, busy = shared.schedule(list, m)
  local operations, numbers, count = {}, { [0] = 0 }, 0
  for _, e in ipairs(list) do
    if e.engine then
      if not numbers[e.stream] then -- streams count from 1 here, in the order in which they are used
        count = count + 1
        numbers[e.stream] = count
      end
      operations[#operations + 1] = { kind = e.kind, name = e.name, stream = numbers[e.stream], line = e.line, bytes = e.bytes,
        start = e.start, stop = e.stop, engine = e.engine, pinned = e.pinned }
    end
  end
  return setmetatable({ time = time, model = m.name, busy = busy, operations = operations,
    advice = advice(operations, time, busy) }, timeline_mt), unpack(results, 2)
end
