-- What scripts see of arrays: arguments are checked and errors worded here, elements are read and written here, and
-- everything that touches many elements is done by C++ (array_abi.h).
--
-- `return (load(...))` is no slip: as a tail call it would drop this function's frame, and with it what may be the last
-- reference to the array whose memory is being read.
--
-- Hot paths are written for LuaJIT's trace compiler: dtypes and ranks become guards that leave the loop, rows are sunk
-- (never allocated), nothing on them creates a closure, and calls in them are not tail calls, of which a trace may
-- have only 15: `return (f(x))`.
local core = ...
local C, ffi = core.C, core.ffi
local fail, check = core.fail, core.check
local cast, istype, tonumber, type, select, ipairs, pairs = ffi.cast, ffi.istype, tonumber, type, select, ipairs, pairs
local tostring, floor, format, concat, sort = tostring, math.floor, string.format, table.concat, table.sort
local band, next, unpack, max, remove = bit.band, next, unpack, math.max, table.remove
local sub, find, gsub, gmatch, rawget = string.sub, string.find, string.gsub, string.gmatch, rawget
local setmetatable = setmetatable

local array = {}   -- the module
local methods = {} -- a:method()
local getters = {} -- a.field
local kit          -- below: parts

local fresh, row_t, int64_t = ffi.typeof("pg_array"), ffi.typeof("pg_row"), ffi.typeof("int64_t")
local array_p = ffi.typeof("pg_array *")
local double_p, float_p = ffi.typeof("double *"), ffi.typeof("float *")
local int64_p, int32_p, uint8_p = ffi.typeof("int64_t *"), ffi.typeof("int32_t *"), ffi.typeof("uint8_t *")
local uint64_t = ffi.typeof("uint64_t")
local int8_p, int16_p, uint16_p = ffi.typeof("int8_t *"), ffi.typeof("int16_t *"), ffi.typeof("uint16_t *")
local uint32_p, uint64_p = ffi.typeof("uint32_t *"), ffi.typeof("uint64_t *")
local complex_t, complex_p = ffi.typeof("double _Complex"), ffi.typeof("double _Complex *")
local complex64_p = ffi.typeof("float _Complex *")

-- enum pg_dtype, pg_array_flags and pg_status, as local numbers: the compiler takes them for constants.
local BOOL, UINT8, INT32, INT64, FLOAT32, FLOAT64 = 0, 1, 2, 3, 4, 5
local INT8, INT16, UINT16, UINT32, UINT64, COMPLEX64, COMPLEX128 = 6, 7, 8, 9, 10, 11, 12
local READONLY = 1
local ERROR_MEMORY = 4

local dtype_names = { [0] = "bool", "uint8", "int32", "int64", "float32", "float64", "int8", "int16", "uint16", "uint32",
  "uint64", "complex64", "complex128" }
local dtypes = {}
for code = 0, COMPLEX128 do
  dtypes[dtype_names[code]] = code
end
local legal_dtypes = '"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", ' ..
  '"float64", "complex64" or "complex128"'
-- "b" bool, "i" and "u" integers, "f" floats, "c" complex
local kinds = { [BOOL] = "b", [INT8] = "i", [INT16] = "i", [INT32] = "i", [INT64] = "i", [UINT8] = "u", [UINT16] = "u",
  [UINT32] = "u", [UINT64] = "u", [FLOAT32] = "f", [FLOAT64] = "f", [COMPLEX64] = "c", [COMPLEX128] = "c" }
-- What integers hold, of the numbers that Lua can write down.
local lowest = { [INT8] = -2 ^ 7, [INT16] = -2 ^ 15, [INT32] = -2 ^ 31, [INT64] = -2 ^ 63, [UINT8] = 0, [UINT16] = 0,
  [UINT32] = 0, [UINT64] = 0 }
local highest = { [INT8] = 2 ^ 7 - 1, [INT16] = 2 ^ 15 - 1, [INT32] = 2 ^ 31 - 1, [INT64] = 2 ^ 63 - 1024,
  [UINT8] = 2 ^ 8 - 1, [UINT16] = 2 ^ 16 - 1, [UINT32] = 2 ^ 32 - 1, [UINT64] = 2 ^ 64 - 2048 }
local exact = 2 ^ 53 -- above it a Lua number cannot hold every integer

-- ------------------------------------------------------------------------------------------------- calls into C++ ----
local collect, natives = ffi.new("int32_t[1]"), core.natives.array

-- An array struct that Lua holds owns a reference to its block. A finaliser for each would let go of it, but costs 150
-- of the 200 ns that such an object then takes (LuaJIT keeps finalisers in a hash table and calls them one by one). So
-- the state's heap tells the owners when the collector frees such a struct (owners.hpp).
local owners = natives.owners and cast("pg_owners *", natives.owners)

-- Notes that the array `a`, new from C++, holds a reference that ends with it.
local function own(a)
  if not owners or C.pg_owners_take(owners, a) == 0 then
    ffi.gc(a, natives.release)
  end
end

--- array_t(): an array for C++ to fill as a further result. It has a finaliser, which is slower than to be owned.
local function array_t()
  return (ffi.gc(fresh(), natives.release))
end

-- Calls f(out, collect, ...), collecting garbage when array memory has grown or is exhausted. `out` is nil for a new
-- array. Returns it.
local function call(f, out, ...)
  local new = not out
  if new then
    out = fresh()
  end
  local status = f(out, collect, ...)
  if status == ERROR_MEMORY then
    core.collect()
    status = f(out, collect, ...)
  end
  check(status)
  if new then
    own(out)
  end
  if collect[0] ~= 0 then
    collect[0] = 0
    core.collect_cycle()
  end
  return out
end

local function is(x)
  return istype(fresh, x) or istype(row_t, x)
end

-- x as an owning array; nil if it is neither an array nor a row.
local function as_array(x)
  if istype(fresh, x) then
    return x
  elseif istype(row_t, x) then
    return call(C.pg_array_from_row, nil, x)
  end
end

local function kind_of(x)
  if is(x) then
    return "an array"
  elseif type(x) == "table" then
    return "a table (array.from makes an array of it)"
  elseif type(x) == "number" or type(x) == "boolean" then
    return tostring(x)
  elseif type(x) == "string" then
    return format("the string %q", x)
  elseif x == nil then
    return "nil"
  elseif istype(complex_t, x) then
    return "the complex number " .. tostring(x)
  elseif istype(int64_t, x) or istype(uint64_t, x) then
    return tostring(x)
  end
  return "a " .. type(x)
