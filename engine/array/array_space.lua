-- Evenly spaced numbers.
local core, kit = ...
local fail, ffi = core.fail, core.ffi
local array, kind_of, is_integer, check_options, parse_dtype, dtype_option = kit.array, kit.kind_of, kit.is_integer,
  kit.check_options, kit.parse_dtype, kit.dtype_option
local set_length, create, store = kit.set_length, kit.create, kit.store
local lowest, highest, cast = kit.lowest, kit.highest, ffi.cast
local type, max, min, floor, pairs = type, math.max, math.min, math.floor, pairs
local FLOAT32, FLOAT64 = 4, 5

-- By dtype; what is missing is stored element by element.
local pointers = {}
for name, c_type in pairs { int8 = "int8_t", int16 = "int16_t", int32 = "int32_t", int64 = "int64_t", uint8 = "uint8_t",
  uint16 = "uint16_t", uint32 = "uint32_t", float32 = "float", float64 = "double" } do
  pointers[kit.dtypes[name]] = ffi.typeof(c_type .. " *")
end

local function need_number(name, what, x)
  if type(x) ~= "number" or x ~= x or x == math.huge or x == -math.huge then
    fail("%s: %s must be a finite number, got %s", name, what, kind_of(x))
  end
end

--- array.range(n), array.range(first, last [, step [, options]]): first, first + step, ... up to and with last;
--- range(n) is 1 to n. float64 unless the options say otherwise. The options may also follow directly on n or last.
function array.range(first, last, step, options)
  if last == nil or type(last) == "table" or type(last) == "string" then
    first, last, step, options = 1, first, 1, last
  elseif type(step) == "table" or type(step) == "string" then
    step, options = 1, step
  end
  step = step == nil and 1 or step
  need_number("range", "first", first)
  need_number("range", "last", last)
  need_number("range", "step", step)
  if step == 0 then
    fail("range: the step must not be 0")
  end
  -- A tenth-step range must not lose its end to rounding: 0 to 1 by 0.1 has 11 elements.
  local n = max(floor((last - first) / step + 1e-9) + 1, 0)
  local dtype = dtype_option("range", options) or FLOAT64
  set_length("range", 1, n)
  local a = create(1, dtype, 0)
  local last_value, p = first + (n - 1) * step, pointers[dtype] and cast(pointers[dtype], a._data)
  if n > 0 and p and (not lowest[dtype] or (first % 1 == 0 and step % 1 == 0 and min(first, last_value) >= lowest[dtype] and
    max(first, last_value) <= highest[dtype])) then -- all of them fit
    for i = 0, n - 1 do
      p[i] = first + i * step
    end
    return a
  end
  for i = 0, n - 1 do
    store(a._data, dtype, i, first + i * step)
  end
  return a
end

local spaced_options = { dtype = true, endpoint = true }

-- An array for n values from first to last, and how many intervals there are: {endpoint = false} leaves the last one out.
local function prepare(name, first, last, n, options, known)
  need_number(name, "first", first)
  need_number(name, "last", last)
  if not is_integer(n) or n < 0 then
    fail("%s: the number of values must be an integer, 0 or more, got %s", name, kind_of(n))
  end
  set_length(name, 1, n)
  local dtype, intervals = FLOAT64, n - 1
  if type(options) == "table" then
    check_options(name, options, known)
    dtype = options.dtype ~= nil and parse_dtype(name, options.dtype) or FLOAT64
    if options.endpoint == false then
      intervals = n
    elseif options.endpoint ~= nil and options.endpoint ~= true then
      fail("%s: endpoint is true or false, got %s", name, kind_of(options.endpoint))
    end
  else
    dtype = dtype_option(name, options) or FLOAT64
  end
  return create(1, dtype, 0), max(intervals, 1)
end

-- Fills it: what value(t) gives for t from 0 to 1.
local function spaced(name, first, last, n, options, known, value)
  local a, intervals = prepare(name, first, last, n, options, known)
  local dtype = a._dtype
  for i = 0, n - 1 do
    store(a._data, dtype, i, value(i / intervals))
  end
  return a
end

--- array.linspace(first, last, n [, {dtype, endpoint = true}]): n values evenly spaced, both ends included unless endpoint
--- is false.
function array.linspace(first, last, n, options)
  local a, intervals = prepare("linspace", first, last, n, options, spaced_options)
  local dtype, span = a._dtype, last - first
  if dtype == FLOAT64 or dtype == FLOAT32 then
    core.check(core.C.pg_array_linspace(a, first, span, intervals))
  else
    for i = 0, min(n, intervals) - 1 do
      store(a._data, dtype, i, first + span * (i / intervals))
    end
  end
  if n > intervals then
    store(a._data, dtype, n - 1, last)
  end
  return a
end

local log_options = { dtype = true, endpoint = true, base = true }

--- array.logspace(first, last, n [, {base = 10, dtype, endpoint = true}]): n powers of base, their exponents evenly
--- spaced from first to last.
function array.logspace(first, last, n, options)
  local base = type(options) == "table" and options.base or 10
  need_number("logspace", "base", base)
  return (spaced("logspace", first, last, n, options, log_options, function(t)
    return base ^ (t == 1 and last or first + (last - first) * t)
  end))
end

--- array.geomspace(first, last, n [, {dtype, endpoint = true}]): n values from first to last, each the same multiple of the
--- one before.
function array.geomspace(first, last, n, options)
  need_number("geomspace", "first", first)
  need_number("geomspace", "last", last)
  if first * last <= 0 then
    fail("geomspace: %.17g and %.17g must both be positive or both negative", first, last)
  end
  local low, high = math.log10(math.abs(first)), math.log10(math.abs(last))
  local sign = first > 0 and 1 or -1
  return (spaced("geomspace", first, last, n, options, spaced_options, function(t)
    return t == 0 and first or t == 1 and last or sign * 10 ^ (low + (high - low) * t)
  end))
end
