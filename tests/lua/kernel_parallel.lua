-- Loops of whole functions on several threads: kernel.jit(fn, {parallel = true}). Which loops are taken, that they compute what
-- plain Lua does, whatever the number of threads, and that all others run as they stand.
local lu = require "luaunit"
local pg = require "perigee"
local kernel, array, parallel = pg.kernel, pg.array, pg.parallel

local function with_threads(n, f, ...)
  local before = pg.threads()
  pg.threads(n)
  local results = { pcall(f, ...) }
  pg.threads(before)
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, table.maxn(results))
end

local function copies(n, ...)
  local list = { ... }
  for i = 1, n do
    if array.is(list[i]) then list[i] = list[i]:copy() end
  end
  return list
end

local function equal(a, b) return array.allclose(a, b, { rtol = 0, atol = 0, equal_nan = true }) end
local function same(x, y) return x == y and 1 / x == 1 / y or x ~= x and y ~= y end

-- Runs fn as a parallel kernel on one thread and on four, and as plain Lua: the same results, elements and errors.
local function check(fn, ...)
  local n = select("#", ...)
  local k = kernel.jit(fn, { parallel = true })
  pg.jit("off", fn) -- compiled, LuaJIT swaps the arguments of math.min and max, which NaN shows
  local plain = copies(n, ...)
  local expected = { pcall(fn, unpack(plain, 1, n)) }
  for _, threads in ipairs { 1, 4 } do
    local given = copies(n, ...)
    local got = { with_threads(threads, pcall, k, unpack(given, 1, n)) }
    lu.assertEquals(got[1], expected[1], tostring(got[2]) .. " / " .. tostring(expected[2]))
    for i = 2, #expected do
      if not expected[1] then
        lu.assertEquals(got[2]:match("index %-?%d+ is out of range for axis %d"), expected[2]:match("index %-?%d+ is out of range for axis %d"))
        lu.assertEquals(got[2]:match(":(%d+): "), expected[2]:match(":(%d+): "))
      else
        lu.assertTrue(same(got[i], expected[i]), ("result %d: %s, %s"):format(i - 1, tostring(got[i]), tostring(expected[i])))
      end
    end
    for i = 1, expected[1] and n or 0 do
      if array.is(given[i]) then
        lu.assertTrue(equal(given[i], plain[i]), "argument " .. i)
      end
    end
  end
  return k
end

-- The loops of a kernel: "line - first line of the kernel" -> true, or why not.
local function verdicts(k)
  local out, first = {}, debug.getinfo(k._function, "S").linedefined
  for _, loop in ipairs(k:report().loops) do
    if loop.parallel ~= nil then out[loop.line - first] = loop.parallel or loop.serial_reason end
  end
  return out
end

TestParallelKernels = {}

function TestParallelKernels.test_elements_of_its_own()
  local k = check(function(x, y)
    for i = 1, #x do
      y[i] = 2 * x[i] + 1
    end
  end, array.range(1, 100000):astype("float64"), array.zeros(100000))
  lu.assertEquals(verdicts(k), { true })
  lu.assertTrue(k:report().loops[1].vectorized)
  lu.assertStrContains(tostring(k:report()), "on several threads; vectors of")
  -- Rows, several arrays, a step, an offset, an array read and written at one place, conditions, continue, own arrays.
  k = check(function(a, b, c, n)
    for i = 2, a:dim(1) - 1 do
      local row = b[i]
      for j = 1, #row do
        if j % 7 == 3 then goto continue end
        row[j] = a[i - 1][j] + a[i + 1][j] + (j > n and c[i] or 0)
        ::continue::
      end
    end
    for i = 1, 2 * #c - 1, 2 do
      local t = array.zeros(4)
      for q = 1, 4 do t[q] = i + q end
      c[(i - 1) / 2 + 1] = t[1] + t[4]
    end
    for i = #c, 1, -1 do
      c[i] = c[i] * 2
    end
  end, array.range(1, 800):reshape(100, 8):astype("float64"), array.zeros(100, 8), array.range(1, 100):astype("float64"), 4)
  local v = verdicts(k)
  lu.assertTrue(v[1])
  lu.assertStrContains(v[9], "no index there follows from 'i' alone")
  lu.assertTrue(v[14])
