-- What a script has devices do, for the grader: recorded on the checked simulator (gpu._record), and run again elsewhere
-- without the script, to be counted there (gpu._replay).
--
-- A replay believes none of it: before a launch, an array that the kernel reads holds an argument of the exercise's function
-- (or a part of one), what an earlier launch of the replay left, or one value throughout. So no kernel can be given what the
-- host has computed. And the result must lie in one of the arrays that kernels have left.
local core, shared = ...
local ffi = core.ffi
local gpu, array = shared.gpu, shared.array
local type, tonumber, ipairs, pairs, format, istype, setmetatable = type, tonumber, ipairs, pairs, string.format, ffi.istype,
  setmetatable

local array_t = ffi.typeof("pg_array")

local grading = {}

-- ------------------------------------------------------------------------------------------------- recording ----------
--- Returns call(f, ...) -> the record of what f had the device do, f's first result.
function grading.recorder()
  gpu.use("sim")
  gpu.mode("checked")
  local moved = shared.moved
  return function(f, ...)
    local before = moved.to_device + moved.to_host
    local launches, result = gpu._record(f, ...)
    return { launches = launches, transferred = moved.to_device + moved.to_host - before }, result
  end
end

-- ------------------------------------------------------------------------------------------------- replaying ----------
local function bytes_of(a)
  a = array.ascontiguousarray(a)
  return ffi.string(a._data, shared.bytes_of(a))
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

-- Contents that kernels may be given, whole or in part.
local Known = {}
Known.__index = Known
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

--- grading.replay(record, inputs, result) -> counts by metric, or nil and what is wrong with it.
function grading.replay(record, inputs, result)
  gpu.use("sim")
  gpu.mode("checked")
  if type(record) ~= "table" or type(record.launches) ~= "table" then
    return nil, "the record of the device is malformed"
  elseif #record.launches == 0 then
    return nil, "no kernel was launched: the device must compute the result"
  end
  local known, left = setmetatable({ whole = {}, list = {} }, Known), setmetatable({ whole = {}, list = {} }, Known)
  for _, a in ipairs(values_in(inputs, is_array, {})) do
    known:add(bytes_of(a))
  end
  local numbers = {} -- elements of small arrays that kernels have left
  local sums = { gpu_sectors = 0, gpu_wavefronts = 0, gpu_divergent = 0, gpu_atomics = 0, gpu_estimate = 0,
    gpu_launches = #record.launches, gpu_transfers = tonumber(record.transferred) or 0 }
  for number, launch in ipairs(record.launches) do
    local reads = gpu._reads(launch)
    for i, x in ipairs(launch.arguments) do
      if is_array(x) and reads[i] then
        local bytes = bytes_of(x)
        if not uniform(x, bytes) and not known:has(bytes) then
          return nil, format("launch %d gives '%s' an array (argument %d) that holds what is neither an argument of the "
            .. "function nor left by a kernel before: the host has changed it", number, launch.name, i)
        end
      end
    end
    local done = gpu._replay(launch)
    for _, problem in ipairs(done.problems) do
      if not problem.warning then
        return nil, format("%s:%d: %s", problem.file, problem.line, problem.message)
      end
    end
    local c = done.counts
    local sectors = c.load_sectors + c.store_sectors
    sums.gpu_sectors = sums.gpu_sectors + sectors
    -- A request of 128 bytes takes one, and so does each lane that waits for another's atomic.
    sums.gpu_wavefronts = sums.gpu_wavefronts + c.shared_wavefronts + sectors / 4 + c.atomic_serial
    sums.gpu_divergent = sums.gpu_divergent + c.divergent
    sums.gpu_atomics = sums.gpu_atomics + c.atomics
    sums.gpu_estimate = sums.gpu_estimate + gpu.report().estimate.time
    for _, x in ipairs(done.arguments) do
      if is_array(x) then
        local bytes = bytes_of(x)
        known:add(bytes)
        left:add(bytes)
        if x._size <= 4096 then
          for _, n in ipairs(x:flatten():totable()) do
            numbers[n] = true
          end
        end
      end
    end
  end
  for _, a in ipairs(values_in(result, is_array, {})) do
    if not left:has(bytes_of(a)) then
      return nil, "the result is right, but it is not what the kernels left on the device: the host has changed it"
    end
  end
  for _, n in ipairs(values_in(result, is_number, {})) do
    if not numbers[n] then
      return nil, "the result is right, but no array on the device holds it: the device must compute it"
    end
  end
  return sums
end

return grading
