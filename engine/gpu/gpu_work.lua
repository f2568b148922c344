-- What the simulator's devices are given to do, and who waits for whom. Everything is done at once there; a GPU does it
-- later, and beside what other streams do. So that a program is right on both: accesses to memory that nothing orders are
-- an error (on the checked simulator), and what a stream copies to the host is there once somebody has waited for it.
-- The same order is kept when the grader runs a record again (gpu_grading.lua).
local core, shared = ...
local ffi = core.ffi
local fail = core.fail
local gpu, kit, array = shared.gpu, shared.kit, shared.array
local type, tonumber, ipairs, pairs, select, format, min, max, setmetatable = type, tonumber, ipairs, pairs, select,
  string.format, math.min, math.max, setmetatable

local work = {}
shared.work = work

-- --------------------------------------------------------------------------------------------------------- memory ----
local intptr_t = ffi.typeof("intptr_t")
local memories, made = {}, 0 -- by their blocks' addresses

-- The memory that an array lies in: {number, base, generation}. Numbers are not used again.
local function memory_of(a)
  local key, generation = tonumber(ffi.cast(intptr_t, a._block)), tonumber(a._block.generation)
  local m = memories[key]
  if not m or m.generation ~= generation then
    made = made + 1
    m = { number = made, generation = generation, base = tonumber(ffi.cast(intptr_t, a._block.memory)),
      bytes = tonumber(a._block.bytes) }
    memories[key] = m
  end
  return m
end

--- The pool has given memory to a new array: what was done in it before is another's.
function work.renew(d)
  memories[tonumber(ffi.cast(intptr_t, d._a._block))] = nil
end

-- The bytes of its memory that an array spans: from `first` to before `last`.
local function span_of(a, m)
  local low, high = 0, 0
  for d = 0, a._ndim - 1 do
    local reach = tonumber(a._strides[d]) * (tonumber(a._shape[d]) - 1)
    low, high = low + min(reach, 0), high + max(reach, 0)
  end
  local each = a._size > 0 and shared.bytes_of(a) / tonumber(a._size) or 0
  local at = tonumber(ffi.cast(intptr_t, a._data)) - m.base
  return at + low * each, at + (high + (a._size > 0 and 1 or 0)) * each
end

local pinned = {} -- generations of page-locked memory, by their blocks' addresses

function work.pin(a)
  pinned[tonumber(ffi.cast(intptr_t, a._block))] = tonumber(a._block.generation)
end
local function is_pinned(a)
  return a._block ~= nil and pinned[tonumber(ffi.cast(intptr_t, a._block))] == tonumber(a._block.generation)
end

-- ---------------------------------------------------------------------------------------------------------- order ----
-- Each stream has a clock that counts what it was given; `clocks[s][t]` is how much of stream t is done before what s is
-- given next, `host[t]` how much the host has waited for. Stream 0 is the default one: it waits for all others and they for it.
local Order = {}
Order.__index = Order

function shared.new_order()
  return setmetatable({ clocks = { [0] = {} }, host = {}, accesses = {} }, Order)
end

local function merge(to, from)
  for s, n in pairs(from) do
    if n > (to[s] or 0) then
      to[s] = n
    end
  end
  return to
end

-- The clock of what stream s is given now.
function Order:before(s)
  local c = self.clocks[s]
  if not c then
    c = {}
    self.clocks[s] = c
  end
  merge(c, self.host)
  if s ~= 0 then
    return merge(c, self.clocks[0])
  end
  for other, clock in pairs(self.clocks) do
    if other ~= 0 then
      merge(c, clock)
    end
  end
  return c
end

local most_accesses = 48 -- of one memory, before those that the host has waited for are forgotten

