-- What a script has devices do, for the grader: recorded on the checked simulator (gpu_work.lua), and done again elsewhere
-- without the script, to be counted there.
--
-- A replay believes none of it. It has a device's memory of its own, in which nothing is but what the record copies there,
-- and that must be an argument of the exercise's function (or a part of one), what was copied back before, or one value
-- throughout; so no kernel can be given what the host has computed. What the result consists of must have been copied back.
-- So no copy can be left out: bytes, launches and the order of streams are those of this second run.
local core, shared = ...
local ffi = core.ffi
local gpu, array, kit, work = shared.gpu, shared.array, shared.kit, shared.work
local type, tonumber, tostring, ipairs, pairs, format, istype, setmetatable, max, min, pcall, error, unpack = type, tonumber, tostring,
  ipairs, pairs, string.format, ffi.istype, setmetatable, math.max, math.min, pcall, error, unpack

local array_t = ffi.typeof("pg_array")

local grading = {}

-- ------------------------------------------------------------------------------------------------- recording ----------
--- Returns call(f, ...) -> the record of what f had the device do, f's first result.
function grading.recorder()
  gpu.use("sim")
  gpu.mode("checked")
  return function(f, ...)
    local list = {}
    work.record_into(list)
    local result = f(...)
    work.record_into(nil)
    list.known = nil
    return list, result
  end
end

-- ------------------------------------------------------------------------------------------------- replaying ----------
local function bytes_of(a)
  return shared.content(array.ascontiguousarray(a))
end

