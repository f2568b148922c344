-- Elementwise operations of three operands, and those made of others.
local core, kit = ...
local C, fail = core.C, core.fail
local array, methods, call, as_array = kit.array, kit.methods, kit.call, kit.as_array
local need_array, kind_of, check_options, scalar = kit.need_array, kit.kind_of, kit.check_options, kit.scalar
local output, binary, ternary, weak_dtype = kit.output, kit.binary, kit.ternary, kit.weak_dtype
local kinds, value_dtype, is_integer, check_alive = kit.kinds, kit.value_dtype, kit.is_integer, kit.check_alive
local type, abs, huge = type, math.abs, math.huge
-- enum pg_binary_op, enum pg_ternary_op
local ADD, SUBTRACT, MULTIPLY, DIVIDE, MINIMUM, MAXIMUM, EQ = 0, 1, 2, 3, 6, 7, 8
local WHERE, CLIP, FMA = 0, 1, 2

-- a as the array that an in place operation writes to.
local function in_place(name, a)
  local out = need_array(name, a)
  check_alive(out)
  return { out = out }
end

--- array.where(condition, x, y [, {out = c}]): x where the condition is true (or not 0), else y; all broadcast. x and y
--- are arrays or numbers, and meet in the dtype that x + y would have.
function array.where(condition, x, y, options)
  local mask = need_array("where", condition)
  if x == nil or y == nil then
    fail("where: the values for true and for false are expected: where(condition, x, y); array.nonzero(condition) gives " ..
      "the positions where it is true")
  end
  local out, a, b = output("where", options), as_array(x), as_array(y)
  if not a then
    a = scalar(1, x, b and weak_dtype("where", ADD, x, b._dtype) or value_dtype(x))
  end
  if not b then
    b = scalar(2, y, as_array(x) and weak_dtype("where", ADD, y, a._dtype) or value_dtype(y))
  end
  return call(C.pg_array_ternary, out, WHERE, mask, a, b)
end

--- array.clip(a, low, high [, {out = c}]), a:clip(low, high): a with what is less than low set to low, and what is more
--- than high to high. Either may be nil, a number or an array.
function array.clip(a, low, high, options)
  a = need_array("clip", a)
  local out = output("clip", options)
  if low == nil and high == nil then
    fail("clip: at least one limit is expected: clip(a, low, high)")
  elseif high == nil then
    return binary("clip", MAXIMUM, out, a, low)
  elseif low == nil then
    return binary("clip", MINIMUM, out, a, high)
  end
  return ternary("clip", CLIP, out, a, low, high)
end
methods.clip = array.clip

--- a:clip_(low, high): the same, in place.
function methods.clip_(a, low, high)
  array.clip(a, low, high, in_place("clip_", a))
  return a
end

--- array.fma(a, b, c [, {out = d}]): a * b + c, rounded only once.
function array.fma(a, b, c, options)
  return ternary("fma", FMA, output("fma", options), a, b, c)
end
methods.fma = array.fma

function methods.fma_(a, b, c)
  array.fma(a, b, c, in_place("fma_", a))
  return a
end

local close_options = { rtol = true, atol = true, equal_nan = true }

--- array.isclose(a, b [, {rtol = 1e-5, atol = 1e-8, equal_nan = false}]): where |a - b| <= atol + rtol |b|, as a bool
--- array.
function array.isclose(a, b, options)
  options = options or {}
  if type(options) ~= "table" then
    fail("isclose: options are a table such as {rtol = 1e-9}, got %s", kind_of(options))
  end
  check_options("isclose", options, close_options)
  local rtol, atol = options.rtol or 1e-5, options.atol or 1e-8
  if type(rtol) ~= "number" or type(atol) ~= "number" then
    fail("isclose: rtol and atol are numbers, got %s and %s", kind_of(rtol), kind_of(atol))
  end
  local x, y = as_array(a), as_array(b)
  if not x and not y then
    fail("isclose: an array is expected, got %s", kind_of(a))
  end
  x = x or scalar(1, a, weak_dtype("isclose", EQ, a, y._dtype))
  y = y or scalar(2, b, weak_dtype("isclose", EQ, b, x._dtype))
  return call(C.pg_array_isclose, nil, x, y, rtol, atol, options.equal_nan and 1 or 0)
end
methods.isclose = array.isclose

local whole, whole_in_place = array.round, methods.round_

