-- Atomic numbers, and atomic operations on elements of arrays. One call of C each, which compiled loops make as it is.
local core, kit = ...
local C, ffi = core.C, core.ffi
local fail, type, tonumber, select, istype = core.fail, type, tonumber, select, ffi.istype
local cast, band, format, unpack, remove = ffi.cast, bit.band, string.format, unpack, table.remove

local parallel, kind_of, me, shared_t = kit.parallel, kit.kind_of, kit.me, kit.shared_t
local arrays = core.require("array")._kit
local offset, checked = arrays.offset, core.checked
local int64_t, uint64_t = ffi.typeof("int64_t"), ffi.typeof("uint64_t")
local double_1 = ffi.typeof("double[1]")

local LOAD, STORE, ADD, SUB, MIN, MAX, EXCHANGE = 0, 1, 2, 3, 4, 5, 6 -- enum pg_atomic_op
local exact = 2 ^ 53

-- ------------------------------------------------------------------------------------------------------- numbers -----
local INTEGER, FLOAT = 1, 13 -- enum pg_shared_kind

local function bad_number(name, v, integer)
  if integer and type(v) == "number" then
    fail("%s: %s is not an integer up to 2^53, and this atomic has dtype int64; parallel.atomic(0, \"float64\") holds floats",
      name, format("%.17g", v))
  end
  fail("%s: a number is expected, got %s", name, kind_of(v))
end

local function too_large(name, v)
  fail("%s: the number was about %s, beyond 2^53, where Lua numbers are not exact", name, format("%.17g", v))
end

-- One operation on an atomic number.
local function number(name, object, op, v)
  if not istype(shared_t, object) or (object._kind ~= INTEGER and object._kind ~= FLOAT) then
    kit.wrong_self(name, INTEGER, object)
  end
  if object._kind == INTEGER then
    if type(v) ~= "number" or v % 1 ~= 0 or v > exact or v < -exact then
      bad_number(name, v, true)
    end
    local before = C.pg_atomic_number(object._object, me, op, v)
    if before > exact or before < -exact then
      too_large(name, before)
    end
    return before
  elseif type(v) ~= "number" then
    bad_number(name, v, false)
  end
  return (C.pg_atomic_number(object._object, me, op, v))
end

local methods = {}

--- parallel.atomic([value [, dtype]]): a number that workers change without losing a change; dtype "int64" or "float64"
--- (given nothing: int64 if the value is an integer).
function parallel.atomic(value, dtype)
  if type(dtype) == "table" then
    arrays.check_options("atomic", dtype, { dtype = true })
    dtype = dtype.dtype
  end
  if value == nil then
    value = 0
  elseif type(value) ~= "number" then
    bad_number("atomic", value, false)
  end
  if dtype == nil then
    dtype = value % 1 == 0 and "int64" or "float64"
  elseif dtype ~= "int64" and dtype ~= "float64" then
    fail('atomic: its dtype is "int64" or "float64", got %s', kind_of(dtype))
  end
  if dtype == "int64" and not (value % 1 == 0 and value <= exact and value >= -exact) then
    bad_number("atomic", value, true)
  end
  return kit.new_shared(C.pg_atomic_create, dtype == "int64" and INTEGER or FLOAT, value)
end

--- c:get(): the number.
function methods.get(object) return (number("get", object, LOAD, 0)) end
--- c:set(v): sets it.
function methods.set(object, v) number("set", object, STORE, v) end
--- c:add(v), c:sub(v), c:min(v), c:max(v), c:exchange(v): change it; return the number before.
function methods.add(object, v) return (number("add", object, ADD, v)) end
function methods.sub(object, v) return (number("sub", object, SUB, v)) end
function methods.min(object, v) return (number("min", object, MIN, v)) end
function methods.max(object, v) return (number("max", object, MAX, v)) end
function methods.exchange(object, v) return (number("exchange", object, EXCHANGE, v)) end

--- c:compare_exchange(expected, desired): sets it to desired if it is `expected`. Returns whether it was, and the number
--- before.
function methods.compare_exchange(object, expected, desired)
  if not istype(shared_t, object) or (object._kind ~= INTEGER and object._kind ~= FLOAT) then
    kit.wrong_self("compare_exchange", INTEGER, object)
  end
  local integer = object._kind == INTEGER
  if type(expected) ~= "number" then
    bad_number("compare_exchange", expected, integer)
  elseif type(desired) ~= "number" or (integer and (desired % 1 ~= 0 or desired > exact or desired < -exact)) then
    bad_number("compare_exchange", desired, integer)
  end
  if integer and (expected % 1 ~= 0 or expected > exact or expected < -exact) then
    return false, number("compare_exchange", object, LOAD, 0)
  end
  local before = double_1(expected)
  local swapped = C.pg_atomic_number_compare_exchange(object._object, me, before, desired) ~= 0
  return swapped, before[0]
end

for _, kind in ipairs { INTEGER, FLOAT } do
  kit.shared_methods[kind] = methods
  kit.shared_getters[kind].dtype = function(object) return object._kind == INTEGER and "int64" or "float64" end
  kit.shared_describe[kind] = function(object) return format("%.17g", methods.get(object)) end
end

