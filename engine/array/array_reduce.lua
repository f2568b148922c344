-- Reductions, running sums, and comparisons of whole arrays.
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local array, methods, call, as_array = kit.array, kit.methods, kit.call, kit.as_array
local need_array, kind_of, check_options, check_alive, scalar, parse_axis = kit.need_array, kit.kind_of, kit.check_options, kit.check_alive, kit.scalar, kit.parse_axis
local exact, load, parse_dtype, dtype_names = kit.exact, kit.load, kit.parse_dtype, kit.dtype_names
local tonumber, type, ipairs, pairs, tostring = tonumber, type, ipairs, pairs, tostring
local band, bor, lshift = bit.band, bit.bor, bit.lshift
local BOOL, INT64, FLOAT32, FLOAT64, UINT64, COMPLEX64 = 0, 3, 4, 5, 10, 11

-- ------------------------------------------------------------------------------------------------------- reductions ----
-- enum pg_reduce_op
local SUM, MAX, MIN = 0, 3, 2
local PROD, VAR, STD, ANY, ALL, COUNT = 4, 5, 6, 7, 8, 9
local NANVAR, NANSTD = 14, 15

-- One element of any dtype. A union's fields are read as such: see array_view.lua on casts of constant addresses.
local element = ffi.new("union { double float64; float float32; int64_t int64; uint64_t uint64; uint8_t truth; double complex_[2]; }")
local element_data = ffi.cast("void *", element)
local dtype_of = ffi.new("int32_t[1]")

local function too_large(name, x)
  fail("%s: the result %s is beyond 2^53, where Lua numbers are not exact; convert with a:astype(\"float64\") first, " ..
    "or keep it in an array with {keepdims = true} and read that with a:int64(i)", name, (tostring(x):gsub("U?LL$", "")))
end

local function element_value(name, dtype)
  if dtype == FLOAT64 then
    return element.float64
  elseif dtype == FLOAT32 then
    return tonumber(element.float32)
  elseif dtype == BOOL then
    return element.truth ~= 0
  elseif dtype == INT64 then
    if element.int64 > exact or element.int64 < -exact then
      too_large(name, element.int64)
    end
    return tonumber(element.int64)
  elseif dtype == UINT64 then
    if element.uint64 > exact then
      too_large(name, element.uint64)
    end
    return tonumber(element.uint64)
  end
  return (load(element_data, dtype, 0))
end

local function reduce_all(name, op, a, ddof)
  check(C.pg_array_reduce_all(op, a, ddof, element, dtype_of))
  return (element_value(name, dtype_of[0]))
end

-- The axes of a as bits: of one axis, of a list of them, or of nil for all.
local function axis_bits(name, a, axis)
  if axis == nil then
    return lshift(1, a._ndim) - 1
  elseif type(axis) ~= "table" then
    return lshift(1, parse_axis(name, a, axis) - 1)
  end
  local bits = 0
  for i = 1, #axis do
    local one = lshift(1, parse_axis(name, a, axis[i]) - 1)
    if band(bits, one) ~= 0 then
      fail("%s: axis %d is given twice", name, axis[i])
    end
    bits = bor(bits, one)
  end
  return bits
end
kit.axis_bits = axis_bits

-- Options that come in place of an axis: a:sum(1), a:sum({1, 2}) or a:sum{axis = 1, ...}.
local function split_options(name, options, known)
  if type(options) ~= "table" then
    return options, nil
  elseif #options > 0 then
    return options, nil
  end
  check_options(name, options, known)
  if options.keepdims ~= nil and type(options.keepdims) ~= "boolean" then
    fail("%s: keepdims is true or false, got %s", name, kind_of(options.keepdims))
  end
  return options.axis, options
end

-- a:sum(1, 2) and a:sum(1, {keepdims = true}) would lose what comes second.
local function only_one(name, more)
  if more ~= nil then
    fail("%s takes one argument: an axis, or options, as in a:%s{axis = 1}; got %s as well", name, name, kind_of(more))
  end
end

