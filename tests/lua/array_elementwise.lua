-- Elements of every dtype, complex numbers, and elementwise operations whose results are known exactly.
local lu = require "luaunit"
local ffi = require "ffi"
local array = require "perigee.array"

local integers = { "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64" }
local numbers = { "float32", "float64", "complex64", "complex128", unpack(integers) }
local z = array.complex(1, 2)

local function refused(pattern, f, ...)
  local ok, message = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertStrContains(tostring(message), pattern)
end

TestDtypes = {}

function TestDtypes.test_elements_of_every_dtype()
  for _, dtype in ipairs(numbers) do
    local a = array.zeros({ 2, 3 }, dtype)
    a[1][2] = 3
    a:set(2, 3, 7)
    lu.assertTrue(a[1][2] == 3, dtype)
    lu.assertTrue(a[-1][-1] == 7 and a:at(2, 3) == 7 and a.T[3][2] == 7, dtype)
    lu.assertTrue(a[{ {}, 3 }][2] == 7, dtype)
    lu.assertTrue(a[1][1] == 0 and a[1][3] == 0 and a[2][2] == 0, dtype) -- no neighbour was touched
    lu.assertEquals((a + 1).dtype, dtype)
    lu.assertTrue(array.from(a:totable(), dtype):equal(a), dtype)
  end
end

function TestDtypes.test_limits_of_integers()
  for i, dtype in ipairs(integers) do
    local bits = 8 * 2 ^ ((i - 1) % 4)
    local low, high = i <= 4 and -2 ^ (bits - 1) or 0, i <= 4 and 2 ^ (bits - 1) or 2 ^ bits
    local a = array.zeros(1, dtype)
    refused("out of range", function() a[1] = high end)
    refused("out of range", function() a[1] = low - (bits == 64 and 4096 or 1) end)
    refused("not an integer", function() a[1] = 0.5 end)
    if bits < 64 then
      a[1] = high - 1
      lu.assertEquals(a[1], high - 1)
      lu.assertEquals((a + 1)[1], low) -- wraps
      refused("out of range", function() return a + high end)
      lu.assertTrue(a:lt(high)[1]) -- but it can be compared
    end
    refused("outside the range", function() return array.from { 2 ^ 70 }:astype(dtype) end)
  end
end

function TestDtypes.test_wide_integers_are_exact()
  local a = array.full({ 2 }, 18446744073709551615ULL)
  lu.assertEquals(a.dtype, "uint64")
  lu.assertTrue(a:uint64(1) == 18446744073709551615ULL)
  refused("uint64(i)", function() return a[1] end)
  lu.assertEquals((a + 2)[1], 1)
  a[2] = -9223372036854775807LL - 1 < 0 and 5ULL
  lu.assertEquals(a[2], 5)
  refused("out of range", function() a[1] = -1LL end)
  refused("not uint64", function() return array.zeros(1, "int64"):uint64(1) end)
end

function TestDtypes.test_astype_wraps_when_asked()
  local a = array.from { 300, -1, 2.5, 0 / 0 }
  refused("outside the range of uint8", a.astype, a, "uint8")
  lu.assertEquals(a:astype("uint8", { overflow = "wrap" }):totable(), { 44, 255, 2, 0 })
  lu.assertEquals(array.from({ 300, -1 }, "int32"):astype("int8", { overflow = "wrap" }):totable(), { 44, -1 })
  refused('"error" or "wrap"', a.astype, a, "uint8", { overflow = "clip" })
  refused("unknown option", a.astype, a, "uint8", { wrap = true })
end

TestComplex = {}

function TestComplex.test_numbers()
  lu.assertTrue(z + 1 == array.complex(2, 2) and 1 - z == array.complex(0, -2))
  lu.assertTrue(z * z == array.complex(-3, 4) and z ^ 2 == z * z and z / z == 1 and -z == array.complex(-1, -2))
  lu.assertTrue(array.complex(3, 4):abs() == 5 and z:conj() == array.complex(1, -2) and z ~= 1)
  lu.assertEquals(array.complex(0, 1):angle(), math.pi / 2)
  lu.assertEquals(tostring(z), "1+2i")
  refused("no 'foo'", function() return z.foo end)
  refused("got nil", array.complex, nil)
end