--- Stream s is given something: ranges is a list of {memory = number, first, last, write}, by is kept with them. Returns an
--- access that it is not ordered with and the range, if there is one.
function Order:add(s, ranges, by)
  local c = self:before(s)
  local conflict, at
  for _, r in ipairs(ranges) do
    for _, a in ipairs(self.accesses[r.memory] or {}) do
      if not conflict and (a.write or r.write) and a.first < r.last and r.first < a.last and a.clock > (c[a.stream] or 0) then
        conflict, at = a, r
      end
    end
  end
  c[s] = (c[s] or 0) + 1
  for _, r in ipairs(ranges) do
    local list = self.accesses[r.memory]
    if not list then
      list = {}
      self.accesses[r.memory] = list
    end
    local known
    for _, a in ipairs(list) do
      if a.stream == s and a.first == r.first and a.last == r.last and a.write == r.write then
        known = a
      end
    end
    if known then
      known.clock, known.by = c[s], by
    else
      if #list >= most_accesses then
        local kept = {}
        for _, a in ipairs(list) do
          if a.clock > (self.host[a.stream] or 0) then
            kept[#kept + 1] = a
          end
        end
        list = kept
        self.accesses[r.memory] = list
      end
      list[#list + 1] = { stream = s, clock = c[s], first = r.first, last = r.last, write = r.write, by = by }
    end
  end
  return conflict, at
end

--- What an event on stream s stands for.
function Order:record(s)
  return merge({}, self:before(s))
end
function Order:wait(s, event)
  merge(self:before(s), event)
end
--- The host waits: for stream s, for what an event stands for (a table), for all (nil).
function Order:synchronize(what)
  if what == nil then
    for _, clock in pairs(self.clocks) do
      merge(self.host, clock)
    end
  else
    merge(self.host, type(what) == "table" and what or self:before(what))
  end
end
function Order:is_done(s, clock)
  return clock <= (self.host[s] or 0)
end

local order = shared.new_order()

-- ---------------------------------------------------------------------------------------------------------- words ----
local function stream_text(s)
  return s == 0 and "the default stream" or "stream " .. s
end

local function what_text(by)
  if by.kind == "kernel" then
    return by.name:find("^the kernel of ") and by.name or format("'%s'", by.name)
  end
  return ({ to_device = "the copy to the device", to_host = "the copy to the host", copy = "the copy", fill = "fill",
    host = "the host" })[by.kind] or by.name
end

local function at_text(by)
  return by.line and format(by.kind == "kernel" and ", launched at line %d," or " of line %d", by.line) or ""
end

--- A race between streams, in words. by: what was given last, s: on which stream; the access that nothing orders it with.
function work.race_text(by, s, range, access)
  local verb = range.write and "writes to" or "reads"
  return format("race between streams: %s%s on %s %s memory that %s%s on %s may still be %s: nothing orders the two. Put them "
    .. "on one stream, or let this one wait for that one: this:wait(gpu.event():record(that))", what_text(by), at_text(by),
    stream_text(s), verb, what_text(access.by), at_text(access.by), stream_text(access.stream),
    access.write and "writing" or "reading")
end

-- -------------------------------------------------------------------------------------------- what scripts have done ----
local streams = 0   -- how many there are; without any, everything is in order
local late = {}     -- copies to the host that nobody has waited for, and what copies to the device have read
local log           -- what is recorded: a list; nil: nothing is

--- Records into a list (nil: no more) what devices are given to do. Returns what was recorded into before.
function work.record_into(list)
  local before = log
  log = list
  if log then
    log.known = log.known or {}
  end
  return before
end
function work.recording()
  return log ~= nil
end

--- A new stream's number.
function work.new_stream()
  streams = streams + 1
  return streams
end

local function number_of(stream)
  return stream and stream.number or 0
end

local function range_of(a, write)
  local m = memory_of(a)
  local first, last = span_of(a, m)
  return { memory = m.number, first = first, last = last, write = write,
    origin = tonumber(ffi.cast(intptr_t, a._data)) - m.base }
end

local function list_of(values, n)
  local list = {}
  for i = 1, n do
    list[i] = tonumber(values[i - 1])
  end
  return list
end

-- An array as a record names it. Memory that was there before the record began is said to hold one value, if it does.
local function describe(a)
  local m = memory_of(a)
  local out = { memory = m.number, at = tonumber(ffi.cast(intptr_t, a._data)) - m.base, bytes = m.bytes,
    dtype = kit.dtype_names[a._dtype], shape = list_of(a._shape, a._ndim), strides = list_of(a._strides, a._ndim) }
  if not log.known[m.number] then
    log.known[m.number] = true
    if a._size > 0 then
      local whole = array.ascontiguousarray(shared.bare(a))
      local first = whole:flatten()[1]
      if type(first) ~= "cdata" and whole:eq(first):all() then
        log[#log + 1] = { kind = "fill", stream = 0, array = out, value = first, found = true }
      end
    end
  end
  return out
end

-- What the host has waited for takes place.
local function deliver()
  if #late == 0 then
    return
  end
  local kept, changed = {}, nil
  for _, l in ipairs(late) do
    if not order:is_done(l.stream, l.clock) then
      kept[#kept + 1] = l
    elseif l.target then
      if l.target._data ~= nil then
        core.check(core.C.pg_array_assign(l.target, l.kept))
      end
    elseif l.source._data ~= nil and shared.content(l.source) ~= shared.content(l.kept) then
      changed = changed or l
    end
  end
  late = kept
  if changed and shared.launcher() == "checked" then
    fail("race with the host: the array that line %d copies to the device on %s was changed before the copy was known to be "
      .. "done, so that either may have been copied. Change it after the stream is done: s:synchronize(), or use another array",
      changed.line or 0, stream_text(changed.stream))
  end
end

-- Something is given to a device. entry: {kind, stream = a stream or nil, line} and what records hold of its kind, ranges: see
-- Order:add, wait: whether the host waits until it is done.
local function give(entry, stream, ranges, wait)
  local s = number_of(stream)
  if log and not entry.stream then
    log[#log + 1] = entry
  end
  entry.stream = s
  if streams == 0 then
    return
  end
  local access, range = order:add(s, ranges, entry)
  if access and shared.launcher() == "checked" then
    fail("%s", work.race_text(entry, s, range, access))
  end
  if wait then
    order:synchronize(s)
    deliver()
  end
end

local function line_of()
  local _, line = core.caller()
  return line
end

local function needed()
  return streams > 0 or log
end

--- Of a new array: its memory is another's no more; zero: it is filled with zeros on the stream.
function work.created(d, zero, stream)
  work.renew(d)
  if log then
    log.known[memory_of(d._a).number] = true
  end
  if zero and needed() then
    give({ kind = "fill", line = line_of(), array = log and describe(d._a), value = d._a._dtype == 0 and false or 0 }, stream,
      { range_of(d._a, true) })
  end
end

--- d takes the host array's elements.
function work.to_device(d, host, stream)
  if not needed() then
    return
  end
  local kept = (log or stream) and host:copy()
  local line = line_of()
  give({ kind = "to_device", line = line, array = log and describe(d._a), data = log and kept, pinned = is_pinned(host),
    bytes = shared.bytes_of(host), wait = stream == nil }, stream, { range_of(d._a, true), range_of(host, false) },
    stream == nil)
  if stream ~= nil then
    late[#late + 1] = { stream = stream.number, clock = order.clocks[stream.number][stream.number], source = host, kept = kept,
      line = line }
  end
end

--- The host's array takes d's elements; with a stream they come from `kept`, once the stream is known to be done.
function work.to_host(host, d, stream, kept)
  if not needed() then
    return
  end
  give({ kind = "to_host", line = line_of(), array = log and describe(d._a), pinned = is_pinned(host),
    bytes = shared.bytes_of(host), wait = stream == nil }, stream, { range_of(d._a, false), range_of(host, true) },
    stream == nil)
  if stream ~= nil then
    late[#late + 1] = { stream = stream.number, clock = order.clocks[stream.number][stream.number], target = host, kept = kept }
  end
end

function work.copy(to, from, stream)
  if needed() then
    give({ kind = "copy", line = line_of(), array = log and describe(to._a), from = log and describe(from._a),
      bytes = shared.bytes_of(to._a) }, stream, { range_of(to._a, true), range_of(from._a, false) })
  end
end

function work.fill(d, value)
  if needed() then
    give({ kind = "fill", line = line_of(), array = log and describe(d._a), value = type(value) ~= "cdata" and value or nil,
      bytes = shared.bytes_of(d._a) }, nil, { range_of(d._a, true) })
  end
end

--- An operation of the library, on the default stream: what it reads and what it writes to.
function work.operation(name, to, ...)
  if not needed() then
    return
  end
  local ranges, bytes = {}, 0
  for i = 1, select("#", ...) do
    local x = select(i, ...)
    if shared.is_device_array(x) then
      ranges[#ranges + 1] = range_of(x._a, false)
      bytes = bytes + shared.bytes_of(x._a)
    end
  end
  if to then
    ranges[#ranges + 1] = range_of(to._a, true)
    bytes = bytes + shared.bytes_of(to._a)
  end
  give({ kind = "operation", name = name, line = line_of(), array = log and to and describe(to._a), bytes = bytes,
    wait = not to }, nil, ranges, not to)
end

--- A launch begins: it is recorded, whether the simulator then finds something wrong or not. host: which arguments are arrays of the host's.
function work.before_launch(k, launch, values, host)
  if not log then
    return nil
  end
  local entry = { kind = "kernel", line = line_of(), name = k._name, source = shared.describe_kernel(k), form = k._form,
    fastmath = k._options.fastmath, grid = launch.grid, block = launch.block, shared = launch.shared, partial = launch.partial, arguments = {} }
  for i, x in ipairs(values) do
    if kit.is(x) then
      if host[i] then
        give({ kind = "to_device", line = entry.line, array = describe(x), data = kit.as_array(x):copy(), pinned = is_pinned(x),
          bytes = shared.bytes_of(x), wait = true }, nil, {}, true)
      end
      x = { array = describe(x) }
    end
    entry.arguments[i] = x
  end
  entry.stream = number_of(launch.stream)
  log[#log + 1] = entry
  return entry
end

--- A launch has run. entry: of before_launch; s: the specialisation; touched(i): the bytes of argument i that were read and
--- written, or nil where that is not known.
function work.launched(entry, k, s, launch, values, host, touched)
  if not needed() then
    return
  end
  local ranges = {}
  for i, x in ipairs(values) do
    if kit.is(x) then
      local whole = range_of(x, false)
      local reads = core.C.pg_kernel_reads(s.module, i - 1) ~= 0
      local writes = core.C.pg_kernel_writes(s.module, i - 1) ~= 0
      local r, w = whole, whole
      if touched then
        r, w = touched(i, whole)
      end
      if reads and r then
        ranges[#ranges + 1] = { memory = whole.memory, first = r.first, last = r.last, write = false }
      end
      if writes and w then
        ranges[#ranges + 1] = { memory = whole.memory, first = w.first, last = w.last, write = true }
      end
    end
  end
  entry = entry or { kind = "kernel", name = k._name, line = line_of() }
  if log and log.costs then
    entry.cost = gpu.report().estimate.time
  end
  give(entry, launch.stream, ranges)
  for i, x in ipairs(values) do
    if host[i] then
      if log and core.C.pg_kernel_writes(s.module, i - 1) ~= 0 then
        give({ kind = "to_host", line = entry.line, array = describe(x), pinned = is_pinned(x), bytes = shared.bytes_of(x),
          wait = true }, nil, {}, true)
      end
    end
  end
end

-- ------------------------------------------------------------------------------------------------ events and waiting ----
local events = 0

function work.record(event, stream)
  if needed() then
    events = events + 1
    event.number, event.stands_for = events, order:record(number_of(stream))
    if log then
      log[#log + 1] = { kind = "record", event = events, stream = number_of(stream) }
    end
  end
end

function work.wait(stream, event)
  if needed() and event.stands_for then
    order:wait(stream.number, event.stands_for)
    if log then
      log[#log + 1] = { kind = "wait", event = event.number, stream = stream.number }
    end
  end
end

--- The host has waited: for a stream, an event, or for all.
function work.synchronized(stream, event)
  if not needed() or event and not event.stands_for then
    return
  end
  if log then
    log[#log + 1] = { kind = "synchronize", event = event and event.number, stream = stream and stream.number }
  end
  order:synchronize(event and event.stands_for or stream and stream.number or nil)
  deliver()
end