end

local function need_array(name, x)
  return as_array(x) or fail("%s: an array is expected, got %s", name, kind_of(x))
end

local function is_integer(x)
  return type(x) == "number" and x % 1 == 0
end

local function shape_text(lengths, n)
  local parts = {}
  for i = 1, n do
    parts[i] = tostring(tonumber(lengths[i - 1]))
  end
  return "(" .. concat(parts, ", ") .. ")"
end

-- -------------------------------------------------------------------------------------------- options and dtypes ----
local other_dtypes = { float = "float64", double = "float64", single = "float32", half = "float32", int = "int64",
  integer = "int64", long = "int64", short = "int16", uint = "uint64", byte = "uint8", boolean = "bool",
  complex = "complex128", number = "float64", float16 = "float32" }

local function parse_dtype(name, dtype)
  local code = dtypes[dtype]
  if not code then
    local meant = other_dtypes[dtype] and format("; did you mean '%s'?", other_dtypes[dtype]) or
      core.did_you_mean(dtype, dtypes)
    fail("%s: %s is not a dtype; legal are %s%s", name, kind_of(dtype), legal_dtypes, meant)
  end
  return code
end

-- Refuses options that do not exist; `known` maps each legal key to true.
local function check_options(name, options, known)
  for key in pairs(options) do
    if not known[key] then
      local legal = {}
      for k in pairs(known) do
        legal[#legal + 1] = k
      end
      sort(legal)
      fail("%s: unknown option '%s'; legal are: %s%s", name, tostring(key), concat(legal, ", "),
        core.did_you_mean(key, known))
    end
  end
end

local only_dtype = { dtype = true }

-- The dtype from a constructor's last argument: "int32" or {dtype = "int32"}; nil if it says none.
local function dtype_option(name, options)
  if options == nil then
    return nil
  elseif type(options) == "string" then
    return parse_dtype(name, options)
  elseif type(options) == "table" then
    check_options(name, options, only_dtype)
    return options.dtype ~= nil and parse_dtype(name, options.dtype) or nil
  end
  fail('%s: options are a table such as {dtype = "float32"}, got %s', name, kind_of(options))
end

local lengths = ffi.new("int64_t[8]")

local function set_length(name, i, n)
  if i > 8 then
    fail("%s: an array has at most 8 dimensions", name)
  elseif not is_integer(n) or n < 0 or n > exact then
    fail("%s: the length of axis %d must be an integer, 0 or more, got %s", name, i, kind_of(n))
  end
  lengths[i - 1] = n
end

-- A shape as a table {2, 3} or a number; fills `lengths` and returns the rank.
local function parse_shape(name, shape)
  if type(shape) == "table" then
    for i = 1, #shape do
      set_length(name, i, shape[i])
    end
    return #shape
  elseif type(shape) == "number" then
    set_length(name, 1, shape)
    return 1
  end
  fail("%s: a shape is a number or a table such as {2, 3}, got %s", name, kind_of(shape))
end

local function create(rank, dtype, zero)
  return call(C.pg_array_create, nil, dtype, rank, lengths, zero)
end

-- ------------------------------------------------------------------------------------------------------ elements ----
local function too_large(v)
  fail("the element %s is beyond 2^53, where Lua numbers are not exact; read it with a:%s(i)",
    (tostring(v):gsub("U?LL$", "")), istype(int64_t, v) and "int64" or "uint64")
end

local has_complex = false -- whether complex numbers have their arithmetic (array_complex.lua)

local function load(data, dtype, i)
  if dtype == FLOAT64 then
    return cast(double_p, data)[i]
  elseif dtype == FLOAT32 then
    return cast(float_p, data)[i]
  elseif dtype == INT32 then
    return cast(int32_p, data)[i]
  elseif dtype == INT64 then
    local v = cast(int64_p, data)[i]
    if v > exact or v < -exact then
      too_large(v)
    end
    return tonumber(v)
  elseif dtype == BOOL then
    return cast(uint8_p, data)[i] ~= 0
  elseif dtype == UINT8 then
    return cast(uint8_p, data)[i]
  elseif dtype == COMPLEX128 or dtype == COMPLEX64 then
    if not has_complex then
      has_complex = kit.is_complex ~= nil
    end
    if dtype == COMPLEX128 then
      return cast(complex_p, data)[i]
    end
    local v = cast(complex64_p, data)[i]
    return complex_t(v.re, v.im)
  elseif dtype == UINT64 then
    local v = cast(uint64_p, data)[i]
    if v > 9007199254740992ULL then
      too_large(v)
    end
    return tonumber(v)
  elseif dtype == UINT32 then
    return cast(uint32_p, data)[i]
  elseif dtype == INT8 then
    return cast(int8_p, data)[i]
  elseif dtype == INT16 then
    return cast(int16_p, data)[i]
  end
  return cast(uint16_p, data)[i]
end

local function bad_value(v, dtype)
  local name, kind = dtype_names[dtype], kinds[dtype]
  if dtype == BOOL then
    fail("an element of a bool array is true or false, got %s", kind_of(v))
  elseif istype(complex_t, v) and kind ~= "c" then
    fail("an element of a %s array is a real number, got %s; use a complex array, or the number's .re", name, kind_of(v))
  elseif istype(int64_t, v) or istype(uint64_t, v) then
    fail("%s is out of range for %s", tostring(v), name)
  elseif kind == "c" then
    fail("an element of a %s array is a number or array.complex(re, im), got %s", name, kind_of(v))
  elseif type(v) ~= "number" then
    fail("an element of a %s array is a number, got %s", name, kind_of(v))
  elseif v % 1 ~= 0 then
    fail("%s is not an integer, and this array has dtype %s; round it first or use a float64 array", tostring(v), name)
  end
  fail("%s is out of range for %s (%.0f to %s)", format("%.17g", v), name, lowest[dtype],
    dtype == INT64 and "2^63 - 1" or dtype == UINT64 and "2^64 - 1" or format("%.0f", highest[dtype]))
end

-- What is stored less often: wide integers (int64_t and uint64_t, exact beyond 2^53), complex numbers, narrow integers.
local function store_other(data, dtype, i, v)
  if type(v) == "cdata" and istype(complex_t, v) then
    if dtype == COMPLEX128 then
      cast(complex_p, data)[i] = v
    elseif dtype == COMPLEX64 then
      cast(float_p, data)[2 * i] = v.re
      cast(float_p, data)[2 * i + 1] = v.im
    else
      bad_value(v, dtype)
    end
    return
  elseif type(v) == "cdata" and (istype(int64_t, v) or istype(uint64_t, v)) then
    local signed = istype(int64_t, v)
    if dtype == INT64 and (signed or v < 0x8000000000000000ULL) then
      cast(int64_p, data)[i] = v
    elseif dtype == UINT64 and not (signed and v < 0) then
      cast(uint64_p, data)[i] = v
    elseif dtype == INT64 or dtype == UINT64 or dtype == BOOL then
      bad_value(v, dtype)
    else
      store_other(data, dtype, i, tonumber(v))
    end
    return
  elseif type(v) ~= "number" then
    bad_value(v, dtype)
  end
  if dtype == COMPLEX128 then
    cast(complex_p, data)[i] = v
  elseif dtype == COMPLEX64 then
    cast(float_p, data)[2 * i] = v
    cast(float_p, data)[2 * i + 1] = 0
  elseif dtype == FLOAT64 then
    cast(double_p, data)[i] = v
  elseif dtype == FLOAT32 then
    cast(float_p, data)[i] = v
  elseif v % 1 ~= 0 then
    bad_value(v, dtype)
  elseif dtype == INT8 and v >= -128 and v <= 127 then
    cast(int8_p, data)[i] = v
  elseif dtype == INT16 and v >= -32768 and v <= 32767 then
    cast(int16_p, data)[i] = v
  elseif dtype == INT32 and v >= -2147483648 and v <= 2147483647 then
    cast(int32_p, data)[i] = v
  elseif dtype == UINT8 and v >= 0 and v <= 255 then
    cast(uint8_p, data)[i] = v
  elseif dtype == UINT16 and v >= 0 and v <= 65535 then
    cast(uint16_p, data)[i] = v
  elseif dtype == UINT32 and v >= 0 and v <= 4294967295 then
    cast(uint32_p, data)[i] = v
  elseif dtype == UINT64 and v >= 0 and v < 2 ^ 64 then
    cast(uint64_p, data)[i] = v
  else
    bad_value(v, dtype)
  end
end

local function store(data, dtype, i, v)
  if dtype == FLOAT64 and type(v) == "number" then
    cast(double_p, data)[i] = v
  elseif dtype == FLOAT32 and type(v) == "number" then
    cast(float_p, data)[i] = v
  elseif dtype == INT32 and type(v) == "number" and v >= -2147483648 and v <= 2147483647 and v % 1 == 0 then
    cast(int32_p, data)[i] = v
  elseif dtype == INT64 and type(v) == "number" and v >= -2 ^ 63 and v < 2 ^ 63 and v % 1 == 0 then
    cast(int64_p, data)[i] = v
  elseif dtype == UINT8 and type(v) == "number" and v >= 0 and v <= 255 and v % 1 == 0 then
    cast(uint8_p, data)[i] = v
  elseif dtype == BOOL and type(v) == "boolean" then
    cast(uint8_p, data)[i] = v and 1 or 0
  elseif dtype == BOOL and type(v) == "number" and (v == 0 or v == 1) then
    cast(uint8_p, data)[i] = v
  else
    store_other(data, dtype, i, v)
  end
end

local function is_released(a)
  return istype(fresh, a) and a._block == nil and a._data == nil
end

local function check_alive(a)
  if is_released(a) then
    fail("this array was released and has no elements any more")
  end
end

local function read_only()
  fail("this array is read-only; write to a copy of it (a:copy())")
end

local function gone()
  fail("the array that this row was taken from is gone; keep the array in a variable while its rows are used")
end

-- The slow half of an index check: negative indices, and the errors. Returns the index counted from 1.
local function resolve(a, k, axis)
  if type(k) ~= "number" then
    fail("an index is an integer, got %s", kind_of(k))
  end
  check_alive(a)
  local n = tonumber(a._shape[axis])
  if k % 1 ~= 0 then
    fail("index %s is not an integer", tostring(k))
  elseif k < 0 and k >= -n then
    return k + n + 1
  elseif n == 0 then
    fail("index %.17g is out of range: axis %d of this array is empty, its shape is %s", k, axis + 1,
      shape_text(a._shape, a._ndim))
  end
  fail("index %.17g is out of range for axis %d of an array of shape %s; legal are 1 to %d, and -%d to -1 from the end",
    k, axis + 1, shape_text(a._shape, a._ndim), n, n)
end

local function advance(data, dtype, i)
  if dtype == FLOAT64 or dtype == INT64 or dtype == UINT64 or dtype == COMPLEX64 then
    return cast(double_p, data) + i
  elseif dtype == FLOAT32 or dtype == INT32 or dtype == UINT32 then
    return cast(float_p, data) + i
  elseif dtype == BOOL or dtype == UINT8 or dtype == INT8 then
    return cast(uint8_p, data) + i
  elseif dtype == COMPLEX128 then
    return cast(double_p, data) + 2 * i
  end
  return cast(int16_p, data) + i
end

-- Row i (from 0, checked) of an array, or of a row, of 2 to 7 dimensions.
local function make_row(a, i, ndim)
  local data = advance(a._data, a._dtype, i * a._strides[0])
  local block, dtype, flags = a._block, a._dtype, a._flags
  local generation = block.generation
  if ndim == 2 then
    return row_t(data, block, generation, dtype, 1, flags, a._shape[1], a._strides[1])
  elseif ndim == 3 then
    return row_t(data, block, generation, dtype, 2, flags, a._shape[1], a._strides[1], a._shape[2], a._strides[2])
  elseif ndim == 4 then
    return row_t(data, block, generation, dtype, 3, flags, a._shape[1], a._strides[1], a._shape[2], a._strides[2],
      a._shape[3], a._strides[3])
  end
  return row_t(data, block, generation, dtype, ndim - 1, flags, a._shape[1], a._strides[1], a._shape[2], a._strides[2],
    a._shape[3], a._strides[3], a._shape[4], a._strides[4], a._shape[5], a._strides[5], a._shape[6], a._strides[6])
end

local function make_row_of_row(a, i)
  local data, ndim = advance(a._data, a._dtype, i * a._strides0), a._ndim
  if ndim == 2 then
    return row_t(data, a._block, a._generation, a._dtype, 1, a._flags, a._shape1, a._strides1)
  elseif ndim == 3 then
    return row_t(data, a._block, a._generation, a._dtype, 2, a._flags, a._shape1, a._strides1, a._shape2, a._strides2)
  end
  return row_t(data, a._block, a._generation, a._dtype, ndim - 1, a._flags, a._shape1, a._strides1, a._shape2,
    a._strides2, a._shape3, a._strides3, a._shape4, a._strides4, a._shape5, a._strides5)
end

local select_axis, slice, assign_slice, assign_row -- below: views

-- Index checks below: the comparison is unsigned because one side is, so it finds 0 and negative indices too; converted
-- to int64 first, NaN and what is beyond 2^63 become -2^63, which it finds as well. `k % 1 == 0` costs nothing where
-- the compiler knows k for an integer. A stride of 1 is a case of its own: the machine's addressing then does it all.

-- a[k] for a number k.
local function array_element(a, k)
  local i = k - 1
  if not (cast(int64_t, i) < cast(uint64_t, a._shape[0]) and k % 1 == 0) then
    if a._ndim == 0 then
      check_alive(a)
      fail("an array of 0 dimensions has no index; read it with a:item()")
    end
    i = resolve(a, k, 0) - 1
  end
  local ndim = a._ndim
  if ndim == 1 then
    if a._strides[0] == 1 then
      return (load(a._data, a._dtype, i))
    end
    return (load(a._data, a._dtype, i * a._strides[0]))
  elseif ndim < 8 then
    return (make_row(a, i, ndim))
  end
  return (select_axis(a, i))
end

local function row_element(a, k)
  if a._block.generation ~= a._generation then
    gone()
  end
  local i = k - 1
  if not (cast(int64_t, i) < a._shape0 and k % 1 == 0) then
    i = resolve(as_array(a), k, 0) - 1
  end
  if a._ndim == 1 then
    if a._strides0 == 1 then
      return (load(a._data, a._dtype, i))
    end
    return (load(a._data, a._dtype, i * a._strides0))
  end
  return (make_row_of_row(a, i))
end

local function field(a, key)
  local get = getters[key]
  if get then
    return get(a)
  end
  local method = methods[key]
  if method then
    return method
  elseif type(key) == "string" then
    if key:find(":", 1, true) then
      fail("a slice is a table, an entry for each axis: a[{ {first, last} }], with {} for all of an axis; got '%s'", key)
    end
    fail("arrays have no field or method '%s'%s", key, array._missing(key, "method"))
  elseif is(key) then
    return (kit.index_get(a, key))
  end
  fail("an array is indexed by an integer, or by a table for a slice, got %s", kind_of(key))
end

local function array_index(a, key)
  if type(key) == "number" then
    return (array_element(a, key))
  elseif type(key) == "table" then
    return (slice(a, key))
  end
  return (field(a, key))
end

local function row_index(a, key)
  if type(key) == "number" then
    return (row_element(a, key))
  elseif type(key) == "table" then
    return (slice(a, key))
  end
  return (field(a, key))
end

local function assign_field(a, key, value)
  if type(key) == "table" then
    assign_slice(a, key, value)
  elseif is(key) then
    kit.index_set(a, key, value)
  elseif type(key) == "string" then
    fail("the field '%s' of an array cannot be assigned", key)
  else
    fail("an array is indexed by an integer, or by a table for a slice, got %s", kind_of(key))
  end
end

local function array_newindex(a, k, value)
  if type(k) ~= "number" then
    return assign_field(a, k, value)
  elseif a._ndim ~= 1 then
    return assign_row(a, k, value)
  end
  local i = k - 1
  if not (cast(int64_t, i) < cast(uint64_t, a._shape[0]) and k % 1 == 0) then
    i = resolve(a, k, 0) - 1
  end
  if band(a._flags, READONLY) ~= 0 then
    read_only()
  end
  if a._strides[0] == 1 then
    store(a._data, a._dtype, i, value)
  else
    store(a._data, a._dtype, i * a._strides[0], value)
  end
end

local function row_newindex(a, k, value)
  if type(k) ~= "number" then
    return assign_field(a, k, value)
  elseif a._ndim ~= 1 then
    return assign_row(a, k, value)
  elseif a._block.generation ~= a._generation then
    gone()
  end
  local i = k - 1
  if not (cast(int64_t, i) < a._shape0 and k % 1 == 0) then
    i = resolve(as_array(a), k, 0) - 1
  end
  if band(a._flags, READONLY) ~= 0 then
    read_only()
  end
  if a._strides0 == 1 then
    store(a._data, a._dtype, i, value)
  else
    store(a._data, a._dtype, i * a._strides0, value)
  end
end

-- The array behind the colon of a:at() and a:set(); a row becomes an owning view.
local function need_self(a)
  if istype(fresh, a) then
    return a
  end
  return as_array(a) or fail("an array is expected before the colon, got %s", kind_of(a))
end

local function wrong_count(a, count)
  check_alive(a)
  fail("an array of %d dimensions takes %d indices, got %d", a._ndim, a._ndim, count)
end

local function axis_offset(a, k, axis)
  if type(k) ~= "number" then
    resolve(a, k, axis)
  end
  local i = k - 1
  if not (cast(int64_t, i) < cast(uint64_t, a._shape[axis]) and k % 1 == 0) then
    i = resolve(a, k, axis) - 1
  end
  return i * a._strides[axis]
end

-- The element offset of (i, j, k, ...).
local function offset(a, i, j, k, ...)
  local ndim = a._ndim
  if ndim == 1 and j == nil then
    return (axis_offset(a, i, 0))
  elseif ndim == 2 and j ~= nil and k == nil then
    return axis_offset(a, i, 0) + axis_offset(a, j, 1)
  elseif ndim == 3 and k ~= nil and select("#", ...) == 0 then
    return axis_offset(a, i, 0) + axis_offset(a, j, 1) + axis_offset(a, k, 2)
  end
  local count = (i ~= nil and 1 or 0) + (j ~= nil and 1 or 0) + (k ~= nil and 1 or 0) + select("#", ...)
  if ndim < 4 or count ~= ndim then
    wrong_count(a, count)
  end
  local sum = axis_offset(a, i, 0) + axis_offset(a, j, 1) + axis_offset(a, k, 2)
  for axis = 3, ndim - 1 do
    sum = sum + axis_offset(a, (select(axis - 2, ...)), axis)
  end
  return sum
end

--- a:at(i, j, ...): the element at these indices, as a[i][j].
function methods.at(a, ...)
  a = need_self(a)
  return (load(a._data, a._dtype, offset(a, ...)))
end

--- a:set(i, j, ..., value): writes one element.
function methods.set(a, i, j, k, l, ...)
  a = need_self(a)
  if band(a._flags, READONLY) ~= 0 then
    read_only()
  end
  local ndim = a._ndim
  if ndim == 2 and k ~= nil and l == nil then
    store(a._data, a._dtype, offset(a, i, j), k)
  elseif ndim == 1 and k == nil then
    store(a._data, a._dtype, offset(a, i), j)
  elseif ndim == 3 and l ~= nil and select("#", ...) == 0 then
    store(a._data, a._dtype, offset(a, i, j, k), l)
  else
    local indices = { i, j, k, l, ... }
    local value = remove(indices)
    store(a._data, a._dtype, offset(a, unpack(indices)), value)
  end
end

--- a:item(): the only element of an array of one element.
function methods.item(a)
  a = need_array("item", a)
  check_alive(a)
  if a._size ~= 1 then
    fail("item: the array must have exactly 1 element, not %d", tonumber(a._size))
  end
  return (load(a._data, a._dtype, 0))
end

--- a:int64(i, ...), a:uint64(i, ...): the element of an integer array as an int64_t or uint64_t, exact beyond 2^53.
function methods.int64(a, ...)
  a = need_self(a)
  local i = offset(a, ...)
  if a._dtype ~= INT64 then
    fail("int64: this array has dtype %s, not int64", dtype_names[a._dtype])
  end
  return cast(int64_p, a._data)[i]
end
function methods.uint64(a, ...)
  a = need_self(a)
  local i = offset(a, ...)
  if a._dtype ~= UINT64 then
    fail("uint64: this array has dtype %s, not uint64", dtype_names[a._dtype])
  end
  return cast(uint64_p, a._data)[i]
end

-- --------------------------------------------------------------------------------------------------------- fields ----
-- Shapes and strides: plain lists but that they print, join with strings, and are equal if they hold the same.
local list_meta = { __plain = true } -- (for wire.cpp)
function list_meta.__tostring(t)
  return "(" .. concat(t, ", ") .. ")"
end
function list_meta.__concat(a, b)
  return tostring(a) .. tostring(b)
end
function list_meta.__eq(a, b)
  for i = 1, max(#a, #b) do
    if a[i] ~= b[i] then
      return false
    end
  end
  return true
end

local function vector(values, n)
  local t = {}
  for i = 1, n do
    t[i] = tonumber(values[i - 1])
  end
  return setmetatable(t, list_meta)
end

function getters.shape(a)
  a = as_array(a)
  return vector(a._shape, a._ndim)
end
function getters.strides(a) -- in elements
  a = as_array(a)
  return vector(a._strides, a._ndim)
end
function getters.ndim(a) return tonumber(a._ndim) end
function getters.dtype(a) return dtype_names[a._dtype] end
function getters.T(a) return methods.transpose(a) end
function getters.readonly(a) return band(a._flags, READONLY) ~= 0 end
function getters.size(a)
  return tonumber(as_array(a)._size)
end

-- ---------------------------------------------------------------------------------------------------------- views ----
local function share(a)
  return call(C.pg_array_share, nil, a)
end

local function set_size(v)
  local n = 1
  for i = 0, v._ndim - 1 do
    n = n * v._shape[i]
  end
  v._size = n
end

-- Drops the first axis at index i (from 0).
function select_axis(a, i)
  local v = share(a)
  v._data = advance(a._data, a._dtype, i * a._strides[0])
  v._ndim = a._ndim - 1
  for axis = 1, a._ndim - 1 do
    v._shape[axis - 1] = a._shape[axis]
    v._strides[axis - 1] = a._strides[axis]
  end
  set_size(v)
  return v
end

-- One end of a range: -1 is the last element. `low` and `high` are legal.
local function range_end(a, x, axis, low, high, spec)
  local n = tonumber(a._shape[axis])
  if not is_integer(x) then
    fail("slice: axis %d: a range is {first, last} or {first, last, step} of integers, got %s", axis + 1, spec)
  end
  local k = x < 0 and x + n + 1 or x
  if k < low or k > high then
    fail("slice: %.17g is out of range for axis %d of an array of shape %s; legal are 1 to %d, and -%d to -1 from " ..
      "the end", x, axis + 1, shape_text(a._shape, a._ndim), n, n)
  end
  return k
end

local function range_text(entry)
  local parts = {}
  for i = 1, max(#entry, 1) do
    parts[i] = tostring(entry[i])
  end
  return "{" .. concat(parts, ", ") .. "}"
end

-- Too many entries: what may have been meant.
local function too_many(a, spec)
  local kind, hint = type(spec[1]), ""
  for i = 2, #spec do
    kind = type(spec[i]) == kind and kind or "mixed"
  end
  if kind == "number" and #spec <= 3 then
    hint = format("; a range of one axis is a table in it: a[{ %s }]", range_text(spec))
  elseif kind == "number" then
    hint = '; to choose elements, use an index array: a[array.from({1, 3}, "int64")]'
  elseif kind == "boolean" then
    hint = "; a mask is a bool array: a[array.from{true, false}]"
  end
  fail("slice: %d entries for an array of %d dimension%s%s", #spec, a._ndim, a._ndim == 1 and "" or "s", hint)
end

-- The view that a[spec] stands for.
local function view(a, spec)
  a = need_array("slice", a)
  check_alive(a)
  if #spec > a._ndim then
    too_many(a, spec)
  end
  local v = share(a)
  local start, ndim = 0, 0
  for axis = 0, a._ndim - 1 do
    local entry = spec[axis + 1]
    local n, stride = tonumber(a._shape[axis]), tonumber(a._strides[axis])
    if entry == nil or type(entry) == "table" then
      local first, last, step = 1, n, 1
      if entry ~= nil and next(entry) ~= nil then
        local length = #entry
        if length < 2 or length > 3 then
          fail("slice: axis %d: a range is {} for all, {first, last} or {first, last, step}, got %s", axis + 1,
            range_text(entry))
        end
        local stray = next(entry, length)
        if stray ~= nil then
          fail("slice: axis %d: a range is {first, last} or {first, last, step}, without names; got the key %s", axis + 1,
            tostring(stray))
        end
        step = entry[3] == nil and 1 or entry[3]
        if not is_integer(step) or step == 0 then
          fail("slice: axis %d: the step must be an integer other than 0, got %s", axis + 1, kind_of(entry[3]))
        end
        -- {2, 1} and {n + 1, n} are empty, as a loop from the one to the other would be.
        first = range_end(a, entry[1], axis, step > 0 and 1 or 0, step > 0 and n + 1 or n, range_text(entry))
        last = range_end(a, entry[2], axis, step > 0 and 0 or 1, step > 0 and n or n + 1, range_text(entry))
      end
      local count = max(floor((last - first) / step) + 1, 0)
      if count > 0 then
        start = start + (first - 1) * stride
      end
      v._shape[ndim] = count
      v._strides[ndim] = stride * step
      ndim = ndim + 1
    elseif type(entry) == "number" then
      if not (entry >= 1 and entry <= n and entry % 1 == 0) then
        entry = resolve(a, entry, axis)
      end
      start = start + (entry - 1) * stride
    else
      fail("slice: axis %d: an entry is an integer or a range {first, last}, got %s", axis + 1, kind_of(entry))
    end
  end
  v._ndim = ndim
  v._data = advance(a._data, a._dtype, start)
  set_size(v)
  return v
end

-- Finds stray keys: a[{ {1, 2}, x = 3 }] and a[{nil, {1, 2}}] are mistakes.
local function check_spec(spec)
  local n = #spec
  if n > 0 and next(spec) == 1 and next(spec, n) == nil then
    return -- entries are in the table's array, and nothing follows
  end
  for key in pairs(spec) do
    if not is_integer(key) or key < 1 or key > n then
      fail("slice: entries are given in order, one an axis, {} for all of an axis; got the key %s", tostring(key))
    end
  end
end

-- a[{ {first, last} }] of a vector, the commonest slice, as a view; nil for any other and for mistakes.
local function stretch(a, spec)
  local range = spec[1]
  if type(range) ~= "table" or not istype(fresh, a) or a._ndim ~= 1 then
    return nil
  end
  local first, last = range[1], range[2]
  if type(first) ~= "number" or type(last) ~= "number" or next(spec, 1) ~= nil or next(range, 2) ~= nil then
    return nil
  end
  local n = tonumber(a._shape[0])
  first, last = first < 0 and first + n + 1 or first, last < 0 and last + n + 1 or last
  if not (first >= 1 and first <= last and last <= n and first % 1 == 0 and last % 1 == 0) then
    return nil
  end
  local v = fresh()
  if not owners or C.pg_owners_stretch(owners, v, a, first - 1, last - first + 1) == 0 then
    v = share(a)
    v._data = advance(a._data, a._dtype, (first - 1) * a._strides[0])
    v._shape[0] = last - first + 1
    v._size = last - first + 1
  end
  return v
end

-- Whether a slice has arrays among its entries.
local function has_array(spec)
  for i = 1, #spec do
    if is(spec[i]) then
      return true
    end
  end
  return false
end

function slice(a, spec)
  local quick = stretch(a, spec)
  if quick then
    return quick
  end
  check_spec(spec)
  if has_array(spec) then
    return (kit.index_get(a, spec))
  end
  local v = view(a, spec)
  if v._ndim == 0 then
    return (load(v._data, v._dtype, 0))
  end
  return v
end

-- Two scratch arrays of 0 dimensions, for numbers as operands. A cell each: with one double[2], compiled code stored to
-- `cells + (slot - 1)` at address (slot - 1) * 8. This LuaJIT drops a constant base when a pointer that is the sum of
-- such a base and a variable is cast and indexed.
local cells = { ffi.new("double[2]"), ffi.new("double[2]") }
local scalars = { fresh(), fresh() }
for i = 1, 2 do
  scalars[i]._data = cells[i]
  scalars[i]._size = 1
end

-- A number or boolean as an operand of this dtype.
local function scalar(slot, value, dtype)
  local s = scalars[slot]
  s._dtype = dtype
  store(cells[slot], dtype, 0, value)
  return s
end

-- Writes a number, boolean or array into all of v.
local function write(v, value)
  local source = as_array(value)
  if not source then
    if type(value) == "table" then
      fail("a table cannot be assigned to a part of an array; make it an array with array.from first")
    end
    if band(v._flags, READONLY) ~= 0 then
      read_only()
    end
    source = scalar(1, value, v._dtype)
  end
  local status = C.pg_array_assign(v, source)
  if status == ERROR_MEMORY then
    core.collect()
    status = C.pg_array_assign(v, source)
  end
  check(status)
end

function assign_slice(a, spec, value)
  check_spec(spec)
  if has_array(spec) then
    kit.index_set(a, spec, value)
    return
  end
  write(view(a, spec), value)
end

function assign_row(a, k, value)
  local part = a[k] -- which is an element only for an array of 0 dimensions, where a[k] fails
  write(as_array(part), value)
end

local only_axis = { axis = true }

-- An axis, or what {axis = ...} says in its place.
local function axis_option(name, axis)
  if type(axis) == "table" and next(axis) ~= nil and axis[1] == nil then
    check_options(name, axis, only_axis)
    return axis.axis
  end
  return axis
end

local function parse_axis(name, a, axis)
  axis = axis_option(name, axis)
  if not is_integer(axis) then
    fail("%s: an axis is an integer, got %s", name, kind_of(axis))
  elseif axis == 0 or axis > a._ndim or axis < -a._ndim then
    fail("%s: axis %d is out of range for an array of %d dimensions%s", name, axis, a._ndim,
      axis == 0 and " (axes count from 1)" or "")
  end
  return axis < 0 and axis + a._ndim + 1 or axis
end

--- a:dim(axis): the length along an axis, as a.shape[axis].
function methods.dim(a, axis)
  a = need_array("dim", a)
  return (tonumber(a._shape[parse_axis("dim", a, axis) - 1]))
end

--- a:as_readonly(): a view through which nothing can be written.
function methods.as_readonly(a)
  local v = share(need_array("as_readonly", a))
  v._flags = bit.bor(v._flags, READONLY)
  return v
end

local astype_options = { overflow = true }

--- a:astype(dtype [, {overflow = "wrap"}]): a copy with another dtype; fractions are cut. A value that it cannot hold is
--- an error, or with "wrap" cut to the bits that fit, as NumPy's astype does; NaN and what is beyond int64 become 0.
function methods.astype(a, dtype, options)
  a = need_array("astype", a)
  local to, convert = parse_dtype("astype", dtype), C.pg_array_astype
  if options ~= nil then
    if type(options) ~= "table" then
      fail('astype: options are a table such as {overflow = "wrap"}, got %s', kind_of(options))
    end
    check_options("astype", options, astype_options)
    if options.overflow == "wrap" then
      convert = C.pg_array_astype_wrap
    elseif options.overflow ~= nil and options.overflow ~= "error" then
      fail('astype: overflow is "error" or "wrap", got %s', kind_of(options.overflow))
    end
  end
  return call(convert, nil, a, to)
end

--- a:fill(value): writes value into every element; returns a.
function methods.fill(a, value)
  write(need_array("fill", a), value)
  return a
end

--- a:release(): gives the memory back now instead of when the garbage collector finds it; a is empty afterwards. Views
--- of the same memory keep it.
function methods.release(a)
  if not istype(fresh, a) then
    fail("release: an array is expected, got %s",
      istype(row_t, a) and "a row (release the array it is from)" or kind_of(a))
  end
  if owners then
    C.pg_owners_forget(owners, a)
  end
  C.pg_array_release(a)
end

-- The dtype for a value of Lua that nothing else gives one.
local function value_dtype(value)
  if type(value) == "boolean" then
    return BOOL
  elseif type(value) == "cdata" then
    return istype(complex_t, value) and COMPLEX128 or istype(int64_t, value) and INT64 or
      istype(uint64_t, value) and UINT64 or FLOAT64
  end
  return FLOAT64
end

-- ----------------------------------------------------------------------------------------------------------- parts ----
-- The other files of this module. Each is a chunk that gets the core and `kit`: what is local here and used there. Parts
-- add to `array`, `methods` and, for one another and for other modules (array._kit), to `kit`. A part is loaded when one
-- of its names is first used: a collection goes through everything that is loaded, and takes place each few results.
local parts = {
  array_create = "zeros ones empty full zeros_like ones_like empty_like full_like parse_constructor",
  array_space = "range linspace logspace geomspace",
  array_from = "from totable",
  array_compose = "where clip clip_ fma fma_ isclose round round_ modf frexp divmod nan_to_num nan_to_num_",
  array_complex = "real imag complex is_complex",
  array_index = "index_get index_set take take_along_axis put_along_axis unravel_index put compress nonzero argwhere " ..
    "flatnonzero choose base shares_memory may_share_memory count_allocations",
  array_shape = "need_order reshape transpose copy ascontiguousarray asfortranarray is_contiguous shape_of swapaxes " ..
    "moveaxis squeeze expand_dims broadcast_to broadcast_arrays flip flipud fliplr rot90 diagonal ravel " ..
    "flatten atleast_1d atleast_2d atleast_3d concatenate stack hstack vstack dstack column_stack split " ..
    "array_split hsplit vsplit dsplit tile repeats repeat roll eye identity diag tri tril triu meshgrid " ..
    "pad append insert delete resize from_arrays",
  array_reduce = "axis_bits deliver ptp reduce_all split_options finish allclose equal sum mean min max prod var std " ..
    "any all count_nonzero nansum nanmean nanmin nanmax nanvar nanstd argmin argmax cumsum cumprod cummin " ..
    "cummax nanprod nancumsum nancumprod nanargmin nanargmax",
  array_sort = "sort sort_ argsort partition partition_ argpartition topk lexsort",
  array_quantile = "median quantile percentile nanmedian nanquantile nanpercentile",
  array_matmul = "matmul dot trace vdot inner outer kron tensordot einsum",
  array_statistics = "diff gradient trapz convolve correlate histogram bincount unique searchsorted digitize isin union1d " ..
    "intersect1d setdiff1d setxor1d interp average cov corrcoef",
}
local loaded = {}
-- In the order of enum pg_binary_op and enum pg_unary_op. Each has a function, a method and, with "_", one in place.
local binary_names = "add subtract multiply divide power remainder minimum maximum eq ne lt le gt ge floor_divide fmod " ..
  "fmin fmax atan2 hypot copysign nextafter logaddexp ldexp logical_and logical_or logical_xor bitwise_and bitwise_or " ..
  "bitwise_xor left_shift right_shift gcd lcm heaviside logaddexp2 fdim ieee_remainder"
local unary_names = "negative abs square floor ceil sqrt cbrt exp log sin cos tan tanh exp2 expm1 log2 log10 log1p asin " ..
  "acos atan sinh cosh asinh acosh atanh erf erfc gamma lgamma reciprocal degrees radians positive sign trunc round conj " ..
  "bitwise_not logical_not isnan isinf isfinite signbit angle logb"

-- The position of a word in a list, from 0; nil if it is not there.
local function word_in(list, word)
  local at = find(" " .. list .. " ", " " .. word .. " ", 1, true)
  if at then
    local _, before = gsub(sub(list, 1, at - 1), " ", "")
    return before
  end
end

-- Sees to it that what is called `name` is in `array`, `methods` or `kit`, if there is such a thing.
local function provide(name)
  for part, names in pairs(parts) do
    if not loaded[part] and word_in(names, name) then
      loaded[part] = true
      core.part(part, kit)
      return
    end
  end
  local plain = sub(name, -1) == "_" and sub(name, 1, -2) or name
  if rawget(methods, plain) then
    return
  end
  local binary_op, unary_op = word_in(binary_names, plain), word_in(unary_names, plain)
  if binary_op then
    kit.define_binary(plain, binary_op)
  elseif unary_op then
    kit.define_unary(plain, unary_op)
  end
end

-- A table's __index that provides what is missing in it.
local function provided(t, name)
  if type(name) == "string" and sub(name, 1, 1) ~= "_" then
    provide(name)
  end
  return (rawget(t, name))
end

kit = setmetatable({
  array = array, methods = methods, getters = getters, array_t = array_t, own = own, row_t = row_t, call = call, is = is,
  as_array = as_array, need_array = need_array, kind_of = kind_of, is_integer = is_integer, shape_text = shape_text,
  parse_dtype = parse_dtype, check_options = check_options, dtype_option = dtype_option, lengths = lengths,
  set_length = set_length, parse_shape = parse_shape, create = create,
  load = load, store = store, advance = advance, check_alive = check_alive, is_released = is_released,
  read_only = read_only, resolve = resolve, offset = offset,
  share = share, set_size = set_size, view = view, check_spec = check_spec, scalar = scalar, write = write,
  parse_axis = parse_axis, axis_option = axis_option, dtypes = dtypes,
  dtype_names = dtype_names, lowest = lowest, has_array = has_array,
  highest = highest, exact = exact, kinds = kinds, complex_t = complex_t, value_dtype = value_dtype,
}, { __index = provided })
setmetatable(methods, getmetatable(kit))
array._kit, array._find = kit, provided

core.part("array_elementwise", kit)

-- ---------------------------------------------------------------------------------------------------------- text ----
local text, text_length = ffi.new("const char *[1]"), ffi.new("int64_t[1]")

local function array_tostring(a)
  local x = as_array(a)
  if is_released(x) then
    return "released array"
  end
  check(C.pg_array_format(x, text, text_length))
  return ffi.string(text[0], text_length[0])
end

-- ------------------------------------------------------------------------------------------------------ metatypes ----
local function length(a)
  if istype(row_t, a) then
    return tonumber(a._shape0)
  elseif a._ndim == 0 then
    fail("an array of 0 dimensions has no length")
  end
  return tonumber(a._shape[0])
end

local binary = kit.binary
local function add(a, b) return binary("add", 0, nil, a, b) end
local function subtract(a, b) return binary("subtract", 1, nil, a, b) end
local function multiply(a, b) return binary("multiply", 2, nil, a, b) end
local function divide(a, b) return binary("divide", 3, nil, a, b) end
local function power(a, b) return binary("power", 4, nil, a, b) end
local function remainder(a, b) return binary("remainder", 5, nil, a, b) end
local function negative(a) return call(C.pg_array_unary, nil, 0, as_array(a)) end

-- a == b asks whether they are equal as a whole; a:eq(b) compares elements. With a number it is false, as between any two
-- kinds in Lua: as an error it broke code that asks x == 0 of what may be a number or an array, ours included.
local function equals(a, b)
  return is(a) and is(b) and array.equal(a, b)
end
local function no_order()
  fail("arrays have no order as a whole; compare their elements with a:lt(b), a:le(b), a:gt(b) or a:ge(b)")
end

-- for i, x in ipairs(a): elements, or rows
local function next_element(a, i)
  if i < #a then
    return i + 1, a[i + 1]
  end
end
local function iterate(a)
  return next_element, a, 0
end
local function no_pairs()
  fail("pairs does not go through arrays; write for i, x in ipairs(a), or for i = 1, #a")
end
-- "a is " .. a
local function concatenate(a, b)
  for _, x in ipairs { a, b } do
    if type(x) ~= "string" and type(x) ~= "number" and not is(x) then
      fail("an array cannot be concatenated with %s", kind_of(x))
    end
  end
  return tostring(a) .. tostring(b)
end

local function metatable(index, newindex)
  return {
    __ipairs = iterate, __pairs = no_pairs, __concat = concatenate,
    __index = index, __newindex = newindex, __len = length, __tostring = array_tostring, __eq = equals,
    __lt = no_order, __le = no_order, __add = add, __sub = subtract, __mul = multiply, __div = divide, __pow = power,
    __mod = remainder, __unm = negative,
  }
end

if core.checked then
  array_index, array_newindex, row_index, row_newindex = core.checked.instrument(kit, array_index, array_newindex, row_index,
    row_newindex)
end
local array_meta = metatable(array_index, array_newindex)
ffi.metatype(fresh, array_meta)
ffi.metatype(row_t, metatable(row_index, row_newindex))

-- ---------------------------------------------------------------------------------------------------- for C++ --------
--- array.is(x): whether x is an array or a row of one.
array.is = is

--- array.fused(fn, ...): fn of numbers applied to every element of arrays that are broadcast together, in one pass.
function array.fused(fn, ...)
  return core.require("kernel")._fused(fn, ...)
end

--- For the engine: the address of the pg_array behind an array (of a row: of an owning view), and the object that must
--- be kept while the address is used. nil if x is neither.
function array._address(x)
  local a = as_array(x)
  if a then
    return tonumber(cast("uintptr_t", cast(array_p, a))), a
  end
end

-- Bytes of arrays that came from other states since the last collection that they led to. Their memory is accounted to who
-- made it, so nothing else would tell this state to collect: 300 intermediate arrays of 8 MB held 2.3 GB once.
local adopted, most_adopted = 0, 64 * 2 ^ 20

--- For the engine: an array made from the pg_array at an address, whose block reference it takes over.
function array._adopt(address)
  local a = fresh()
  ffi.copy(a, cast(array_p, address), ffi.sizeof(fresh))
  own(a)
  adopted = adopted + tonumber(a._size) * 8
  if adopted > most_adopted then
    adopted = 0
    core.collect_cycle()
  end
  return a
end

array.astype = methods.astype

-- For the prompt's completion and tests: what `a.` and `a:` may be followed by, and what loads all parts.
array._getters, array._methods, array._parts = getters, methods, parts
function array._everything()
  for part in pairs(parts) do
    if not loaded[part] then
      loaded[part] = true
      core.part(part, kit)
    end
  end
  for name in gmatch(binary_names .. " " .. unary_names, "%S+") do
    provided(methods, name)
  end
end

--- What to say after "there is no function 'key'", or after "no method 'key'" if `how` is "method".
function array._missing(key, how)
  array._everything()
  return (core.part("array_names", kit)(key, how))
end

return array
