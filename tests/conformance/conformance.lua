-- Evaluates every case of cases.txt (see make_cases.py) and compares with what NumPy gave: dtypes, shapes, integers and
-- booleans exactly, floats within the case's tolerance, NaN and infinities where they are expected.
--
--     perigee run --trusted tests/conformance/conformance.lua        PERIGEE_CONFORMANCE=views,fft: only these groups;
--                                                                     PERIGEE_CONFORMANCE_ALL=1: print every failure
local ffi = require "ffi"
local pg = require "perigee"
local array = pg.array

local here = debug.getinfo(1, "S").short_src:match("^(.*)/[^/]*$") or "."

local only
if os.getenv("PERIGEE_CONFORMANCE") then
  only = {}
  for group in os.getenv("PERIGEE_CONFORMANCE"):gmatch("[^,]+") do
    only[group] = true
  end
end

-- ---------------------------------------------------------------------------------------- raw elements of arrays -----
local pointers, parts = {}, { complex64 = "float32", complex128 = "float64" }
for name, c in pairs { bool = "uint8_t", int8 = "int8_t", int16 = "int16_t", int32 = "int32_t", int64 = "int64_t",
  uint8 = "uint8_t", uint16 = "uint16_t", uint32 = "uint32_t", uint64 = "uint64_t", float32 = "float",
  float64 = "double" } do
  pointers[name] = ffi.typeof(c .. " *")
end
local wide = { int64 = true, uint64 = true }

-- Text of an integer -> a number, or an int64_t or uint64_t where a number would not be exact.
local function integer(text, dtype)
  local negative, digits = text:match("^(-?)(%d+)$")
  if #digits < 16 then
    return tonumber(text)
  end
  local value = ffi.new(dtype == "uint64" and "uint64_t" or "int64_t", 0)
  for d in digits:gmatch("%d") do
    value = value * 10 + tonumber(d)
  end
  return negative == "-" and -value or value
end

local nan = -(0 / 0) -- 0 / 0 is a NaN whose sign bit is set, NumPy's is not
if tostring(nan) ~= "nan" then
  nan = 0 / 0
end

local function parse_number(text, dtype)
  if text == "nan" then
    return nan
  elseif text == "inf" then
    return math.huge
  elseif text == "-inf" then
    return -math.huge
  elseif text == "-0" then
    return -0.0
  elseif wide[dtype] or dtype == "scalar" and text:match("^-?%d+$") then
    return integer(text, dtype)
  end
  return assert(tonumber(text), text)
end