-- All values of a kind in a value, in tables as well.
local function values_in(value, accepts, list)
  if accepts(value) then
    list[#list + 1] = value
  elseif type(value) == "table" then
    for _, inner in pairs(value) do
      values_in(inner, accepts, list)
    end
  end
  return list
end
local function is_array(x) return istype(array_t, x) end
local function is_number(x) return type(x) == "number" end

-- Whether all elements of an array have the same bytes.
local function uniform(a, bytes)
  local size = a._size > 0 and #bytes / tonumber(a._size) or 1
  return #bytes <= size or bytes:sub(1, -1 - size) == bytes:sub(1 + size)
end

-- Contents that are known, whole or in part.
local Known = {}
Known.__index = Known
local function new_known()
  return setmetatable({ whole = {}, list = {} }, Known)
end
function Known:add(bytes)
  if not self.whole[bytes] then
    self.whole[bytes] = true
    self.list[#self.list + 1] = bytes
  end
end
function Known:has(bytes)
  if self.whole[bytes] then
    return true
  end
  for _, other in ipairs(self.list) do
    if #other > #bytes and other:find(bytes, 1, true) then
      return true
    end
  end
  return false
end
-- Whether bytes are pieces that are known, one behind the other.
function Known:covers(bytes)
  local at = 1
  while at <= #bytes do
    local most = 0
    for _, piece in ipairs(self.list) do
      if #piece > most and #piece <= #bytes - at + 1 and bytes:sub(at, at + #piece - 1) == piece then
        most = #piece
      end
    end
    if most == 0 then
      return false
    end
    at = at + most
  end
  return true
end

local most_memory = 2 ^ 30 -- of all devices in a record

-- The memory of a replay: arrays in it by their descriptions in the record.
local Memory = {}
Memory.__index = Memory

-- Ends a replay with what is wrong with the record.
local function refuse(...)
  error({ refused = format(...) }, 0)
end
local function malformed()
  refuse("the record of the device is malformed")
end

local function whole_number(n, low, high)
  if type(n) ~= "number" or n % 1 ~= 0 or n < low or n > high then
    malformed()
  end
  return n
end

local function line_text(e)
  return e.line and format("line %d: ", e.line) or ""
end

function Memory:array(d)
  if type(d) ~= "table" or type(d.shape) ~= "table" or type(d.strides) ~= "table" or #d.shape ~= #d.strides or #d.shape > 8 then
    malformed()
  end
  local dtype = kit.dtypes[d.dtype] or malformed()
  local number = whole_number(d.memory, 1, 2 ^ 52)
  local m = self.blocks[number]
  if not m then
    local bytes = whole_number(d.bytes, 1, most_memory)
    self.total = self.total + bytes
    if self.total > most_memory then
      refuse("the arrays on the device take more than %.0f MiB", most_memory / 2 ^ 20)
    end
    -- What nothing has written is not zero, as it may be by luck, but large numbers.
    m = { bytes = bytes, array = array.full({ bytes }, 0x7f, "uint8") }
    self.blocks[number] = m
  end
  local a = array_t()
  core.check(core.C.pg_array_share(a, shared.collect, m.array))
  local size, low, high = 1, 0, 0
  a._dtype, a._ndim, a._flags = dtype, #d.shape, 0
  for i = 1, #d.shape do
    local n, stride = whole_number(d.shape[i], 0, 2 ^ 40), whole_number(d.strides[i], -2 ^ 40, 2 ^ 40)
    a._shape[i - 1], a._strides[i - 1] = n, stride
    size = size * n
    low, high = low + min(0, stride * (n - 1)), high + max(0, stride * (n - 1))
  end
  a._size = size
  local each, at = shared.element_bytes[dtype], whole_number(d.at, 0, most_memory)
  if size > 0 and (at + low * each < 0 or at + (high + 1) * each > m.bytes) or at % each ~= 0 then
    malformed()
  end
  a._data = ffi.cast("char *", m.array._data) + at
  return a, { memory = number, first = at + low * each, last = at + (high + 1) * each, origin = at }
end

-- The kernel again, on this memory. Returns what the simulator has recorded of it, and the ranges that it touched.
local function launch(entry, memory)
  local values, ranges = {}, {}
  for i, x in ipairs(entry.arguments) do
    if type(x) == "table" then
      values[i], ranges[i] = memory:array(x.array)
    else
      values[i] = x
    end
  end
  local run = shared.run_again(entry, values)
  local touched = {}
  for i, range in pairs(ranges) do
    local read, written = shared.touched(i, range)
    touched[#touched + 1] = read
    if written then
      written.write = true
      touched[#touched + 1] = written
    end
  end
  return run, touched
end

local function range_of(r, write)
  r.write = write
  return r
end

-- grading.replay's body: raises what is wrong with the record.
local function replay(record, inputs, result)
  if type(record) ~= "table" then
    malformed()
  end
  local memory = setmetatable({ blocks = {}, total = 0 }, Memory)
  local known, back, numbers = new_known(), new_known(), {} -- what may be copied there; what came back, and its elements
  for _, a in ipairs(values_in(inputs, is_array, {})) do
    known:add(bytes_of(a))
  end
  local order, late, events = shared.new_order(), {}, {}
  local sums = { gpu_sectors = 0, gpu_wavefronts = 0, gpu_divergent = 0, gpu_atomics = 0, gpu_launches = 0, gpu_transfers = 0 }
  local function add(e, ranges)
    local s = whole_number(e.stream, 0, 1e6)
    local access, range = order:add(s, ranges, e)
    if access then
      refuse("%s", work.race_text(e, s, range, access))
    end
    if e.wait then
      order:synchronize(s)
    end
  end
  for _, e in ipairs(record) do
    e.line, e.cost = type(e.line) == "number" and e.line or nil, nil
    if e.kind == "to_device" then
      local to, range = memory:array(e.array)
      local from = is_array(e.data) and e.data or malformed()
      local bytes = bytes_of(from)
      if not uniform(from, bytes) and not known:has(bytes) then
        refuse("%swhat is copied to the device is neither an argument of the function, or a part of one, nor what the "
          .. "device has left: the host has changed it", line_text(e))
      end
      core.check(core.C.pg_array_assign(to, from))
      e.bytes = #bytes
      sums.gpu_transfers = sums.gpu_transfers + #bytes
      add(e, { range_of(range, true) })
    elseif e.kind == "to_host" then
      local from, range = memory:array(e.array)
      local bytes = bytes_of(from)
      known:add(bytes)
      back:add(bytes)
      if from._size <= 4096 then
        for _, n in ipairs(from:flatten():totable()) do
          numbers[n] = true
        end
      end
      e.bytes = #bytes
      sums.gpu_transfers = sums.gpu_transfers + #bytes
      add(e, { range_of(range, false) })
      late[#late + 1] = { e.stream, order.clocks[e.stream][e.stream], e }
    elseif e.kind == "copy" then
      local to, range = memory:array(e.array)
      local from, source = memory:array(e.from)
      core.check(core.C.pg_array_assign(to, from))
      e.bytes = shared.bytes_of(to)
      add(e, { range_of(range, true), range_of(source, false) })
    elseif e.kind == "fill" then
      local to, range = memory:array(e.array)
      if e.value ~= nil then
        kit.write(to, e.value)
      end
      e.bytes = shared.bytes_of(to)
      if not e.found then
        add(e, { range_of(range, true) })
      end
    elseif e.kind == "kernel" then
      local run, ranges = launch(e, memory)
      for _, problem in ipairs(run.problems) do
        if not problem.warning then
          refuse("%s:%d: %s", problem.file, problem.line, problem.message)
        end
      end
      local c = run.counts
      local sectors = c.load_sectors + c.store_sectors
      sums.gpu_sectors = sums.gpu_sectors + sectors
      -- A request of 128 bytes takes one, and so does each lane that waits for another's atomic.
      sums.gpu_wavefronts = sums.gpu_wavefronts + c.shared_wavefronts + sectors / 4 + c.atomic_serial
      sums.gpu_divergent = sums.gpu_divergent + c.divergent
      sums.gpu_atomics = sums.gpu_atomics + c.atomics
      sums.gpu_launches = sums.gpu_launches + 1
      e.cost = gpu.report().estimate.time
      add(e, ranges)
    elseif e.kind == "operation" then
      if e.array ~= nil then
        refuse("%s'%s' of device arrays is the library's: write a kernel", line_text(e),
          tostring(e.name))
      end
      e.bytes = nil
    elseif e.kind == "record" then
      events[whole_number(e.event, 1, 2 ^ 52)] = order:record(whole_number(e.stream, 0, 1e6))
    elseif e.kind == "wait" then
      order:wait(whole_number(e.stream, 0, 1e6), events[e.event] or malformed())
    elseif e.kind == "synchronize" then
      order:synchronize(e.event and (events[e.event] or malformed()) or e.stream)
    else
      malformed()
    end
  end
  if sums.gpu_launches == 0 then
    refuse("no kernel was launched: the device must compute the result")
  end
  for _, l in ipairs(late) do
    if not order:is_done(l[1], l[2]) then
      refuse("%snothing waits for the copy to the host: call synchronize() of its stream before its elements are used",
        line_text(l[3]))
    end
  end
  for _, a in ipairs(values_in(result, is_array, {})) do
    local bytes = bytes_of(a)
    if not back:has(bytes) and not back:covers(bytes) then
      refuse("the result is right, but it is not what the kernels left on the device and was copied back from there: the host "
        .. "has changed it, or a kernel read memory that nothing had written")
    end
  end
  for _, n in ipairs(values_in(result, is_number, {})) do
    if not numbers[n] then
      refuse("the result is right, but no array that was copied back from the device holds it: the device must compute it")
    end
  end
  sums.gpu_estimate = shared.schedule(record, gpu.model())
  return sums
end

--- grading.replay(record, inputs, result) -> counts by metric, or nil and what is wrong with it.
function grading.replay(record, inputs, result)
  gpu.use("sim")
  gpu.mode("checked")
  shared.timeline()
  local ok, sums = pcall(replay, record, inputs, result)
  if ok then
    return sums
  elseif type(sums) == "table" and sums.refused then
    return nil, sums.refused
  end
  error(sums, 0)
end

-- ------------------------------------------------------------------------------------------------- measuring ----------
-- A function that has the GPU in use do what a record says, which grading.replay has found to be right.
local function player(record)
  local blocks, streams, events, steps = {}, {}, {}, {}
  local function view(d)
    local whole = blocks[d.memory]
    if not whole then
      whole = gpu.empty(d.bytes, "uint8")
      blocks[d.memory] = whole
    end
    local layout, size = shared.layout_of(whole), 1
    layout._dtype, layout._ndim = kit.dtypes[d.dtype], #d.shape
    for i = 1, #d.shape do
      layout._shape[i - 1], layout._strides[i - 1] = d.shape[i], d.strides[i]
      size = size * d.shape[i]
    end
    layout._size = size
    layout._data = ffi.cast("char *", layout._data) + d.at
    return shared.view_of(whole, layout)
  end
  local function stream_of(number)
    if number ~= 0 and number ~= nil then
      streams[number] = streams[number] or gpu.stream()
      return streams[number]
    end
  end
  local function event_of(number)
    events[number] = events[number] or gpu.event()
    return events[number]
  end
  for _, e in ipairs(record) do
    local a, stream = e.array and view(e.array), stream_of(e.stream)
    local options, step = { stream = stream }, nil
    if e.kind == "to_device" then
      local host = e.pinned and gpu.pinned(e.data) or e.data
      step = function() a:copy_from(host, options) end
    elseif e.kind == "to_host" then
      options.out = e.pinned and gpu.pinned(a.shape, { dtype = a.dtype }) or array.zeros(a.shape, a.dtype)
      step = function() a:to_host(options) end
    elseif e.kind == "copy" then
      local from = view(e.from)
      step = function() a:copy_from(from, options) end
    elseif e.kind == "fill" and e.value ~= nil then
      step = function() a:fill(e.value) end
      if e.found then
        step()
        step = nil
      end
    elseif e.kind == "kernel" then
      local values, launch = {}, shared.launch_again(e, stream)
      for i, x in ipairs(e.arguments) do
        values[i] = type(x) == "table" and view(x.array) or x
      end
      step = function() launch(unpack(values)) end
    elseif e.kind == "record" then
      step = function() event_of(e.event):record(stream) end
    elseif e.kind == "wait" then
      step = function() stream:wait(event_of(e.event)) end
    elseif e.kind == "synchronize" then
      step = e.event and function() event_of(e.event):synchronize() end or stream and function() stream:synchronize() end
        or gpu.synchronize
    end
    steps[#steps + 1] = step
  end
  return function()
    for i = 1, #steps do
      steps[i]()
    end
  end
end

--- grading.measure(yours, other, rounds) -> a list of seconds, yours and the other's in turn, a pair a round: how long the GPU
--- here takes for two records, from the first thing that it is given to the end of the last. nil and the reason where there is
--- no GPU.
function grading.measure(yours, other, rounds)
  local ok, reason = gpu.available()
  if not ok then
    return nil, reason
  end
  gpu.use("cuda")
  local players, times = { player(yours), player(other) }, {}
  for _ = 1, 3 do -- compiles, and wakes the GPU up
    gpu.timer(players[1])
    gpu.timer(players[2])
  end
  for round = 1, rounds do
    local first = round % 2 == 0 and 1 or 2
    local t = {}
    t[first] = gpu.timer(players[first])
    t[3 - first] = gpu.timer(players[3 - first])
    times[#times + 1], times[#times + 2] = t[1], t[2]
  end
  return times
end

--- Why no kernel can be compiled and run here, by one: "" where it can.
function grading.no_kernel()
  local reason = grading.no_gpu()
  if reason ~= "" then
    return reason
  end
  local ok, message = pcall(function()
    gpu.use("cuda")
    local a = gpu.ones(32, 32)
    gpu.cuda_source([[extern "C" __global__ void twice(double *x) { x[blockIdx.x * blockDim.x + threadIdx.x] *= 2; }]]) {
      grid = 32, block = 32 } (a)
    return gpu.matmul(a, a):sum()
  end)
  if not ok then
    return tostring(message)
  end
  return message == 4 * 32 ^ 3 and "" or "a kernel gives wrong numbers"
end

--- Why grading.measure cannot measure here: "" where it can.
function grading.no_gpu()
  local ok, reason = gpu.available()
  return ok and "" or reason
end

return grading