-- Where a result goes: itself, another dtype of it, or `out`.
local function deliver(name, result, options)
  if options == nil then
    return result
  end
  local out = options.out
  if out ~= nil then
    local target = need_array(name .. ": out", out)
    check_alive(target)
    local same = target._ndim == result._ndim
    for i = 0, result._ndim - 1 do
      same = same and target._shape[i] == result._shape[i]
    end
    if not same then
      fail("%s: out has the shape %s, the result %s", name, kit.shape_text(target._shape, target._ndim),
        kit.shape_text(result._shape, result._ndim))
    elseif band(target._flags, 1) ~= 0 then
      kit.read_only()
    end
    check(C.pg_array_assign(target, result))
    return out
  elseif options.dtype ~= nil then
    local dtype = parse_dtype(name, options.dtype)
    return dtype == result._dtype and result or call(C.pg_array_astype, nil, result, dtype)
  end
  return result
end
kit.deliver = deliver

local function finish(name, result, options, keepdims)
  result = deliver(name, result, options)
  if not keepdims and not (options and options.out ~= nil) and result._ndim == 0 then
    ffi.copy(element, result._data, C.pg_array_element_size(result._dtype))
    return (element_value(name, result._dtype))
  end
  return result
end

-- With {dtype = "float64"}, sums and products of integers are computed in float64, where they cannot wrap.
local function convert_first(x, op, options)
  if options and options.dtype and (op == SUM or op == PROD) and (x._dtype < FLOAT32 or (x._dtype > FLOAT64 and
    x._dtype < COMPLEX64)) then
    local dtype = parse_dtype("dtype", options.dtype)
    if dtype == FLOAT32 or dtype == FLOAT64 or dtype >= COMPLEX64 then
      return call(C.pg_array_astype, nil, x, FLOAT64)
    end
  end
  return x
end

local known_options = { axis = true, keepdims = true, dtype = true, out = true }
local known_with_ddof = { axis = true, keepdims = true, dtype = true, out = true, ddof = true }

-- a:sum() of all elements is a number; a:sum(axis) an array without that axis, a number if no axis is left.
local names = { "sum", "mean", "min", "max", "prod", "var", "std", "any", "all", "count_nonzero", "nansum", "nanmean",
  "nanmin", "nanmax", "nanvar", "nanstd" }
for i, name in ipairs(names) do
  local op = i - 1
  local has_ddof = op == VAR or op == STD or op >= NANVAR
  local known = has_ddof and known_with_ddof or known_options
  local function apply(a, how, more)
    local x = need_array(name, a)
    if how == nil then
      return (reduce_all(name, op, x, 0))
    end
    only_one(name, more)
    local axis, options = split_options(name, how, known)
    local ddof = options and options.ddof or 0
    if type(ddof) ~= "number" then
      fail("%s: ddof is a number, got %s", name, kind_of(ddof))
    end
    check_alive(x)
    x = convert_first(x, op, options)
    local keepdims = options ~= nil and options.keepdims or false
    local bits = axis_bits(name, x, axis)
    if not keepdims and bits == lshift(1, x._ndim) - 1 and not (options and (options.dtype or options.out)) then
      return (reduce_all(name, op, x, ddof))
    end
    local result = call(C.pg_array_reduce, nil, op, x, bits, keepdims and 1 or 0, ddof)
    return (finish(name, result, options, keepdims))
  end
  array[name], methods[name] = apply, apply
end

--- a:ptp([axis]): maximum minus minimum ("peak to peak").
local function ptp(a, how, more)
  only_one("ptp", more)
  local x = need_array("ptp", a)
  if x._dtype == BOOL then
    fail("ptp: a bool array has no differences; convert it first, as in a:astype(\"uint8\")")
  end
  local axis, options = split_options("ptp", how, known_options)
  check_alive(x)
  local keepdims = options ~= nil and options.keepdims or false
  local bits = axis_bits("ptp", x, axis)
  local keep = keepdims and 1 or 0
  local result = call(C.pg_array_reduce, nil, MAX, x, bits, keep, 0)
  local low = call(C.pg_array_reduce, nil, MIN, x, bits, keep, 0)
  call(C.pg_array_binary, result, 1, result, low)
  return (finish("ptp", result, options, keepdims))
end
array.ptp, methods.ptp = ptp, ptp

