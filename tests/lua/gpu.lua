-- Devices and arrays on them, on the simulator: the same on a GPU (tests/gpu/run).
local lu = require "luaunit"
local pg = require "perigee"
local gpu, array = pg.gpu, pg.array
local backend = os.getenv("PERIGEE_GPU") or "sim"
gpu.use(backend)

-- The stand-in for the driver compiles each operation by the C++ compiler, which takes its time: some of each kind, or all
-- with PERIGEE_OPERATIONS=all.
local stand_in = gpu.info().name:find("Fake GPU", 1, true) and os.getenv("PERIGEE_OPERATIONS") ~= "all"
local function some(all, few)
  return ipairs(stand_in and few or all)
end

local function raises(text, f, ...)
  local ok, message = pcall(f, ...)
  lu.assertFalse(ok, "no error, expected: " .. text)
  lu.assertStrContains(tostring(message), text)
  lu.assertNil(tostring(message):find("internal error", 1, true), message)
end

local function same(d, a)
  local h = d:to_host()
  lu.assertEquals(h.dtype, a.dtype)
  lu.assertTrue(array.equal(h, a, { equal_nan = true }), tostring(h) .. " / " .. tostring(a))
end

-- Functions of the mathematics library may differ in the last bits.
local function near(d, a)
  local h = d:to_host()
  lu.assertEquals(h.dtype, a.dtype)
  lu.assertTrue(array.allclose(h, a, { rtol = 1e-14, atol = 1e-14, equal_nan = true }), tostring(h) .. " / " .. tostring(a))
end

TestDevices = {}

function TestDevices.test_available_says_why_not()
  local ok, reason = gpu.available()
  if not ok then
    lu.assertStrContains(reason, "driver")
    raises("does not work here", gpu.use, "cuda")
  end
  lu.assertEquals(gpu.backend(), backend)
end

function TestDevices.test_info()
  local info = gpu.info()
  lu.assertEquals(info.backend, backend)
  lu.assertEquals(info.warp_size, 32)
  lu.assertEquals(info.max_threads_per_block, 1024)
  lu.assertTrue(info.memory > 0)
end

function TestDevices.test_several()
  lu.assertEquals(gpu.device(), 1)
  lu.assertTrue(gpu.device_count() >= (backend == "sim" and 2 or 1))
  if gpu.device_count() < 2 then
    return
  end
  gpu.device(2)
  local d = gpu.array { 1, 2, 3 }
  lu.assertEquals(d.device, 2)
  gpu.device(1)
  local e = gpu.array { 1, 2, 3 }
  raises("copy one of them", function() return d + e end)
  e:copy_from(d)
  same(e, array.from { 1, 2, 3 })
  raises("from 1 to", gpu.device, 99)
  raises("from 1 to", gpu.use, backend, 0)
  raises('"sim" or "cuda"', gpu.use, "gpu")
end

TestArrays = {}