end

function TestParallelKernels.test_totals()
  local n = 70001
  local x = array.range(1, n) % 97 - 48
  for _, dtype in ipairs { "float64", "float32", "int32", "int64" } do
    local k = check(function(x)
      local s, d, low, high, p = 0, 0, x[1], x[1], 1
      local least, most = x[1], x[1]
      for i = 1, #x do
        s = s + x[i] - 1
        d = d - x[i]
        low = math.min(low, x[i])
        high = math.max(x[i], high)
        if x[i] < least then least = x[i] end
        if x[i] >= most then most = x[i] end
        if i % 10000 == 1 then p = p * 2 end
      end
      return s, d, low, high, least, most, p
    end, x:astype(dtype))
    lu.assertEquals(verdicts(k), { [3] = true }, dtype)
  end
  -- A total goes on from where it stands, over nested loops, and into loops that follow.
  local k = check(function(a, start)
    local s, t = start, 0
    for i = 1, a:dim(1) do
      for j = 1, a:dim(2) do s = s + a[i][j] end
    end
    for i = 1, a:dim(1) do
      t = t + a[i][1] * s
    end
    return s, t
  end, x[{ { 1, 1200 } }]:reshape(300, 4):copy(), 5)
  lu.assertEquals(verdicts(k), { [2] = true, [5] = true })
  -- Complex sums.
  k = kernel.jit(function(z) local s = 0i for i = 1, #z do s = s + z[i] * 1i end return s.re, s.im end, { parallel = true })
  local z = array.zeros(50000, { dtype = "complex128" }) + kernel.complex(1, 2)
  lu.assertEquals({ k(z) }, { -100000, 50000 })
end

-- NaN and the two zeros, which math.min and math.max treat by their place.
function TestParallelKernels.test_totals_of_odd_numbers()
  local nan, n = 0 / 0, 20000
  local function totals(x, one)
    local a, b, c, d, e = math.huge, math.huge, -math.huge, math.huge, -0.0
    for i = 1, #x do
      for _q = 1, one do
        a = math.min(a, x[i])
        b = math.min(x[i], b)
        c = math.max(c, x[i], x[#x - i + 1])
        if x[i] <= d then d = x[i] end
        e = e + x[i] * 0
      end
    end
    return a, b, c, d, e
  end
  for _, places in ipairs { {}, { 1 }, { n }, { 7000 }, { 7000, 7001, 12000 }, { 1, n } } do
    local x = array.range(1, n):astype("float64")
    for _, i in ipairs(places) do x[i] = nan end
    check(totals, x, 1)
  end
  local zeros = array.zeros(n)
  zeros[5000], zeros[15000] = -0.0, -0.0
  check(totals, zeros, 1)
  check(totals, -zeros, 1)
  check(totals, array.zeros(n) * -1, 1)
end

function TestParallelKernels.test_float_sums_do_not_depend_on_threads()
  local k = kernel.jit(function(x)
    local s = 0.0
    for i = 1, #x do s = s + math.sin(x[i]) end
    return s
  end, { parallel = true })
  local x = array.range(1, 200000) * 0.37
  local one = with_threads(1, k, x)
  for threads = 2, 5 do lu.assertEquals(with_threads(threads, k, x), one) end
  lu.assertAlmostEquals(one, k:on("simd")(x), 1e-8)
end

function TestParallelKernels.test_loops_that_stay()
  local one = array.range(1, 1000):astype("float64")
  local k = check(function(x, h)
    local last, t, found = 0, 0, 0
    for i = 2, #x do x[i] = x[i] + x[i - 1] end
    for i = 1, #x do h[i % 7 + 1] = h[i % 7 + 1] + 1 end
    for i = 1, #x do last = x[i] end
    for i = 1, #x do t = i; x[i] = t end
    for i = 1, #x do if x[i] > 500 then found = i break end end
    for v = 0, 1, 0.25 do t = t + v end
    while t > 1 do t = t / 2 end
    repeat t = t + 1 until t > 5
    for i = 1, #x, #h - 5 do x[i] = i end
    for i = 1, #x - 1 do x[i] = i; x[i + 1] = 0 end
    return last, t, found
  end, one, array.zeros(7))
  local v = verdicts(k)
  lu.assertStrContains(v[2], "'x' is read here at another index than it is written at")
  lu.assertStrContains(v[3], "two of its rounds may write the same element of 'h'")
  lu.assertStrContains(v[4], "'last' is declared outside it")
  lu.assertStrContains(v[5], "'t' is declared outside it")
  lu.assertStrContains(v[6], "break may leave it")
  lu.assertStrContains(v[7], "it counts in fractions")
  lu.assertStrContains(v[8], "how often it runs is not known")
  lu.assertStrContains(v[9], "how often it runs is not known")
  lu.assertStrContains(v[10], "its step is not known")
  lu.assertStrContains(v[11], "which is written at different indices")
  local text = tostring(k:report())
  lu.assertStrContains(text, "on one thread: two of its rounds may write the same element of 'h'")
  -- A reason that lies in another line names it; the loop inside, of one that stays, is looked at.
  k = check(function(x, steps)
    local s = 0
    for step = 1, steps do
      for i = 1, #x do
        x[i] = x[i] + step
      end
      s = s * 2 + x[1]
    end
    return s
  end, one, 3)
  v = verdicts(k)
  lu.assertStrContains(v[2], "'s' is declared outside it")
  lu.assertTrue(v[3])
  lu.assertStrContains(tostring(k:report()), ("line %d: 's'"):format(debug.getinfo(k._function, "S").linedefined + 6))
  -- Returns, a variable read before it is given its value, a total that is read, an argmin.
  k = check(function(x)
    local best, at, s = math.huge, 0, 0
    for i = 1, #x do if x[i] < best then best = x[i]; at = i end end
    for i = 1, #x do s = s + x[i]; x[i] = s end
    for i = 1, #x do if x[i] > 1e9 then return 0, 0, 0 end end
    return best, at, s
  end, one)
  v = verdicts(k)
  lu.assertStrContains(v[2], "goes from one round to the next")
  lu.assertStrContains(v[3], "'s' is declared outside it")
  lu.assertStrContains(v[4], "return may leave it")
end

function TestParallelKernels.test_memory_that_arguments_share()
  local function shift(u, v, one)
    for i = 2, #v do
      for _q = 1, one do v[i] = u[i - 1] + 1 end
    end
  end
  local k = check(shift, array.range(1, 500):astype("float64"), array.zeros(500), 1)
  lu.assertEquals(verdicts(k), { true })
  local function shared(f, how)
    local x = array.range(1, 500):astype("float64")
    how(f, x)
    return x
  end
  for _, how in ipairs {
    function(f, x) f(x, x, 1) end, -- the same
    function(f, x) f(x[{ { 1, 400 } }], x[{ { 2, 401 } }], 1) end,
    function(f, x) f(x[{ { 1, -1, 2 } }], x[{ { 2, -1, 2 } }], 1) end, -- beside each other
    function(f, x) f(x[{ { -1, 1, -1 } }], x, 1) end,
  } do
    local expected = shared(shift, how)
    lu.assertTrue(equal(with_threads(4, shared, k, how), expected))
  end
  -- One array twice is fine where both are indexed alike.
  local double = kernel.jit(function(x, y) for i = 1, #x do y[i] = x[i] * 2 end end, { parallel = true })
  local x = array.range(1, 100000):astype("float64")
  with_threads(4, double, x, x)
  lu.assertEquals(x[100000], 200000)
  lu.assertEquals(x[1], 2)
end

function TestParallelKernels.test_indices_from_the_end()
  -- -1 and #x are one element.
  local function both(x, from, to, one)
    for i = from, to, 1 do
      for _q = 1, one do if i ~= 0 then x[i] = i end end
    end
  end
  local x = array.zeros(300)
  check(both, x, -300, 300, 1)
  check(both, x, -300, -1, 1)
  check(both, x, 1, 300, 1)
  check(both, x, 301, 300, 1)
  check(function(x, k, one)
    for i = 1, 100 do
      for _q = 1, one do x[i - 50 + kernel.int64(k)] = i end
    end
  end, x, 50, 1)
  check(function(x, k, one)
    for i = 1, 100 do
      for _q = 1, one do x[i - 50 + kernel.int64(k)] = i end
    end
  end, x, 49, 1)
end

function TestParallelKernels.test_errors_are_those_of_the_loop()
  local x = array.range(1, 1000):astype("float64")
  check(function(x, y)
    for i = 1, #x do
      y[i] = x[i]
    end
  end, x, array.zeros(700))
  check(function(x, one)
    local s = 0
    for i = 1, #x do
      for _q = 1, one do s = s + x[i * 2] end
    end
    return s
  end, x, 1)
  check(function(x, y, one)
    for i = 1, #x do
      for _q = 1, one do y[i] = x[i] / 2 end -- no int: an error at the first
    end
  end, x, array.zeros(1000, { dtype = "int32" }), 1)
  local k = kernel.jit(function(x, from)
    for i = from, #x do x[i] = 1 end
  end, { parallel = true })
  lu.assertErrorMsgContains("loop over 'i' has a whole step and starts at 1.5", k, x, 1.5)
  k(x, 1)
  k(x, 0 / 0 == 0 and 1 or 2)
  -- The error of the first piece that has one, however many threads there are.
  local odd = kernel.jit(function(x, n, one)
    for i = 1, n do
      for _q = 1, one do x[i + i % 3] = 1 end
    end
  end, { parallel = true })
  local modulo = kernel.jit(function(x, d)
    for i = 1, #x do
      x[i] = 7 % d[i]
    end
  end, { parallel = true })
  lu.assertErrorMsgContains("out of range for axis 1 of 'x'", odd, x, 5000, 1)
  local d = array.ones(1000, { dtype = "int64" })
  d[333], d[600] = 0, 0
  for threads = 1, 4 do
    lu.assertErrorMsgContains("integer modulo by zero", with_threads, threads, modulo, x, d)
  end
end

function TestParallelKernels.test_bounds_and_odd_ranges()
  local function fill(x, from, to)
    for i = from, to do x[i] = i end
    return 1
  end
  local x = array.zeros(40000)
  for _, range in ipairs { { 1, 40000 }, { 1, 39999.75 }, { 5, 4 }, { 1, -math.huge }, { 1, 0 / 0 }, { 3, 3 } } do
    check(fill, x, range[1], range[2])
  end
  check(function(x, from) for i = from, 1, -3 do x[i] = i end end, x, 40000)
  check(function(x) for i = 40000, 2.5, -7 do x[i] = i end end, x)
  check(function(x) for i = 1, #x do x[i] = i end end, array.zeros(0))
end

function TestParallelKernels.test_functions_that_it_calls()
  local function norm(row)
    local s = 0
    for j = 1, #row do s = s + row[j] ^ 2 end
    return s
  end
  local function scale(row, by)
    for j = 1, #row do row[j] = row[j] * by end
  end
  local function first(m, by)
    for j = 1, #m do m[j][1] = by end
  end
  local a = array.range(1, 600):reshape(200, 3):astype("float64")
  local k = check(function(a, y)
    for i = 1, a:dim(1) do
      y[i] = norm(a[i])
      scale(a[i], 2)
    end
  end, a, array.zeros(200))
  lu.assertTrue(verdicts(k)[1])
  k = check(function(a)
    for i = 1, a:dim(1) do first(a, i) end
    for i = 2, a:dim(1) do
      scale(a[i], norm(a[i - 1]) % 3)
    end
  end, a)
  lu.assertStrContains(verdicts(k)[1], "two of its rounds may write the same element of 'a'")
  lu.assertStrContains(verdicts(k)[2], "'a' is read here at another index")
end

function TestParallelKernels.test_signature_cache_and_backends()
  local k = kernel.jit(function(x, y)
    for i = 1, #x do y[i] = x[i] + 1 end
  end, { parallel = true, signature = "void(float64[::1], float64[::1])" })
  local x, y = array.range(1, 50000):astype("float64"), array.zeros(50000)
  k(x, y)
  lu.assertEquals(y[50000], 50001)
  lu.assertTrue(k:report().loops[1].parallel)
  local serial = k:on("simd")
  lu.assertNil(serial:report().loops[1].parallel)
  lu.assertTrue(serial:on("threads"):report().loops[1].parallel)
  lu.assertStrContains(k:inspect("ir"), "spawn")
  lu.assertNotStrContains(k:inspect("cuda"), "spawn")
  lu.assertErrorMsgContains("parallel is true or false, got 4", kernel.jit, print, { parallel = 4 })
  local pool = parallel.pool(2)
  for _, last in ipairs(pool:map(function(n) -- each worker with its share of the threads
    local a, b = pg.array.range(1, 40000):astype("float64"), pg.array.zeros(40000)
    k(a, b)
    return b[40000] + n * 0
  end, { 1, 2, 3 })) do
    lu.assertEquals(last, 40001)
  end
  pool:close()
end

-- ------------------------------------------------------------------------------------- random loops --------------------
-- Loops with elements at random sums of the counter, totals, conditions, rows, inner loops and own arrays, over arrays that
-- may be one: as parallel kernels on one and three threads, and as plain Lua. Numbers are small and whole, so that sums do
-- not depend on their order. PERIGEE_KERNELS: how many (40).
local function generate(random)
  local out, depth = {}, 0
  local function emit(text, ...) out[#out + 1] = ("  "):rep(depth) .. text:format(...) end
  local function pick(list) return list[random(#list)] end
  local step = pick { 1, 1, 1, 2, 3, -1, -2 }
  local totals = {}
  local function index(own)
    if own and random(8) > 1 then return own end
    return pick { "i", "i + 1", "i - 1", "2 * i", "k + i", "i + k - 1", "n - i", "(i % 5) + 1", "k", "1" }
  end
  local arrays, own = { "x", "y", "z" }, {}
  for _, a in ipairs(arrays) do own[a] = index() end
  local function value(level)
    local r = random(9)
    if level <= 0 or r <= 2 then return pick { "i", "k", "1", "2", "-3" } end
    if r <= 5 then
      local a = pick(arrays)
      return ("%s[%s]"):format(a, index(own[a]))
    elseif r == 6 then
      return ("w[%s][%d]"):format(index("i"), random(3))
    elseif r == 7 then
      return ("math.%s(%s, %s)"):format(pick { "min", "max" }, value(level - 1), value(level - 1))
    end
    return ("(%s %s %s)"):format(value(level - 1), pick { "+", "-" }, value(level - 1))
  end
  local function statement(level)
    local r = random(10)
    if r <= 4 then
      local a = pick(arrays)
      emit("%s[%s] = %s %% 50", a, index(own[a]), value(2))
    elseif r == 5 then
      local row = random(4) == 1 and "n - i" or "i"
      emit("w[%s][%d] = %s %% 50", row, random(3), value(1))
    elseif r == 6 then
      local t = pick { "s", "t" }
      totals[t] = totals[t] or pick { "sum", "least", "most", "choice" }
      local how = random(12) == 1 and pick { "sum", "least" } or totals[t]
      if how == "sum" then emit("%s = %s %s %s", t, t, pick { "+", "-" }, value(1))
      elseif how == "least" then emit("%s = math.min(%s, %s)", t, t, value(1))
      elseif how == "most" then emit("%s = math.max(%s, %s)", t, value(1), t)
      else local e = value(1) emit("if %s < %s then %s = %s end", e, t, t, e) end
    elseif r == 7 and level > 0 then
      emit("if %s > %s then", value(1), value(1))
      depth = depth + 1
      statement(level - 1)
      depth = depth - 1
      emit("end")
    elseif r == 8 and level > 0 then
      emit("for j = 1, 3 do")
      depth = depth + 1
      emit("w[i][j] = w[i][j] + j")
      statement(level - 1)
      depth = depth - 1
      emit("end")
    elseif r == 9 then
      emit("local v = %s", value(1))
      emit("%s[%s] = v", "x", index(own.x))
    elseif level == 2 and depth == 3 then
      emit("if i %% 9 == 4 then goto continue end")
    end
  end
  emit("return function(x, y, z, w, n, k, one)")
  depth = 1
  emit("local s, t = 0, 0")
  local low, high = "3", "n - 2"
  emit("for i = %s, %s, %d do", step > 0 and low or high, step > 0 and high or low, step)
  depth = 2
  emit("do")
  depth = 3
  emit("for _q = 1, one do") -- how often is not known, so that every round is worth a piece
  emit("end")
  for _ = 1, 1 + random(3) do statement(2) end
  depth = 2
  emit("end")
  emit("::continue::")
  depth = 1
  emit("end")
  emit("return s, t")
  depth = 0
  emit("end")
  return table.concat(out, "\n")
end

function TestParallelKernels.test_random_loops()
  local count = tonumber(os.getenv("PERIGEE_KERNELS")) or 40
  local first = tonumber(os.getenv("PERIGEE_FIRST")) or 1
  local taken = 0
  for number = first, first + count - 1 do
    local state = (number * 7919 + 12345) % 2147483647
    local text = generate(function(n)
      state = state * 16807 % 2147483647
      return state % n + 1
    end)
    local fn = assert(load(text, "loop " .. number))()
    local n = 130
    local function arguments()
      local x, y = array.range(1, 2 * n + 20) % 23, array.range(1, 2 * n + 20) % 17
      x, y = x:astype(number % 2 == 0 and "float64" or "int64"), y:astype("float64")
      local z = number % 5 == 0 and x or number % 5 == 1 and y[{ { 2, -1 } }] or (y * 3 % 19)
      return x, y, z, (array.range(1, 3 * 2 * n + 60) % 13):reshape(2 * n + 20, 3):astype("float32"), n, 7LL, 1
    end
    local plain = { arguments() }
    plain[6] = 7
    local expected = { pcall(fn, unpack(plain)) }
    local k = kernel.jit(fn, { parallel = true })
    for _, threads in ipairs { 1, 3 } do
      local given = { arguments() }
      local got = { with_threads(threads, pcall, k, unpack(given)) }
      local what = text .. "\nloop " .. number .. ": " .. tostring(got[2]) .. " / " .. tostring(expected[2])
      lu.assertEquals(got[1], expected[1], what)
      if expected[1] then
        lu.assertEquals({ got[2], got[3] }, { expected[2], expected[3] }, what)
        for i = 1, 4 do lu.assertTrue(equal(given[i], plain[i]), i .. what) end
      else
        lu.assertEquals(got[2]:match(":(%d+): "), expected[2]:match(":(%d+): "), what)
      end
    end
    for _, loop in ipairs(k:report().loops) do taken = taken + (loop.parallel and 1 or 0) end
  end
  lu.assertTrue(taken > count / 10, taken .. " loops of " .. count)
end

os.exit(lu.LuaUnit.run(), true)