function TestComplex.test_arrays()
  local a = array.from { 1, 2 }
  local c = a * z
  lu.assertEquals(c.dtype, "complex128")
  lu.assertEquals((a:astype("float32") * z).dtype, "complex64")
  lu.assertTrue(c[2] == array.complex(2, 4))
  lu.assertEquals((c + 0):imag():totable(), { 2, 4 })
  c:real()[2] = 9 -- a view
  lu.assertTrue(c[2] == array.complex(9, 4))
  c:imag():fill(0)
  lu.assertTrue(c[1] == 1)
  lu.assertEquals(array.complex(array.from { 3 }, 4):abs():totable(), { 5 })
  lu.assertTrue(array.complex(1 / 0 + array.zeros(1), 1)[1].re == 1 / 0) -- no NaN from inf * 0
  refused("real part", function() return c:astype("float64") end)
  refused("real number", function() a[1] = z end)
  refused("real part", function() a:add_(c) end)
  refused("not defined for complex128", array.floor, c)
  lu.assertEquals(tostring(array.from { z, -1, array.complex(0.5, -10) }), "[ 1.  +2.i -1.  +0.i  0.5-10.i]")
end

TestElementwise = {}

function TestElementwise.test_integer_division()
  for _, dtype in ipairs { "int8", "int16", "int32", "int64" } do
    local a, b = array.from({ 7, -7, 7, -7, 5, -128 }, dtype), array.from({ 2, 2, -2, -2, 0, -1 }, dtype)
    local lowest = dtype == "int8" and -128 or 128
    lu.assertEquals(a:floor_divide(b):totable(), { 3, -4, -4, 3, 0, lowest })
    lu.assertEquals((a % b):totable(), { 1, 1, -1, -1, 0, 0 })
    lu.assertEquals(a:fmod(b):totable(), { 1, -1, 1, -1, 0, 0 })
  end
  lu.assertEquals(array.from { 7, -7 }:floor_divide(2):totable(), { 3, -4 })
  lu.assertEquals(array.gcd(array.from({ 12, -18, 0 }, "int32"), 8):totable(), { 4, 2, 8 })
  lu.assertEquals(array.lcm(array.from({ 4, 6, 0 }, "uint8"), 10):totable(), { 20, 30, 0 })
end

function TestElementwise.test_bits()
  local a = array.from({ 12, 10 }, "uint8")
  lu.assertEquals(a:bitwise_and(6):totable(), { 4, 2 })
  lu.assertEquals(a:bitwise_or(1):totable(), { 13, 11 })
  lu.assertEquals(a:bitwise_xor(a):totable(), { 0, 0 })
  lu.assertEquals(a:bitwise_not():totable(), { 243, 245 })
  lu.assertEquals(a:left_shift(5):totable(), { 128, 64 })
  lu.assertEquals(a:left_shift(8):totable(), { 0, 0 })
  lu.assertEquals(array.from({ -12, 10 }, "int16"):right_shift(2):totable(), { -3, 2 })
  lu.assertEquals(array.from({ -12, 10 }, "int16"):right_shift(99):totable(), { -1, 0 })
  refused("bitwise_and is not defined for float64", array.bitwise_and, array.from { 1.5 }, 1)
end

function TestElementwise.test_special_values()
  local inf, nan = 1 / 0, 0 / 0
  local a = array.from { 1, -0.0, inf, -inf, nan }
  lu.assertEquals(a:isnan():totable(), { false, false, false, false, true })
  lu.assertEquals(a:isinf():totable(), { false, false, true, true, false })
  lu.assertEquals(a:isfinite():totable(), { true, true, false, false, false })
  lu.assertEquals(a[{ { 1, 4 } }]:signbit():totable(), { false, true, false, true })
  lu.assertEquals(array.fmin(a, 0)[5], 0)
  lu.assertTrue(array.minimum(a, 0)[5] ~= array.minimum(a, 0)[5])
  lu.assertEquals(array.nan_to_num(a, { posinf = 9 }):totable(), { 1, 0, 9, -1.7976931348623157e308, 0 })
  local fraction, whole = array.from { 1.5, -2.25, inf }:modf()
  lu.assertEquals(fraction:totable(), { 0.5, -0.25, 0 })
  lu.assertEquals(whole:totable(), { 1, -2, inf })
end

function TestElementwise.test_functions_take_any_layout()
  local a = array.range(1500)
  local odd = a[{ { 1, 1500, 3 } }] -- more than one buffer, strided
  local back = a[{ { -1, 1, -1 } }]
  lu.assertTrue(odd:log():equal(odd:copy():log()))
  lu.assertTrue(back:atan2(2):equal(back:copy():atan2(array.full(1500, 2))))
  lu.assertTrue(array.hypot(3, odd):equal(array.hypot(array.full(500, 3), odd:copy())))
  local out = array.full({ 502 }, -1) -- sentinels on both sides
  array.sin(odd, { out = out[{ { 2, 501 } }] })
  lu.assertTrue(out[1] == -1 and out[502] == -1 and out[{ { 2, 501 } }]:equal(odd:sin()))
  lu.assertEquals(array.from({ 0, 1 }, "int8"):exp().dtype, "float64")
  lu.assertEquals(array.zeros(2, "float32"):cos().dtype, "float32")