-- a:argmin([axis]), a:argmax([axis]): positions from 1, along the axis or in row-major order of all elements.
local known_position = { axis = true, keepdims = true, out = true }
local where = ffi.new("struct { int64_t at[1]; }")
for i, name in ipairs { "argmin", "argmax" } do
  local largest = i - 1
  local function apply(a, how, more)
    local x = need_array(name, a)
    only_one(name, more)
    local axis, options = split_options(name, how, known_position)
    local keepdims = options ~= nil and options.keepdims or false
    if type(axis) == "table" then
      fail("%s: one axis, or none for all elements; got a table", name)
    end
    if axis == nil or (x._ndim == 1 and not keepdims and not (options and options.out)) then
      check(C.pg_array_position_all(largest, x, where.at))
      if axis ~= nil then
        parse_axis(name, x, axis)
      end
      local position = tonumber(where.at[0])
      if not keepdims then
        return position
      end
      for k = 1, x._ndim do
        kit.set_length(name, k, 1)
      end
      local result = kit.create(x._ndim, INT64, 0)
      kit.write(result, position)
      return (deliver(name, result, options))
    end
    check_alive(x)
    local k = parse_axis(name, x, axis)
    local result = call(C.pg_array_position, nil, largest, x, k - 1, keepdims and 1 or 0)
    return (deliver(name, result, options))
  end
  array[name], methods[name] = apply, apply
end

-- a:cumsum([axis]), cumprod, cummin, cummax: running sums and so on; without an axis of all elements in row-major order,
-- as a vector. In the order of enum pg_scan_op.
local known_scan = { axis = true, dtype = true, out = true }
for i, name in ipairs { "cumsum", "cumprod", "cummin", "cummax" } do
  local op = i - 1
  local function apply(a, how, more)
    local x = need_array(name, a)
    only_one(name, more)
    local axis, options = split_options(name, how, known_scan)
    if type(axis) == "table" then
      fail("%s: one axis, or none for all elements; got a table", name)
    end
    check_alive(x)
    if op <= 1 then
      x = convert_first(x, SUM, options)
    end
    local k = axis == nil and 0 or parse_axis(name, x, axis)
    return (deliver(name, call(C.pg_array_scan, nil, op, x, k - 1), options))
  end
  array[name], methods[name] = apply, apply
end

-- Without NaN, by way of a copy that has another number in its place.
for name, number in pairs { prod = 1, cumsum = 0, cumprod = 1 } do
  local full_name = "nan" .. name
  local function apply(a, how, more)
    local x = need_array(full_name, a)
    only_one(full_name, more)
    check_alive(x)
    if kit.kinds[x._dtype] == "f" or kit.kinds[x._dtype] == "c" then
      x = array.where(array.isnan(x), number, x)
    end
    return (array[name](x, how))
  end
  array[full_name], methods[full_name] = apply, apply
end

-- nanargmin and nanargmax: where the smallest number is found first. (Infinity in the place of NaN would hide an
-- infinity behind it, as it does in NumPy.)
for _, name in ipairs { "argmin", "argmax" } do
  local full_name, extreme = "nan" .. name, name == "argmin" and "nanmin" or "nanmax"
  local function apply(a, how, more)
    local x = need_array(full_name, a)
    only_one(full_name, more)
    local axis = split_options(full_name, how, known_position)
    check_alive(x)
    if x._size == 0 then
      fail("%s of no elements does not exist", full_name)
    elseif kit.kinds[x._dtype] ~= "f" and kit.kinds[x._dtype] ~= "c" then
      return (array[name](x, how))
    end
    local best = array[extreme](x, { axis = axis, keepdims = true })
    if array.any(array.isnan(best)) then
      fail("%s: there is nothing but NaN %s", full_name, axis == nil and "in this array" or "in a line along this axis")
    end
    return (array.argmax(array.eq(x, best), how))
  end
  array[full_name], methods[full_name] = apply, apply
end

kit.reduce_all, kit.split_options, kit.finish = reduce_all, split_options, finish

-- ------------------------------------------------------------------------------------------------------ comparisons ----
local result = ffi.new("int32_t[1]")
local EQ = 8 -- enum pg_binary_op: it does not mind a number that is out of range
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
  x = x or scalar(1, a, kit.weak_dtype("allclose", EQ, a, y._dtype))
  y = y or scalar(2, b, kit.weak_dtype("allclose", EQ, b, x._dtype))
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
