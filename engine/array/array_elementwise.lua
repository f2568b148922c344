-- Operations on every element: arithmetic, comparisons, functions.
local core, kit = ...
local C = core.C
local fail = core.fail
local array, methods, call, is, as_array = kit.array, kit.methods, kit.call, kit.is, kit.as_array
local need_array, kind_of, check_options, check_alive, scalar, dtype_names = kit.need_array, kit.kind_of, kit.check_options, kit.check_alive, kit.scalar, kit.dtype_names
local lowest, highest, exact = kit.lowest, kit.highest, kit.exact
local ffi = core.ffi
local format, istype = string.format, ffi.istype
local type, ipairs, select = type, ipairs, select
local kinds, complex_t = kit.kinds, kit.complex_t
local BOOL, INT64, UINT64 = kit.dtypes.bool, kit.dtypes.int64, kit.dtypes.uint64
local FLOAT32, FLOAT64, COMPLEX64, COMPLEX128 = kit.dtypes.float32, kit.dtypes.float64, kit.dtypes.complex64,
  kit.dtypes.complex128
local ADD = 0
local int64_t, uint64_t = ffi.typeof("int64_t"), ffi.typeof("uint64_t")

-- ----------------------------------------------------------------------------------------------------- arithmetic ----
-- enum pg_binary_op: divide, atan2 to ldexp, heaviside to ieee_remainder give floats; these need no integer.
local function gives_float(op)
  return op == 3 or op >= 18 and op <= 23 or op >= 34
end

-- Comparisons and logic do not mind a number that is out of range.
local function gives_bool(op)
  return op >= 8 and op <= 13 or op >= 24 and op <= 26
end

-- A Lua number is weak: it takes the dtype of the array it meets where that can hold it.
local function weak_dtype(name, op, value, dtype)
  local kind = kinds[dtype]
  if type(value) == "number" then
    if kind == "f" or kind == "c" then
      return dtype
    elseif value % 1 ~= 0 or gives_float(op) then
      return FLOAT64
    elseif kind ~= "b" and value >= lowest[dtype] and value <= highest[dtype] then
      return dtype
    elseif gives_bool(op) then
      return value >= -exact and value <= exact and INT64 or FLOAT64
    elseif kind == "b" then
      return INT64
    end
    fail("%s: %s is out of range for the array's dtype %s; convert the array first, as in a:astype(\"float64\")", name,
      format("%.17g", value), dtype_names[dtype])
  elseif type(value) == "boolean" then
    return BOOL
  elseif type(value) == "cdata" and istype(complex_t, value) then
    return kind == "c" and dtype or dtype == FLOAT32 and COMPLEX64 or COMPLEX128
  elseif type(value) == "cdata" and istype(int64_t, value) then
    return INT64
  elseif type(value) == "cdata" and istype(uint64_t, value) then
    return UINT64
  end
  fail("%s: an array or a number is expected, got %s", name, kind_of(value))
end

local function binary(name, op, out, a, b)
  local x, y = as_array(a), as_array(b)
  if x and not y then
    y = scalar(2, b, weak_dtype(name, op, b, x._dtype))
  elseif y and not x then
    x = scalar(1, a, weak_dtype(name, op, a, y._dtype))
  elseif not x then
    fail("%s: an array is expected, got %s", name, kind_of(a))
  end
  return call(C.pg_array_binary, out, op, x, y)
end

local only_out = { out = true }

-- The array to write to: nil for a new one, or options.out.
local function output(name, options)
  if options == nil then
    return nil
  elseif type(options) ~= "table" then
    fail("%s: options are a table such as {out = c}, got %s", name, kind_of(options))
  end
  check_options(name, options, only_out)
  if options.out == nil then
    return nil
  end
  local out = need_array(name .. ": out", options.out)
  check_alive(out)
  return out
end

-- array.add(a, b, {out = c}), a:add(b) and a:add_(b), for every operation but those that answer yes or no. They are made
-- when they are first used.
local no_place = { eq = true, ne = true, lt = true, le = true, gt = true, ge = true, isnan = true, isinf = true,
  isfinite = true, signbit = true }
function kit.define_binary(name, op)
  local in_place_name = name .. "_"
  local function apply(a, b, options)
    return binary(name, op, output(name, options), a, b)
  end
  array[name], methods[name] = apply, apply
  if not no_place[name] then
    methods[in_place_name] = function(a, b)
      local out = need_array(in_place_name, a)
      check_alive(out)
      binary(in_place_name, op, out, out, b)
      return a
    end
  end
end

function kit.define_unary(name, op)
  local in_place_name = name .. "_"
  local function apply(a, options)
    local x = as_array(a)
    if not x then
      fail("%s: an array is expected, got %s%s", name, kind_of(a),
        type(a) == "number" and math[name] and format("; math.%s takes numbers", name) or "")
    end
    return call(C.pg_array_unary, output(name, options), op, x)
  end
  array[name], methods[name] = apply, apply
  if not no_place[name] then
    methods[in_place_name] = function(a)
      local out = need_array(in_place_name, a)
      check_alive(out)
      call(C.pg_array_unary, out, op, out)
      return a
    end
  end
end

-- Three operands, of which one at least is an array and two at most are numbers.
local function ternary(name, op, out, a, b, c)
  local x, y, z = as_array(a), as_array(b), as_array(c)
  local of = (x or y or z or fail("%s: an array is expected, got %s", name, kind_of(a)))._dtype
  local slot = 1
  if not x then
    x, slot = scalar(1, a, weak_dtype(name, ADD, a, of)), 2
  end
  if not y then
    y, slot = scalar(slot, b, weak_dtype(name, ADD, b, of)), 2
  end
  z = z or scalar(slot, c, weak_dtype(name, ADD, c, of))
  return call(C.pg_array_ternary, out, op, x, y, z)
end

--- array.result_type(a, b, ...): the dtype in which arrays, dtypes ("int8") and numbers meet in arithmetic.
function array.result_type(...)
  local numbers, dtype = {}, nil
  for i = 1, select("#", ...) do
    local x = select(i, ...)
    local a = as_array(x)
    local one = a and a._dtype or type(x) == "string" and kit.parse_dtype("result_type", x) or nil
    if one then
      dtype = dtype and C.pg_array_promote(dtype, one) or one
    else
      numbers[#numbers + 1] = x
    end
  end
  if not dtype then
    fail("result_type: an array or a dtype is expected, got %s", kind_of((...)))
  end
  for _, x in ipairs(numbers) do
    dtype = C.pg_array_promote(dtype, weak_dtype("result_type", ADD, x, dtype))
  end
  return dtype_names[dtype]
end

kit.output, kit.binary, kit.ternary, kit.weak_dtype = output, binary, ternary, weak_dtype