end

function TestElementwise.test_where()
  local a = array.range(6):reshape(2, 3)
  lu.assertEquals(array.where(a:gt(3), a, 0):totable(), { { 0, 0, 0 }, { 4, 5, 6 } })
  lu.assertEquals(array.where(a:gt(3), 1, array.range(3)):totable(), { { 1, 2, 3 }, { 1, 1, 1 } })
  lu.assertEquals(array.where(array.from { true, false }, 1, 2):totable(), { 1, 2 })
  lu.assertEquals(array.where(a.T:gt(3), array.ones(1, "int8"), array.zeros(2, "uint8")).dtype, "int16")
  lu.assertTrue(array.where(a[1]:gt(2), z, a[1])[3] == z)
  refused("values for true and for false", array.where, a)
  refused("cannot be combined", array.where, a, array.range(4), 0)
end

function TestElementwise.test_clip_and_round()
  local a = array.from { -2.567, 0.125, 2.5, 3.5 }
  lu.assertEquals(a:clip(-1, 3):totable(), { -1, 0.125, 2.5, 3 })
  lu.assertEquals(a:clip(nil, 0):totable(), { -2.567, 0, 0, 0 })
  lu.assertEquals(array.from({ 1, 5, 9 }, "uint8"):clip(2, 7):totable(), { 2, 5, 7 })
  lu.assertEquals(a:round():totable(), { -3, 0, 2, 4 })
  lu.assertEquals(a:round(2):totable(), { -2.57, 0.12, 2.5, 3.5 })
  lu.assertEquals((a * 100):round(-2):totable(), { -300, 0, 200, 400 })
  local b = a:copy()
  lu.assertTrue(b:clip_(0, 1) == b and b:max() == 1)
  refused("at least one limit", a.clip, a)
  refused("must be an integer", a.round, a, 0.5)
  lu.assertEquals(array.from({ 150, 250, -151 }, "int32"):round(-2):totable(), { 200, 200, -200 })
  lu.assertTrue(b:round_(1) == b)
  -- Crossed limits, NaN, and limits that are arrays.
  lu.assertEquals(a:clip(3, 1):totable(), { 1, 1, 1, 1 })
  lu.assertTrue(a:clip(0 / 0, 1):isnan():sum() == 4)
  lu.assertEquals(array.clip(array.range(6):reshape(2, 3), array.from { 2, 0, 0 }, array.from { { 3 }, { 5 } }):totable(),
    { { 2, 2, 3 }, { 4, 5, 5 } })
  lu.assertEquals(array.from({ 1, 9 }, "int32"):clip(0.5, 4).dtype, "float64")
  refused("not defined for complex128", array.clip, array.from { z }, 0, 1)
end

function TestElementwise.test_results_go_where_they_are_told()
  local a, odd = array.range(4), array.from { true, false, true, false }
  local out = array.zeros(4)
  lu.assertTrue(array.where(odd, a, -1, { out = out }) == out and out[2] == -1 and out[3] == 3)
  lu.assertTrue(array.where(odd, a, out[{ { -1, 1, -1 } }], { out = out }):equal(array.from { 1, 3, 3, 1 }))
  lu.assertTrue(a:fma_(2, 1):equal(array.from { 3, 5, 7, 9 }))
  lu.assertEquals(array.fma(2, 3, array.from { 1, 2 }):totable(), { 7, 8 })
  lu.assertEquals(array.fma(array.full(1, 1 + 2 ^ -30), 1 - 2 ^ -30, -1)[1], -2 ^ -60) -- rounded once
  lu.assertTrue(array.from { 0 / 0, 1 / 0 }:nan_to_num_ { nan = 1, posinf = 2 }:equal(array.from { 1, 2 }))
  lu.assertTrue(array.from { array.complex(0 / 0, 1 / 0) }:nan_to_num { posinf = 2 }[1] == array.complex(0, 2))
  refused("shape (4)", array.where, odd, a, 0, { out = array.zeros(3) })
  refused("cannot be written into an array of dtype int32", array.where, odd, a, 0, { out = array.zeros(4, "int32") })
end