function TestArrays.test_there_and_back()
  for _, dtype in ipairs { "bool", "uint8", "int32", "int64", "float32", "float64", "int8", "int16", "uint16", "uint32",
    "uint64", "complex64", "complex128" } do
    local a = array.range(0, 11):reshape(3, 4):astype(dtype, { overflow = "wrap" })
    local d = gpu.array(a)
    lu.assertEquals(d.dtype, dtype)
    lu.assertEquals(d.shape, { 3, 4 })
    same(d, a)
    same(gpu.array(a.T), a.T)
  end
  lu.assertEquals(gpu.array({ 1, 2 }, { dtype = "float32" }).dtype, "float32")
  lu.assertEquals(#gpu.zeros(5, 2), 5)
  same(gpu.zeros({ 2, 3 }, "int32"), array.zeros({ 2, 3 }, "int32"))
  same(gpu.ones(4), array.ones(4))
  same(gpu.full({ 2, 2 }, 1.5), array.full({ 2, 2 }, 1.5))
  same(gpu.zeros_like(gpu.ones(3, "float32")), array.zeros(3, "float32"))
  lu.assertEquals(gpu.empty_like(array.zeros(2, 5)).size, 10)
  same(gpu.zeros(0), array.zeros(0))
end

function TestArrays.test_copies()
  local a = array.range(1, 6):astype("float32")
  local d = gpu.zeros(6, "float32")
  d:copy_from(a)
  same(d, a)
  local out = array.zeros(6, "float32")
  lu.assertTrue(d:to_host { out = out } == out)
  local wide = array.zeros(6)
  d:to_host { out = wide }
  lu.assertTrue(array.equal(wide, a))
  raises("shape", d.copy_from, d, array.zeros(7))
  raises("shape", d.to_host, d, { out = array.zeros(7) })
  local e = d:copy()
  e:fill(0)
  same(d, a)
  same(d:copy_from(e), array.zeros(6, "float32"))
end

function TestArrays.test_views()
  local a = array.range(1, 24):reshape(4, 6)
  local d = gpu.array(a)
  same(d[2], a[2]:copy())
  same(d[{ { 2, 3 }, { 1, 6, 2 } }], a[{ { 2, 3 }, { 1, 6, 2 } }])
  same(d.T, a.T)
  same(d:reshape(3, 8), a:reshape(3, 8))
  same(d.T:reshape(24), a.T:reshape(24))
  same(d:flip(1), a:flip(1))
  same(d:expand_dims(1):broadcast_to({ 2, 4, 6 }), a:expand_dims(1):broadcast_to({ 2, 4, 6 }))
  d[{ {}, { 1, 2 } }] = 0
  a[{ {}, { 1, 2 } }] = 0
  same(d, a)
  d[3] = array.ones(6)
  a[3] = array.ones(6)
  same(d, a)
  local part = d[{ { 1, 2 } }]
  d = nil
  collectgarbage()
  collectgarbage()
  same(part, a[{ { 1, 2 } }])
end

function TestArrays.test_errors()
  local d = gpu.zeros(3)
  raises("not read here", function() return d[1] end)
  raises("not written here", function() d[1] = 2 end)
  raises("no field or method 'sumn'; did you mean 'sum'", function() return d.sumn end)
  raises("cannot be assigned", function() d.dtype = 1 end)
  raises("on the device already", gpu.array, d)
  raises("gpu.array(a) copies it", function() return d + array.zeros(3) end)
  raises("unknown option", gpu.array, array.zeros(3), { dtpe = "int32" })
  d:release()
  raises("was released", d.to_host, d)
  raises("was released", function() return d + 1 end)
  raises("no function 'arry'; did you mean 'array'", function() return gpu.arry end)
  lu.assertStrContains(tostring(d), "released")
end

function TestArrays.test_memory_is_pooled()
  gpu.trim()
  local before = gpu.memory()
  local d = gpu.empty(2 ^ 20, "uint8")
  local during = gpu.memory()
  lu.assertEquals(during.arrays, before.arrays + 1)
  lu.assertTrue(during.used >= before.used + 2 ^ 20)
  d:release()
  local after = gpu.memory()
  lu.assertEquals(after.used, before.used)
  lu.assertTrue(after.cached >= 2 ^ 20)
  local e = gpu.empty(2 ^ 20, "uint8")
  lu.assertEquals(gpu.memory().reused, after.reused + 1)
  e:release()
  lu.assertTrue(gpu.trim() >= 2 ^ 20)
  lu.assertEquals(gpu.memory().cached, 0)
end

function TestArrays.test_garbage_is_given_back()
  gpu.trim()
  local before = gpu.memory()
  for _ = 1, 50 do
    gpu.empty(1000)
  end
  collectgarbage()
  collectgarbage()
  lu.assertEquals(gpu.memory().used, before.used)
end

function TestArrays.test_out_of_memory()
  raises("memory", gpu.empty, 2 ^ 45)
  raises("memory", gpu.empty, { 2 ^ 30, 2 ^ 30 })
end

function TestArrays.test_not_a_number_stays_plain()
  local bits = array.zeros(2, "uint64")
  local d = gpu.array(array.from { 0 / 0, 1 })
  lu.assertTrue(array.isnan(d:to_host())[1])
  lu.assertEquals(bits.size, 2)
end

TestOperations = {}

function TestOperations.test_elementwise()
  local a, b = array.from { { 1, -2, 3 }, { 4, 5, -6 } }, array.from { 2, 4, -8 }
  local d, e = gpu.array(a), gpu.array(b)
  for _, name in some({ "add", "subtract", "multiply", "divide", "power", "remainder", "minimum", "maximum", "eq", "lt",
    "ge", "hypot", "atan2" }, { "remainder", "lt" }) do
    near(d[name](d, e), a[name](a, b))
    near(gpu[name](d, 2), array[name](a, 2))
  end
  for _, name in some({ "negative", "abs", "square", "floor", "exp", "sin", "isnan", "sign" }, { "exp", "isnan" }) do
    near(d[name](d), a[name](a))
  end
  near(-d * 2 + 1 / e, -a * 2 + 1 / b)
  near(d % 3 - e ^ 2, a % 3 - b ^ 2)
  local out = gpu.zeros(2, 3)
  lu.assertTrue(rawequal(gpu.add(d, e, { out = out }), out))
  same(out, a + b)
  d:add_(1)
  same(d, a + 1)
  same(gpu.where(d:gt(0), d, 0), array.where((a + 1):gt(0), a + 1, 0))
  same(d:astype("int32"), (a + 1):astype("int32"))
  raises("a device array is expected", gpu.add, 1, 2)
end

function TestOperations.test_reductions()
  local a = array.range(1, 24):reshape(2, 3, 4)
  local d = gpu.array(a)
  for _, name in some({ "sum", "mean", "min", "max", "prod", "var", "std", "any", "all", "argmin", "argmax" },
    { "mean", "max", "argmin" }) do
    local whole = d[name](d)
    lu.assertTrue(whole == a[name](a) or math.abs(whole - a[name](a)) < 1e-9 * math.abs(whole), name)
    near(d[name](d, 2), a[name](a, 2))
  end
  same(d:sum { axis = { 1, 3 }, keepdims = true }, a:sum { axis = { 1, 3 }, keepdims = true })
  raises("axis", d.sum, d, 4)
end

function TestOperations.test_matmul()
  local a, b = array.range(1, 6):reshape(2, 3), array.range(1, 12):reshape(3, 4)
  local d, e = gpu.array(a), gpu.array(b)
  same(d:matmul(e), array.matmul(a, b))
  same(gpu.matmul(e.T, d.T), array.matmul(b.T, a.T))
  local out = gpu.zeros(2, 4)
  gpu.matmul(d, e, { out = out })
  same(out, array.matmul(a, b))
  raises("columns", gpu.matmul, d, d)
end

function TestOperations.test_complex()
  local generator = pg.random.generator(3)
  local function random(dtype)
    local parts = generator:uniform(-2, 2, { shape = { 2, 3, 4 } })
    return (parts + array.complex(0, 1) * generator:uniform(-2, 2, { shape = { 2, 3, 4 } })):astype(dtype)
  end
  local function close(d, a, what)
    local got = gpu.is_array(d) and d:to_host() or d
    if array.is(a) then
      lu.assertEquals(got.dtype, a.dtype, what)
    end
    lu.assertTrue(array.is(a) and array.allclose(got, a, { rtol = 2e-5, atol = 2e-5 }) or array.is(a) == false
      and tostring(got) == tostring(a) or type(got) ~= "number" and not array.is(a) and (got - a):abs() < 1e-4 or got == a, what)
  end
  for _, dtype in some({ "complex128", "complex64" }, { "complex64" }) do
    local a, b = random(dtype), random(dtype)
    local d, e = gpu.array(a), gpu.array(b)
    for _, name in some({ "add", "subtract", "multiply", "divide", "power", "eq", "ne", "logical_and", "logical_xor" },
      { "divide", "eq" }) do
      close(gpu[name](d, e), array[name](a, b), name)
    end
    for _, name in some({ "negative", "abs", "angle", "real", "imag", "conj", "square", "sign", "round", "reciprocal", "isnan",
      "isfinite", "isinf", "logical_not" }, { "abs", "conj" }) do
      close(gpu[name](d), array[name](a), name)
    end
    for _, name in some({ "minimum", "maximum", "fmin", "fmax", "lt", "le", "gt", "ge" }, { "maximum", "le" }) do
      close(gpu[name](d, e), array[name](a, b), name)
    end
    for _, name in some({ "sum", "mean", "prod", "var", "std", "any", "count_nonzero", "min", "max", "argmin", "argmax" },
      { "sum", "var", "argmax" }) do
      close(d[name](d, 2), a[name](a, 2), name)
      close(d[name](d), a[name](a), name)
    end
    close(d * array.range(1, 4).size + 1, a * 4 + 1, "with numbers")
    close(gpu.array(array.range(1, 4)) * d, array.range(1, 4) * a, "with real arrays")
    close(gpu.matmul(d, e:swapaxes(2, 3)), array.matmul(a, b:swapaxes(2, 3)), "matmul")
  end
  if backend == "cuda" then
    raises("of complex arrays on a GPU", gpu.zeros(2, "complex128").astype, gpu.zeros(2, "complex128"), "float64")
  end
end

-- Functions of complex numbers against the host's (the C library's), where they are hard: near 1 and -1 and on their branch
-- cuts, small, and so large that squares overflow.
function TestOperations.test_functions_of_complex_numbers()
  local tolerances = { complex64 = 4e-6, complex128 = 1e-14 } -- CUDA's own functions differ by some last bits
  for _, dtype in ipairs { "complex128", "complex64" } do
    local list = { { 1, 1e-9 }, { 1, -1e-9 }, { -1, 1e-9 }, { 1, 0 }, { -1, 0 }, { 0, 1 }, { 0, -1 }, { 0.6, 0.8 }, { -0.8, 0.6 },
      { 1, 1e-30 }, { 0.9999, 1e-7 }, { 0, 0 }, { 1e-20, 1 } }
    for _, size in ipairs { dtype == "complex64" and 1e-37 or 1e-300, 1e-18, 1e-9, 0.3, 0.999, 1.001, 1.5, 2, 7, 21, 85, 1e4, 1e7,
      1e10, dtype == "complex64" and 2e38 or 1.5e308 } do
      for angle = 0, 15 do
        list[#list + 1] = { size * math.cos((angle + 0.3) * math.pi / 8), size * math.sin((angle + 0.3) * math.pi / 8) }
      end
      for _, sign in ipairs { 1, -1 } do -- the axes, with both zeros
        list[#list + 1] = { sign * size, 0 }
        list[#list + 1] = { sign * size, -0.0 }
        list[#list + 1] = { 0, sign * size }
        list[#list + 1] = { -0.0, sign * size }
      end
    end
    local a = array.zeros(#list, dtype)
    for i, z in ipairs(list) do
      a[i] = array.complex(z[1], z[2])
    end
    local d = gpu.array(a)
    for _, name in some({ "sqrt", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh",
      "asin", "acos", "atan", "asinh", "acosh", "atanh" }, dtype == "complex64" and { "asin" } or { "sqrt", "exp", "log", "tan",
      "acos", "asinh", "acosh", "atan" }) do
      local got, expected = gpu[name](d):to_host(), array[name](a)
      for i = 1, #list do
        local x, y = got[i], expected[i]
        local finite = x.re - x.re == 0 and x.im - x.im == 0
        -- Where the result overflows or is at a pole, which infinity it is may differ.
        if y.re - y.re == 0 and y.im - y.im == 0 then
          local far = finite and math.max(math.abs(x.re - y.re), math.abs(x.im - y.im)) or math.huge
          local size = math.max(math.abs(y.re), math.abs(y.im))
          lu.assertTrue(far <= tolerances[dtype] * size, ("%s(%.17g, %.17g) of %s is (%.17g, %.17g) instead of (%.17g, %.17g)"):format(
            name, a[i].re, a[i].im, dtype, x.re, x.im, y.re, y.im))
        end
      end
    end
  end
end

function TestOperations.test_matmul_of_integers()
  for _, dtype in some({ "int32", "int64", "uint8", "int16", "bool" }, { "int32", "bool" }) do
    local a = array.range(-40, 40 * 33 - 41):reshape(40, 33):remainder(50):astype(dtype, { overflow = "wrap" })
    local b = array.range(7, 33 * 17 + 6):reshape(33, 17):remainder(50):astype(dtype, { overflow = "wrap" })
    local d, e = gpu.array(a), gpu.array(b)
    local c = d:matmul(e)
    lu.assertEquals(c.dtype, array.matmul(a, b).dtype)
    same(c, array.matmul(a, b))
    same(gpu.matmul(e.T, d.T), array.matmul(b.T, a.T))
  end
  local stack = array.range(1, 24):reshape(2, 3, 4):astype("int32")
  local m = array.range(1, 8):reshape(4, 2):astype("int32")
  same(gpu.matmul(gpu.array(stack), gpu.array(m)), array.matmul(stack, m))
  same(gpu.matmul(gpu.array(stack), gpu.array(m):astype("float64")), array.matmul(stack, m:astype("float64")))
end

function TestOperations.test_random()
  local host, device = pg.random.generator(7), gpu.random(7)
  same(device:uniform { shape = { 3, 5 } }, host:uniform(0, 1, { shape = { 3, 5 } }))
  same(device:normal(1, 2, { shape = 7, dtype = "float32" }), host:normal(1, 2, { shape = 7, dtype = "float32" }))
  same(device:uniform(2, 3, { out = gpu.zeros(4) }), host:uniform(2, 3, { shape = 4 }))
  raises("how many", device.uniform, device)
  raises("less than high", device.uniform, device, 2, 1, { shape = 3 })
end

TestStreams = {}

function TestStreams.test_copies_and_events()
  local s, t = gpu.stream(), gpu.stream()
  local a = gpu.pinned(array.range(1, 100))
  local d = gpu.zeros(100)
  local copied = gpu.event()
  d:copy_from(a, { stream = s })
  copied:record(s)
  t:wait(copied)
  local out = gpu.pinned(100)
  d:to_host { out = out, stream = t }
  t:synchronize()
  lu.assertTrue(array.equal(out, a))
  lu.assertTrue(s:done() and t:done() and copied:done())
  local start, stop = gpu.event():record(), gpu.event():record()
  lu.assertTrue(stop:elapsed(start) >= 0)
  raises("record", function() gpu.event():elapsed(gpu.event()) end)
  raises("say where to", d.to_host, d, { stream = s })
  raises("a stream", d.copy_from, d, a, { stream = 3 })
  local seconds, result = gpu.timer(function(x) return x + 1 end, d)
  lu.assertTrue(seconds >= 0)
  same(result, array.range(1, 100) + 1.0)
  gpu.synchronize()
end

os.exit(lu.LuaUnit.run(), true)