--- array.round(a [, decimals [, {out = c}]]), a:round(decimals): rounded to so many digits after the point (0 unless
--- given), halves to even. Negative decimals round to tens, hundreds, ...; of integers that goes by way of float64.
function array.round(a, decimals, options)
  if decimals == nil or decimals == 0 then
    return whole(a, options)
  elseif type(decimals) == "table" then
    return whole(a, decimals)
  elseif not is_integer(decimals) then
    fail("round: the number of decimals must be an integer, got %s", kind_of(decimals))
  end
  local x = need_array("round", a)
  local kind = kinds[x._dtype]
  if kind ~= "f" and kind ~= "c" then
    if decimals > 0 or kind == "b" then
      return whole(x, options)
    end
    local tens = methods.astype(array.round(methods.astype(x, "float64"), decimals), x.dtype)
    return whole(tens, options)
  end
  -- 10^-2 is not exact, 10^2 is.
  local factor, into = 10 ^ abs(decimals), output("round", options)
  local y = binary("round", decimals > 0 and MULTIPLY or DIVIDE, into, x, factor)
  whole_in_place(y)
  return binary("round", decimals > 0 and DIVIDE or MULTIPLY, y, y, factor)
end
methods.round = array.round

function methods.round_(a, decimals)
  array.round(a, decimals, in_place("round_", a))
  return a
end

-- A float array of x: itself, or converted.
local function floats(name, x)
  local kind = kinds[x._dtype]
  if kind == "c" then
    fail("%s is not defined for complex arrays; take a:real() or a:imag() first", name)
  end
  return kind == "f" and x or methods.astype(x, "float64")
end

--- a:modf(): the fractional and the whole parts, both with a's sign.
function array.modf(a)
  local x = floats("modf", need_array("modf", a))
  local whole_part = methods.trunc(x)
  local fraction = binary("modf", SUBTRACT, nil, x, whole_part)
  array.where(methods.isinf(x), 0, fraction, { out = fraction })
  return methods.copysign_(fraction, x), whole_part
end
methods.modf = array.modf

--- a:frexp(): m and e such that a = m * 2^e, with m 0 or from 0.5 to below 1 (or their negatives); e is int32.
function array.frexp(a)
  local x = floats("frexp", need_array("frexp", a))
  local e = methods.logb(x)
  binary("frexp", ADD, e, e, 1)
  array.where(methods.isfinite(e), e, 0, { out = e }) -- of 0, NaN and infinities
  -- In two steps: 2^-e overflows for the smallest numbers.
  local half = methods.floor(binary("frexp", MULTIPLY, nil, e, -0.5))
  local m = methods.ldexp(x, half)
  return methods.ldexp_(m, methods.negative_(half + e)), methods.astype(e, "int32")
end
methods.frexp = array.frexp

--- a:divmod(b): a:floor_divide(b) and a % b.
function array.divmod(a, b)
  return array.floor_divide(a, b), array.remainder(a, b)
end
methods.divmod = array.divmod

local nan_options = { nan = true, posinf = true, neginf = true, out = true }

--- array.nan_to_num(a [, {nan = 0, posinf = the largest, neginf = the lowest, out = c}]): a without NaN and infinities.
function array.nan_to_num(a, options)
  local x = need_array("nan_to_num", a)
  options = options or {}
  if type(options) ~= "table" then
    fail("nan_to_num: options are a table such as {nan = 0}, got %s", kind_of(options))
  end
  check_options("nan_to_num", options, nan_options)
  local kind = kinds[x._dtype]
  local result = output("nan_to_num", options.out and { out = options.out })
  if kind == "c" then
    result = methods.positive(x, options.out and { out = options.out })
    local parts = { nan = options.nan, posinf = options.posinf, neginf = options.neginf }
    for _, part in ipairs { methods.real(result), methods.imag(result) } do
      parts.out = part
      array.nan_to_num(part, parts)
    end
    return result
  elseif kind ~= "f" then
    return kind == "b" and methods.abs(x, options.out and { out = options.out }) or
      methods.positive(x, options.out and { out = options.out })
  end
  local largest = x.dtype == "float32" and 3.4028234663852886e38 or 1.7976931348623157e308
  result = call(C.pg_array_ternary, result, WHERE, methods.isnan(x), scalar(1, options.nan or 0, x._dtype), x)
  local into = { out = result }
  array.where(methods.eq(x, huge), options.posinf or largest, result, into)
  return array.where(methods.eq(x, -huge), options.neginf or -largest, result, into)
end
methods.nan_to_num = array.nan_to_num

function methods.nan_to_num_(a, options)
  options = options or {}
  if type(options) ~= "table" then
    fail("nan_to_num_: options are a table such as {nan = 0}, got %s", kind_of(options))
  end
  array.nan_to_num(a, { nan = options.nan, posinf = options.posinf, neginf = options.neginf,
    out = in_place("nan_to_num_", a).out })
  return a
end