function TestElementwise.test_rest_of_c()
  local inf = 1 / 0
  local m, e = array.from { 12, -0.75, 0, inf, 2 ^ -1074, -1.7976931348623157e308 }:frexp()
  lu.assertEquals(m:totable(), { 0.75, -0.75, 0, inf, 0.5, -0.99999999999999988898 })
  lu.assertEquals(e:totable(), { 4, 0, 0, 0, -1073, 1024 })
  lu.assertEquals(e.dtype, "int32")
  lu.assertEquals(array.heaviside(array.from { -2, 0, 3 }, 0.5):totable(), { 0, 0.5, 1 })
  lu.assertEquals(array.logaddexp2(array.from { 3, -inf, inf }, array.from { 3, 2, inf }):totable(), { 4, 2, inf })
  lu.assertEquals(array.fdim(array.from { 3, 1 }, 2):totable(), { 1, 0 })
  lu.assertEquals(array.ieee_remainder(array.from { 5, 7 }, 4):totable(), { 1, -1 })
  lu.assertEquals(array.logb(array.from({ 8, 9, 1 }, "int16")):totable(), { 3, 3, 0 })
  local quotient, rest = array.divmod(array.from({ 7, -7 }, "int8"), 2)
  lu.assertEquals(quotient:totable(), { 3, -4 })
  lu.assertEquals(rest:totable(), { 1, 1 })
end

function TestElementwise.test_isclose()
  local a = array.from { 1, 2, 0 / 0, 1 / 0 }
  lu.assertEquals(a:isclose(a + 1e-9):totable(), { true, true, false, true })
  lu.assertEquals(a:isclose(a, { equal_nan = true }):totable(), { true, true, true, true })
  lu.assertEquals(array.isclose(a, 1, { rtol = 0, atol = 1 }):totable(), { true, true, false, false })
  refused("unknown option", array.isclose, a, a, { tol = 1 })
end

-- One divisor goes another way than an array of them (a reciprocal); both agree with each other, for every sign and width.
function TestDtypes.test_integers_by_one_divisor()
  math.randomseed(5)
  local limits = { int8 = { -128, 127 }, int16 = { -32768, 32767 }, int32 = { -2 ^ 31, 2 ^ 31 - 1 }, uint8 = { 0, 255 },
    int64 = { -2 ^ 52, 2 ^ 52 }, uint16 = { 0, 65535 }, uint32 = { 0, 2 ^ 32 - 1 }, uint64 = { 0, 2 ^ 52 } }
  for dtype, limit in pairs(limits) do
    local low, high = limit[1], limit[2]
    local values = { low, high, 0, 1, low + 1, high - 1 }
    for i = 7, 150 do
      values[i] = i % 2 == 0 and math.floor(low + math.random() * (high - low)) or
        math.max(low, math.min(high, math.random(-20, 20)))
    end
    local a = array.from(values, dtype)
    local divisors = { 0, 1, 2, 3, 5, 7, 10, 16, 100, 127, high, high - 1, math.floor(high / 2), math.floor(high / 2) + 1 }
    for _, d in ipairs(low < 0 and { -1, -2, -3, -7, -10, -128, low, low + 1 } or {}) do
      divisors[#divisors + 1] = d
    end
    for _ = 1, 20 do
      divisors[#divisors + 1] = math.floor(low + math.random() * (high - low))
    end
    for _, d in ipairs(divisors) do
      local all = array.full(#values, d, dtype)
      for _, op in ipairs { "floor_divide", "remainder", "fmod" } do
        lu.assertTrue(array[op](a, d):equal(array[op](a, all)), dtype .. " " .. op .. " by " .. d)
        lu.assertTrue(array[op](a[{ {1, -1, 3} }], d):equal(array[op](a, all)[{ {1, -1, 3} }]))
      end
    end
  end
end

-- LuaJIT reads elements without a look at NaNs, and one with chosen bits would be another Lua value: no function makes one.
function TestElementwise.test_no_function_makes_a_nan_with_other_bits()
  array._everything()
  local nan, inf, values = 0 / 0, 1 / 0, {}
  local special = { nan, -nan, inf, -inf, 0, -0.0, 1, -1, 2.5, -2.5, 1e38, -1e38, 1e-38, 0.5 }
  for i = 1, 42 do
    values[i] = special[(i - 1) % 14 + 1]
  end
  for dtype, word in pairs { float64 = "uint64_t *", float32 = "uint32_t *" } do
    local a = array.from(values, dtype)
    local most, sign = 0x7ff8000000000000ULL, 0x8000000000000000ULL
    if dtype == "float32" then
      most, sign = 0x7fc00000ULL, 0x80000000ULL
    end
    local function look(name, fine, result)
      if not fine or not array.is(result) or result.dtype ~= dtype then
        return
      end
      local copy = result:copy()
      local words = ffi.cast(word, copy._data)
      for i = 0, copy.size - 1 do
        local bits = words[i] + 0ULL
        lu.assertTrue((bits >= sign and bits - sign or bits) <= most, name)
      end
    end
    for name, f in pairs(array) do
      if type(f) == "function" and name:sub(1, 1) ~= "_" then
        look(name, pcall(f, a))
        look(name, pcall(f, a, a, a))
        for shift = 0, 13 do
          look(name, pcall(f, a, array.roll(a, shift)))
        end
      end
    end
  end
end

os.exit(lu.LuaUnit.run(), true)