-- {dtype, shape, values}; complex values are two numbers each.
local function parse_result(dtype, shape, text)
  local lengths, count = {}, 1
  if shape ~= "-" and shape ~= "()" then
    for n in shape:gmatch("%d+") do
      lengths[#lengths + 1] = tonumber(n)
      count = count * tonumber(n)
    end
  end
  local values, same = {}, text:match("^=(.*)$")
  if same then
    text = (same .. " "):rep(count)
  end
  for word in text:gmatch("%S+") do
    for part in word:gmatch("[^:]+") do
      values[#values + 1] = parse_number(part, dtype)
    end
  end
  return { dtype = dtype, shape = lengths, values = values }
end

local function make_array(r)
  local x = array.zeros(r.shape, r.dtype)
  local data = ffi.cast(pointers[parts[r.dtype] or r.dtype], x._data)
  for i, value in ipairs(r.values) do
    data[i - 1] = value
  end
  return x
end

local function values_of(x)
  local c = x:copy() -- row-major
  local n = c.size * (parts[c.dtype] and 2 or 1)
  local data, list = ffi.cast(pointers[parts[c.dtype] or c.dtype], c._data), {}
  for i = 1, n do
    list[i] = data[i - 1]
  end
  return list
end

-- ---------------------------------------------------------------------------------------------------- comparing ------
local bits = ffi.new("union { double d; float f; int64_t l; int32_t i; }")

-- Floats in order, as integers: how many steps lie between two of them.
local function steps(x, dtype)
  if dtype == "float32" then
    bits.f = x
    return bits.i >= 0 and tonumber(bits.i) or -tonumber(bit.band(bits.i, 0x7fffffff))
  end
  bits.d = x
  return bits.l >= 0 and bits.l or -(bits.l - (-0x7fffffffffffffffLL - 1))
end

local function distance(x, y, dtype)
  local d = steps(x, dtype) - steps(y, dtype)
  return tonumber(d < 0 and -d or d)
end

local function close(got, want, tolerance, dtype, largest)
  if type(got) == "cdata" or type(want) == "cdata" then
    return got == want
  elseif dtype == "float32" then -- as the expected value's text is short
    bits.f = want
    want = bits.f
  end
  if want ~= want then
    return got ~= got
  elseif got ~= got then
    return false
  elseif want == math.huge or want == -math.huge or got == math.huge or got == -math.huge then
    return got == want
  elseif tolerance.kind == "exact" then
    return got == want and (got ~= 0 or 1 / got == 1 / want)
  elseif tolerance.kind == "ulp" then
    return distance(got, want, dtype) <= tolerance.by
  elseif tolerance.kind == "rel" then
    return math.abs(got - want) <= tolerance.by * largest
  end
  return math.abs(got - want) <= tolerance.by
end

local function shape_text(shape)
  return "(" .. table.concat(shape, ", ") .. ")"
end

local function text_of(value)
  return type(value) == "number" and ("%.17g"):format(value) or tostring(value)
end

local exact = { kind = "exact" }
local is_float = { float32 = true, float64 = true, complex64 = true, complex128 = true, scalar = true,
  complex_scalar = true }

-- nil if got is what was expected, else what is wrong.
local function compare(got, want, tolerance)
  local values, dtype = nil, want.dtype
  if dtype == "scalar" or dtype == "bool_scalar" or dtype == "complex_scalar" then
    if array.is(got) and got.ndim == 0 then
      values = values_of(got)
    elseif type(got) == "boolean" then
      if dtype ~= "bool_scalar" then
        return "a number is expected, got " .. tostring(got)
      end
      values = { got and 1 or 0 }
    elseif type(got) == "number" or ffi.istype("int64_t", got) or ffi.istype("uint64_t", got) then
      if dtype == "bool_scalar" then
        return "a boolean is expected, got " .. tostring(got)
      end
      values = { got, dtype == "complex_scalar" and 0 or nil }
    elseif type(got) == "cdata" and dtype == "complex_scalar" then
      values = { tonumber(got.re), tonumber(got.im) }
    else
      return "a number or boolean is expected, got " .. tostring(got)
    end
  elseif not array.is(got) then
    return ("an array of %s %s is expected, got %s"):format(dtype, shape_text(want.shape), tostring(got))
  elseif got.dtype ~= dtype then
    return ("dtype %s is expected, got %s"):format(dtype, got.dtype)
  elseif shape_text(got.shape) ~= shape_text(want.shape) then
    return ("shape %s is expected, got %s"):format(shape_text(want.shape), shape_text(got.shape))
  else
    values = values_of(got)
  end
  local largest = 0
  for _, x in ipairs(want.values) do
    if type(x) == "number" and x == x and math.abs(x) < math.huge then
      largest = math.max(largest, math.abs(x))
    end
  end
  for i, x in ipairs(want.values) do
    if not close(values[i], x, is_float[dtype] and tolerance or exact, parts[dtype] or dtype, largest) then
      return ("element %d: %s is expected, got %s%s"):format(i, text_of(x), text_of(values[i]),
        type(x) == "number" and type(values[i]) == "number" and is_float[dtype] and
          (", %.3g ulp"):format(distance(values[i], x, parts[dtype] or dtype)) or "")
    end
  end
end

-- ---------------------------------------------------------------------------------------------------- the cases ------
local names, left_out = { array = array }, {}
for _, module in ipairs { "linalg", "fft" } do
  local available, why = pg.available(module)
  if available then
    names[module] = pg[module]
  else
    print(("%s is left out: %s"):format(module, why))
    left_out[module] = true
  end
end
local env = setmetatable(names, { __index = _G })

local function fields(line)
  local list = {}
  for word in (line .. "\t"):gmatch("([^\t]*)\t") do
    list[#list + 1] = word
  end
  return list
end

local function evaluate(expression)
  local text = expression:find("return ", 1, true) and expression or "return " .. expression
  local chunk = load(text, "=case", "t", env) or assert(load(expression, "=case", "t", env))
  local results = { pcall(chunk) }
  local ok = table.remove(results, 1)
  return ok, results
end

local groups, order, fixtures = {}, {}, {}

local function group_of(name)
  if not groups[name] then
    groups[name] = { cases = 0, failed = 0 }
    order[#order + 1] = name
  end
  return groups[name]
end

local shown = 0
local function complain(group, expression, what)
  groups[group].failed = groups[group].failed + 1
  shown = shown + 1
  if shown <= 60 or os.getenv("PERIGEE_CONFORMANCE_ALL") then
    print(("%s: %s: %s"):format(group, expression, what))
  end
end

local function run_case(f)
  local group, how, expression = f[2], f[3], f[4]
  local g = group_of(group)
  g.cases = g.cases + 1
  local kind, by = how:match("^(%a+) ?(.*)$")
  local tolerance = { kind = kind, by = tonumber(by) }
  local ok, results = evaluate(expression)
  if not ok then
    return complain(group, expression, tostring(results[1]))
  end
  local index = 0
  for i = 5, #f, 3 do
    index = index + 1
    local wrong = compare(results[index], parse_result(f[i], f[i + 1], f[i + 2]), tolerance)
    if wrong then
      return complain(group, expression, "result " .. index .. ": " .. wrong)
    end
  end
end

local function run_error(f)
  local group, expression, text = f[2], f[3], f[4]
  local g = group_of(group)
  g.cases = g.cases + 1
  local ok, results = evaluate(expression)
  local message = tostring(results[1])
  if ok then
    complain(group, expression, "an error is expected")
  elseif message:find("has no function", 1, true) or message:find("no field or method", 1, true) then
    complain(group, expression, message)
  elseif not message:find(text, 1, true) then
    complain(group, expression, "the error should contain '" .. text .. "': " .. message)
  elseif message:find("internal error", 1, true) or message:find("perigee:", 1, true) then
    complain(group, expression, message)
  end
end

for line in io.lines(here .. "/cases.txt") do
  local f = fields(line)
  if f[1] == "fixture" then
    local ok, x = pcall(function() return make_array(parse_result(f[3], f[4], f[5])) end)
    if ok then
      names[f[2]] = x
      fixtures[f[2]] = f
    end
  elseif left_out[f[2]] or only and not only[f[2]] then
    -- not now
  elseif f[1] == "case" then
    run_case(f)
  elseif f[1] == "error" then
    run_error(f)
  end
end

-- No expression may have written into the arrays that all share.
for name, f in pairs(fixtures) do
  local wrong = compare(names[name], parse_result(f[3], f[4], f[5]), exact)
  if wrong then
    group_of("fixtures")
    complain("fixtures", name, "was changed: " .. wrong)
  end
end

local cases, failed = 0, 0
for _, name in ipairs(order) do
  local g = groups[name]
  print(("%-20s %4d cases, %d failed"):format(name, g.cases, g.failed))
  cases = cases + g.cases
  failed = failed + g.failed
end
print(("%d cases: %d failed"):format(cases, failed))
os.exit(failed == 0 and 0 or 1, true)
