-- Reductions, and comparisons of whole arrays.
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local array, methods, array_t, call, is, as_array = kit.array, kit.methods, kit.array_t, kit.call, kit.is, kit.as_array
local need_array, kind_of, check_options, check_alive, scalar, parse_axis = kit.need_array, kit.kind_of, kit.check_options, kit.check_alive, kit.scalar, kit.parse_axis
local exact, binary = kit.exact, kit.binary
local tonumber, type, ipairs, tostring = tonumber, type, ipairs, tostring
local BOOL = 0
local FLOAT32 = 4
local FLOAT64 = 5
local int64_t = ffi.typeof("int64_t")

-- ------------------------------------------------------------------------------------- reductions and comparisons ----
local MIN, MAX = 2, 3
local value, integer, value_dtype = ffi.new("double[1]"), ffi.new("int64_t[1]"), ffi.new("int32_t[1]")
local only_axis = { axis = true }

local function reduce_all(name, op, a)
  check(C.pg_array_reduce_all(op, a, value, integer, value_dtype))
  local dtype = value_dtype[0]
  if dtype == FLOAT32 or dtype == FLOAT64 then
    return value[0]
  elseif dtype == BOOL then
    return integer[0] ~= 0
  elseif integer[0] > exact or integer[0] < -exact then
    fail("%s: the result %s is beyond 2^53, where Lua numbers are not exact; convert with a:astype(\"float64\") first",
      name, (tostring(integer[0]):gsub("LL$", "")))
  end
  return tonumber(integer[0])
end

-- a:sum() of all elements is a number; a:sum(axis) or a:sum{axis = axis} an array without that axis. enum pg_reduce_op.
for i, name in ipairs { "sum", "mean", "min", "max" } do
  local op = i - 1
  local function apply(a, axis)
    local x = need_array(name, a)
    if type(axis) == "table" then
      check_options(name, axis, only_axis)
      axis = axis.axis
    end
    if axis == nil then
      return reduce_all(name, op, x)
    end
    check_alive(x)
    local k = parse_axis(name, x, axis)
    if x._ndim == 1 then
      return reduce_all(name, op, x)
    end
    return call(C.pg_array_reduce, array_t(), op, x, k - 1)
  end
  array[name], methods[name] = apply, apply
end

local function as_bool(name, a)
  a = need_array(name, a)
  return a._dtype == BOOL and a or binary(name, 9, array_t(), a, 0)
end

--- a:any(), a:all(): whether any element, or every one, is true (or not zero).
function methods.any(a)
  a = as_bool("any", a)
  return a._size > 0 and reduce_all("any", MAX, a)
end
function methods.all(a)
  a = as_bool("all", a)
  return a._size == 0 or reduce_all("all", MIN, a)
end
array.any, array.all = methods.any, methods.all

local result = ffi.new("int32_t[1]")
local close_options = { rtol = true, atol = true, equal_nan = true }

--- array.allclose(a, b [, {rtol = 1e-5, atol = 1e-8, equal_nan = false}]): whether every |a - b| <= atol + rtol |b|,
--- with broadcasting. One of them may be a number.
function array.allclose(a, b, options)
  options = options or {}
  if type(options) ~= "table" then
    fail("allclose: options are a table such as {rtol = 1e-9}, got %s", kind_of(options))
  end
  check_options("allclose", options, close_options)
  local rtol, atol = options.rtol or 1e-5, options.atol or 1e-8
  if type(rtol) ~= "number" or type(atol) ~= "number" then
    fail("allclose: rtol and atol are numbers")
  end
  local x, y = as_array(a), as_array(b)
  if not x and not y then
    fail("allclose: an array is expected, got %s", kind_of(a))
  end
  x = x or scalar(1, a, kit.value_dtype(a))
  y = y or scalar(2, b, kit.value_dtype(b))
  check(C.pg_array_allclose(x, y, rtol, atol, options.equal_nan and 1 or 0, result))
  return result[0] ~= 0
end
methods.allclose = array.allclose

local only_equal_nan = { equal_nan = true }

--- array.equal(a, b [, {equal_nan = false}]): whether shapes and all elements are equal (NumPy: array_equal).
function array.equal(a, b, options)
  if options ~= nil then
    check_options("equal", options, only_equal_nan)
  end
  local equal_nan = options and options.equal_nan and 1 or 0
  check(C.pg_array_equal(need_array("equal", a), need_array("equal", b), equal_nan, result))
  return result[0] ~= 0
end
methods.equal = array.equal
