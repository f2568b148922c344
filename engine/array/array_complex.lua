-- Complex numbers: the elements of complex arrays, as LuaJIT's own `complex` values with arithmetic, and the parts of
-- complex arrays.
local core, kit = ...
local ffi, fail = core.ffi, core.fail
local array, methods, is, as_array = kit.array, kit.methods, kit.is, kit.as_array
local need_array, share, kind_of, check_alive, create = kit.need_array, kit.share, kit.kind_of, kit.check_alive,
  kit.create
local binary, dtypes, lengths, complex_t = kit.binary, kit.dtypes, kit.lengths, kit.complex_t
local write = kit.write
local istype, type, floor, abs, ipairs, tostring = ffi.istype, type, math.floor, math.abs, ipairs, tostring
local FLOAT32, FLOAT64, COMPLEX64 = dtypes.float32, dtypes.float64, dtypes.complex64
local double_p, float_p = ffi.typeof("double *"), ffi.typeof("float *")

-- ------------------------------------------------------------------------------------------------------- numbers ----
local function is_complex(x)
  return type(x) == "cdata" and istype(complex_t, x)
end

local function need_complex(x)
  if is_complex(x) then
    return x
  elseif type(x) == "number" then
    return complex_t(x, 0)
  end
  fail("a complex number meets numbers, complex numbers and arrays, got %s", kind_of(x))
end

local function multiply(x, y)
  return complex_t(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re)
end

local function modulus(z)
  local x, y = abs(z.re), abs(z.im)
  if x < y then
    x, y = y, x
  end
  if x == 0 or x == math.huge then
    return x
  end
  local ratio = y / x
  return x * math.sqrt(1 + ratio * ratio)
end

-- As the engine's own (kernels_arithmetic.inc): Smith's algorithm.
local function divide(x, y)
  if abs(y.re) >= abs(y.im) then
    if y.re == 0 and y.im == 0 then
      return complex_t(x.re / abs(y.re), x.im / abs(y.re))
    end
    local ratio = y.im / y.re
    local scale = 1 / (y.re + y.im * ratio)
    return complex_t((x.re + x.im * ratio) * scale, (x.im - x.re * ratio) * scale)
  end
  local ratio = y.re / y.im
  local scale = 1 / (y.re * ratio + y.im)
  return complex_t((x.re * ratio + x.im) * scale, (x.im * ratio - x.re) * scale)
end

local function power(x, y)
  local n = y.re
  if y.im == 0 and n == floor(n) and abs(n) <= 100 then
    local base, result, k = x, complex_t(1, 0), abs(n)
    while k > 0 do
      if k % 2 == 1 then
        result = multiply(result, base)
      end
      base, k = multiply(base, base), floor(k / 2)
    end
    return n < 0 and divide(complex_t(1, 0), result) or result
  elseif x.re == 0 and x.im == 0 then
    return n > 0 and complex_t(0, 0) or complex_t(0 / 0, 0 / 0)
  end
  local log_r, angle = math.log(modulus(x)), math.atan2(x.im, x.re)
  local size, turn = math.exp(y.re * log_r - y.im * angle), y.re * angle + y.im * log_r
  return complex_t(size * math.cos(turn), size * math.sin(turn))
end

local function either(name, op, combine)
  return function(x, y)
    if is(x) or is(y) then
      return binary(name, op, nil, x, y)
    end
    return combine(need_complex(x), need_complex(y))
  end
end

local members = {
  --- z:abs(), z:angle() in radians, z:conj()
  abs = modulus,
  angle = function(z) return math.atan2(z.im, z.re) end,
  conj = function(z) return complex_t(z.re, -z.im) end,
}

ffi.metatype(complex_t, {
  __index = function(_, key)
    return members[key] or fail("a complex number has re, im, abs(), angle() and conj(), but no '%s'", tostring(key))
  end,
  __add = either("add", 0, function(x, y) return complex_t(x.re + y.re, x.im + y.im) end),
  __sub = either("subtract", 1, function(x, y) return complex_t(x.re - y.re, x.im - y.im) end),
  __mul = either("multiply", 2, multiply),
  __div = either("divide", 3, divide),
  __pow = either("power", 4, power),
  __unm = function(x) return complex_t(-x.re, -x.im) end,
  __eq = function(x, y)
    if is_complex(x) and type(y) == "number" then
      return x.re == y and x.im == 0
    elseif is_complex(y) and type(x) == "number" then
      return y.re == x and y.im == 0
    end
    return is_complex(x) and is_complex(y) and x.re == y.re and x.im == y.im
  end,
})

-- -------------------------------------------------------------------------------------------------------- arrays ----
-- A view of every other number in a complex array's memory.
local function part(a, offset)
  local v = share(a)
  local narrow = a._dtype == COMPLEX64
  v._dtype = narrow and FLOAT32 or FLOAT64
  v._data = narrow and ffi.cast(float_p, a._data) + offset or ffi.cast(double_p, a._data) + offset
  for i = 0, a._ndim - 1 do
    v._strides[i] = a._strides[i] * 2
  end
  return v
end

--- a:real(), a:imag(): the parts of a complex array, as views: writing to them changes it. Of a real array, a:real() is
--- a view of all of it and a:imag() zeros.
function methods.real(a)
  a = need_array("real", a)
  check_alive(a)
  return a._dtype >= COMPLEX64 and part(a, 0) or share(a)
end
function methods.imag(a)
  a = need_array("imag", a)
  check_alive(a)
  if a._dtype >= COMPLEX64 then
    return part(a, 1)
  end
  for i = 0, a._ndim - 1 do
    lengths[i] = a._shape[i]
  end
  return create(a._ndim, a._dtype, 1)
end
array.real, array.imag = methods.real, methods.imag

--- array.complex(re [, im]): a complex number, with fields re and im; of arrays, a complex array (complex64 if both are
--- float32, else complex128).
function array.complex(re, im)
  if not is(re) and not is(im) then
    im = im == nil and 0 or im
    if type(re) ~= "number" or type(im) ~= "number" then
      fail("complex: the parts are numbers or arrays, got %s", type(re) ~= "number" and kind_of(re) or kind_of(im))
    end
    return complex_t(re, im)
  end
  im = im == nil and 0 or im
  for _, x in ipairs { re, im } do
    if is_complex(x) or (is(x) and x._dtype >= COMPLEX64) then
      fail("complex: the parts must be real, got %s", is(x) and "an array of dtype " .. x.dtype or kind_of(x))
    end
  end
  local sum = binary("complex", 0, nil, re, im) -- for its shape and dtype
  local z = methods.astype(sum, sum._dtype == FLOAT32 and "complex64" or "complex128")
  write(part(z, 0), re)
  write(part(z, 1), im)
  return z
end

--- array.is_complex(x): whether x is a complex number.
array.is_complex, kit.is_complex = is_complex, is_complex