-- ----------------------------------------------------------------------------------------------- elements of arrays --
local READONLY = 1
local lowest, highest, dtype_names = arrays.lowest, arrays.highest, arrays.dtype_names

local atomic_dtypes = {} -- dtype -> whether it has atomic operations
for code, name in pairs(dtype_names) do
  atomic_dtypes[code] = name ~= "bool" and name ~= "complex64" and name ~= "complex128"
end

local function bad_dtype(name, dtype)
  fail("%s: elements of dtype %s have no atomic operations; use an array of integers or floats", name, dtype_names[dtype])
end

local function bad_value(name, v, dtype)
  if type(v) ~= "number" then
    fail("%s: a number is expected as the last argument, got %s", name, kind_of(v))
  end
  fail("%s: %s is not %s", name, format("%.17g", v), v % 1 == 0 and "in the range of " .. dtype_names[dtype] or
    "an integer, and this array has dtype " .. dtype_names[dtype])
end

local FLOAT32, FLOAT64 = 4, 5

local function check_value(name, v, dtype)
  if type(v) ~= "number" then
    bad_value(name, v, dtype)
  elseif dtype ~= FLOAT64 and dtype ~= FLOAT32 and
    not (v % 1 == 0 and v >= lowest[dtype] and v <= highest[dtype]) then
    bad_value(name, v, dtype)
  end
end

-- The array and the element's offset, for a[i] and for more indices.
local function locate(name, a, ...)
  a = arrays.need_array(name, a)
  if not atomic_dtypes[a._dtype] then
    bad_dtype(name, a._dtype)
  elseif band(a._flags, READONLY) ~= 0 then
    arrays.read_only()
  end
  local at = offset(a, ...)
  if checked then
    checked.atomic(a, at)
  end
  return a, at
end

local fresh = ffi.typeof("pg_array")

-- One operation on a[i], and on a[i][j]; `v` follows the indices.
local function element(name, op, a, i, j, k, ...)
  if istype(fresh, a) and a._ndim == 1 and k == nil and type(i) == "number" and type(j) == "number" and
    a._dtype == FLOAT64 and band(a._flags, READONLY) == 0 and not checked then
    local at = i - 1
    if cast(int64_t, at) < cast(uint64_t, a._shape[0]) and i % 1 == 0 then
      return (C.pg_atomic_apply(a._data, FLOAT64, at * a._strides[0], op, j))
    end
  end
  local v, at
  if k == nil then
    v = j
    a, at = locate(name, a, i)
  elseif select("#", ...) == 0 then
    v = k
    a, at = locate(name, a, i, j)
  else
    local indices = { i, j, k, ... }
    v = remove(indices)
    a, at = locate(name, a, unpack(indices))
  end
  local dtype = a._dtype
  check_value(name, v, dtype)
  local before = C.pg_atomic_apply(a._data, dtype, at, op, v)
  if checked then -- again: what others made known by the value that was read
    checked.atomic(a, at)
  end
  return before
end

--- parallel.atomic_add(a, i [, j, ...], v), and sub, min, max, exchange, store: change an element; return what it was
--- before. Integers wrap. (A result beyond 2^53 is rounded, what is stored is not.)
function parallel.atomic_add(a, i, j, ...) return (element("atomic_add", ADD, a, i, j, ...)) end
function parallel.atomic_sub(a, i, j, ...) return (element("atomic_sub", SUB, a, i, j, ...)) end
function parallel.atomic_min(a, i, j, ...) return (element("atomic_min", MIN, a, i, j, ...)) end
function parallel.atomic_max(a, i, j, ...) return (element("atomic_max", MAX, a, i, j, ...)) end
function parallel.atomic_exchange(a, i, j, ...) return (element("atomic_exchange", EXCHANGE, a, i, j, ...)) end
function parallel.atomic_store(a, i, j, ...) element("atomic_store", STORE, a, i, j, ...) end

--- parallel.atomic_load(a, i [, j, ...]): the element.
function parallel.atomic_load(a, ...)
  local at
  a, at = locate("atomic_load", a, ...)
  local value = C.pg_atomic_apply(a._data, a._dtype, at, LOAD, 0)
  if checked then
    checked.atomic(a, at)
  end
  return value
end

--- parallel.atomic_compare_exchange(a, i [, j, ...], expected, desired): sets the element to desired if it is `expected`.
--- Returns whether it was, and what it was before.
function parallel.atomic_compare_exchange(a, ...)
  local indices = { ... }
  local desired, expected = remove(indices), nil
  expected = remove(indices)
  local at
  a, at = locate("atomic_compare_exchange", a, unpack(indices))
  local dtype = a._dtype
  check_value("atomic_compare_exchange", desired, dtype)
  if type(expected) ~= "number" then
    bad_value("atomic_compare_exchange", expected, dtype)
  elseif lowest[dtype] and not (expected % 1 == 0 and expected >= lowest[dtype] and expected <= highest[dtype]) then
    return false, C.pg_atomic_apply(a._data, dtype, at, LOAD, 0) -- which no element can be
  end
  local before = double_1(expected)
  local swapped = C.pg_atomic_compare_exchange(a._data, dtype, at, before, desired) ~= 0
  if checked then
    checked.atomic(a, at)
  end
  return swapped, before[0]
end
