-- Streams, events and timers of perigee.gpu.
local core, shared = ...
local ffi = core.ffi
local fail, check = core.fail, core.check
local gpu, library, kit, work = shared.gpu, shared.library, shared.kit, shared.work
local kind_of = kit.kind_of
local type, setmetatable, getmetatable, pairs, rawequal = type, setmetatable, getmetatable, pairs, rawequal

local stream_mt, event_mt = {}, {}
stream_mt.__index, event_mt.__index = stream_mt, event_mt
stream_mt.__tostring = function() return "gpu.stream" end
event_mt.__tostring = function() return "gpu.event" end

-- What copies on streams still use: host arrays must not go before, and what was read is made fit for Lua afterwards.
local pending = {} -- stream -> list of {host array, device array or nil}

function shared.keep_until_done(stream, host, from)
  local list = pending[stream]
  if not list then
    list = {}
    pending[stream] = list
  end
  list[#list + 1] = { host, from }
end

-- What is pending on a stream (nil: on all) is done.
local function finish_reads(stream)
  if stream == nil then
    for s in pairs(pending) do
      finish_reads(s)
    end
    return
  end
  local list = pending[stream]
  if list then
    pending[stream] = nil
    for i = 1, #list do
      if list[i][2] then
        library.pg_gpu_clean(list[i][1])
      end
    end
  end
end
shared.finish_reads = finish_reads

local function need(mt, name, what, x)
  if type(x) ~= "table" or getmetatable(x) ~= mt then
    fail("%s: %s is expected, got %s", name, what, kind_of(x))
  end
  return x
end

function shared.need_stream(name, x)
  return need(stream_mt, name, "a stream (gpu.stream())", x)
end
local function need_event(name, x)
  return need(event_mt, name, "an event (gpu.event())", x)
end

--- gpu.stream(): a stream of the device in use: what it is given is done in order, beside what other streams do.
function gpu.stream()
  local out = ffi.new("pg_gpu_stream *[1]")
  local d = shared.device()
  check(library.pg_gpu_stream_create(out, d.handle))
  return setmetatable({ handle = ffi.gc(out[0], library.pg_gpu_stream_close), device = d,
    number = d.backend == "sim" and work.new_stream() or nil }, stream_mt)
end

-- The host has waited until a stream was done.
local function stream_is_done(s)
  if s.number then
    work.synchronized(s)
  else
    finish_reads(s)
  end
end

--- s:synchronize(): waits until the stream has done what it was given.
function stream_mt.synchronize(s)
  need(stream_mt, "synchronize", "a stream before the colon", s)
  check(library.pg_gpu_stream_synchronize(s.handle))
  stream_is_done(s)
end

local done = ffi.new("int32_t[1]")

--- s:done(): whether the stream has done what it was given.
function stream_mt.done(s)
  need(stream_mt, "done", "a stream before the colon", s)
  check(library.pg_gpu_stream_done(s.handle, done))
  if done[0] ~= 0 then
    stream_is_done(s)
  end
  return done[0] ~= 0
end

--- s:wait(e): what the stream is given from here on begins after the event.
function stream_mt.wait(s, e)
  need(stream_mt, "wait", "a stream before the colon", s)
  check(library.pg_gpu_stream_wait(s.handle, need_event("wait", e).handle))
  if s.number then
    work.wait(s, e)
  end
end

--- gpu.event(): a mark in a stream's work, with its time.
function gpu.event()
  local out = ffi.new("pg_gpu_event *[1]")
  local d = shared.device()
  check(library.pg_gpu_event_create(out, d.handle))
  return setmetatable({ handle = ffi.gc(out[0], library.pg_gpu_event_close), device = d }, event_mt)
end

--- e:record([s]): the event happens when the stream (by default the default one) comes to here. Returns e.
function event_mt.record(e, s)
  need(event_mt, "record", "an event before the colon", e)
  check(library.pg_gpu_event_record(e.handle, s ~= nil and shared.need_stream("record", s).handle or nil))
  e.stream = s
  if e.device.backend == "sim" then
    work.record(e, s)
  end
  return e
end

--- e:synchronize(): waits until it has happened.
function event_mt.synchronize(e)
  need(event_mt, "synchronize", "an event before the colon", e)
  check(library.pg_gpu_event_synchronize(e.handle))
  if e.device.backend == "sim" then
    work.synchronized(nil, e)
  elseif e.stream and e.stream:done() then
    e.stream = nil
  end
end

--- e:done(): whether it has happened.
function event_mt.done(e)
  need(event_mt, "done", "an event before the colon", e)
  check(library.pg_gpu_event_done(e.handle, done))
  if done[0] ~= 0 and e.device.backend == "sim" then
    work.synchronized(nil, e)
  end
  return done[0] ~= 0
end

local seconds = ffi.new("double[1]")

--- e:elapsed(start): seconds from the event `start` to e; waits for both.
function event_mt.elapsed(e, start)
  need(event_mt, "elapsed", "an event before the colon", e)
  need_event("elapsed", start)
  event_mt.synchronize(start)
  event_mt.synchronize(e)
  check(library.pg_gpu_event_elapsed(seconds, start.handle, e.handle))
  return seconds[0]
end

--- gpu.timeline(f, ...): what devices are given during f(...), and when each copy and kernel would begin and end on the model
--- GPU; and what f returns. On the checked simulator.
function gpu.timeline(f, ...)
  return shared.timeline()(f, ...)
end

local timeline
function shared.timeline()
  timeline = timeline or shared.part("gpu_timeline")
  return timeline
end

--- gpu.timer(f, ...): seconds that the device needs for what f(...) gives it to do, between two events; and what f returns.
function gpu.timer(f, ...)
  if type(f) ~= "function" then
    fail("gpu.timer: a function is expected, got %s", kind_of(f))
  end
  local start, stop = gpu.event(), gpu.event()
  start:record()
  local result = f(...)
  stop:record()
  return stop:elapsed(start), result
end
