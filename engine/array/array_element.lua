-- Single elements in memory: what is read becomes a Lua value, and what is written is checked against the dtype.
local core, kit = ...
local ffi, fail = core.ffi, core.fail
local cast, istype, tonumber, type, tostring = ffi.cast, ffi.istype, tonumber, type, tostring
local format = string.format
local kind_of, dtype_names, kinds, lowest, highest = kit.kind_of, kit.dtype_names, kit.kinds, kit.lowest, kit.highest
local exact, complex_t = kit.exact, kit.complex_t

local int64_t, uint64_t = ffi.typeof("int64_t"), ffi.typeof("uint64_t")
local double_p, float_p = ffi.typeof("double *"), ffi.typeof("float *")
local int64_p, int32_p, uint8_p = ffi.typeof("int64_t *"), ffi.typeof("int32_t *"), ffi.typeof("uint8_t *")
local int8_p, int16_p, uint16_p = ffi.typeof("int8_t *"), ffi.typeof("int16_t *"), ffi.typeof("uint16_t *")
local uint32_p, uint64_p = ffi.typeof("uint32_t *"), ffi.typeof("uint64_t *")
local complex_p, complex64_p = ffi.typeof("double _Complex *"), ffi.typeof("float _Complex *")

-- enum pg_dtype, as local numbers: the compiler takes them for constants.
local BOOL, UINT8, INT32, INT64, FLOAT32, FLOAT64 = 0, 1, 2, 3, 4, 5
local INT8, INT16, UINT16, UINT32, UINT64, COMPLEX64, COMPLEX128 = 6, 7, 8, 9, 10, 11, 12

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

-- The address of element i of memory of this dtype.
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

kit.load, kit.store, kit.advance = load, store, advance
