local lu = require "luaunit"
local pg = require "perigee"
local array, random = pg.array, pg.random

TestRandom = {}

function TestRandom:test_known_answer()
  -- Philox4x32-10 of counter 0 and key 0 is 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
  local rng = random.generator(0)
  lu.assertEquals(rng:uniform(), tonumber(bit.rshift(0xe169c58d6627e8d5ULL, 11)) * 2 ^ -53)
  lu.assertEquals(rng:uniform(), tonumber(bit.rshift(0x9b00dbd8bc57ac4cULL, 11)) * 2 ^ -53)
  -- Integers come from the top of the same bits.
  lu.assertEquals(random.generator(0):integers(0, 2 ^ 32 - 1), 0xe169c58d)
  lu.assertEquals(random._keyed(0, 0, 0, 0):uniform(), random.generator(0):uniform())
end

-- The same numbers whatever the batching, and whatever kinds of draws are mixed.
local function draws(rng, kind, count)
  local out = {}
  for i = 1, count do
    out[i] = kind == "uniform" and rng:uniform() or kind == "range" and rng:uniform(-3, 5) or kind == "normal" and
      rng:normal() or kind == "scaled" and rng:normal(3, 0.5) or rng:integers(-5, 1000)
  end
  return out
end

local function batch(rng, kind, count)
  if kind == "uniform" then
    return rng:uniform({ shape = count }):totable()
  elseif kind == "range" then
    return rng:uniform(-3, 5, { shape = { count } }):totable()
  elseif kind == "normal" then
    return rng:normal({ shape = count }):totable()
  elseif kind == "scaled" then
    return rng:normal(3, 0.5, { shape = { count } }):totable()
  end
  return rng:integers(-5, 1000, { shape = count }):totable()
end

function TestRandom:test_batches_hold_what_single_draws_give()
  local kinds = { "uniform", "range", "normal", "scaled", "integer" }
  for first = 0, 1 do -- even and odd positions
    for _, kind in ipairs(kinds) do
      for _, count in ipairs { 0, 1, 2, 3, 63, 64, 65, 130, 1001 } do
        local single, batched = random.generator(7), random.generator(7)
        if first == 1 then
          single:normal()
          batched:normal()
        end
        lu.assertEquals(batch(batched, kind, count), draws(single, kind, count), kind .. " " .. count)
        for _, after in ipairs(kinds) do -- and they stand at the same place afterwards
          lu.assertEquals(draws(batched, after, 3), draws(single, after, 3), kind .. " " .. count .. " " .. after)
        end
      end
    end
  end
end

function TestRandom:test_shape_dtype_and_out()
  local rng = random.generator(1)
  local a = rng:uniform(10, 11, { shape = { 3, 4 } })
  lu.assertEquals(a.shape, { 3, 4 })
  lu.assertEquals(a.dtype, "float64")
  lu.assertTrue(a:min() >= 10 and a:max() < 11)
  lu.assertEquals(rng:integers(1, 6, { shape = 5 }).dtype, "int64")
  for _, dtype in ipairs { "uint8", "int32", "int64", "float32", "float64" } do
    local b = rng:integers(1, 6, { shape = { 2, 500 }, dtype = dtype })
    lu.assertEquals(b.dtype, dtype)
    local seen = {}
    for i = 1, 500 do
      seen[b[1][i]] = true
    end
    lu.assertEquals(#seen, 6)
  end
  lu.assertEquals(rng:integers(0, 1, { shape = 20, dtype = "bool" }).dtype, "bool")
  for _, draw in ipairs { "uniform", "normal", "exponential", "poisson" } do
    for _, dtype in ipairs { "float32", "float64" } do
      local b = rng[draw](rng, { shape = { 5, 2 }, dtype = dtype })
      lu.assertEquals(b.dtype, dtype)
      lu.assertEquals(b.shape, { 5, 2 })
    end
  end
  lu.assertEquals(rng:binomial(3, 0.5, { shape = 2, dtype = "int32" }).dtype, "int32")
  lu.assertEquals(rng:gamma(3, { shape = 2, dtype = "float32" }).dtype, "float32")
  -- float32 is the float64 number of the same slot, cut or rounded.
  local wide, narrow = random.generator(4):normal({ shape = 1000 }), random.generator(4):normal({ shape = 1000, dtype = "float32" })
  lu.assertTrue(array.equal(wide:astype("float32"), narrow))
  wide, narrow = random.generator(4):uniform({ shape = 1000 }), random.generator(4):uniform({ shape = 1000, dtype = "float32" })
  lu.assertTrue(narrow:allclose(wide, { atol = 2 ^ -24, rtol = 0 }))
  -- Into an array that is there, a view too.
  local expected = random.generator(6):uniform(2, 3, { shape = { 4, 3 } })
  local out = array.zeros(4, 3)
  lu.assertIs(random.generator(6):uniform(2, 3, { out = out }), out)
  lu.assertEquals(out:totable(), expected:totable())
  local wider = array.zeros(4, 6)
  random.generator(6):uniform(2, 3, { out = wider[{ {}, { 2, 6, 2 } }] })
  lu.assertEquals(wider[{ {}, { 2, 6, 2 } }]:totable(), expected:totable())
  lu.assertEquals(wider[{ {}, 1 }]:sum(), 0)
end

-- Kolmogorov's statistic of a list against a distribution function, times sqrt(n): above 2.2 once in 8000 times, and
-- the seeds are fixed.
local function kolmogorov(list, distribution)
  table.sort(list)
  local n, worst = #list, 0
  for i = 1, n do
    local f = distribution(list[i])
    worst = math.max(worst, f - (i - 1) / n, i / n - f)
  end
  return worst * math.sqrt(n)
end

-- Abramowitz and Stegun 7.1.26, error below 1.5e-7.
local function normal_cdf(x)
  local z = math.abs(x) / math.sqrt(2)
  local t = 1 / (1 + 0.3275911 * z)
  local tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) *
    math.exp(-z * z) / 2
  return x < 0 and tail or 1 - tail
end

function TestRandom:test_continuous_distributions()
  local n, rng = 20000, random.generator(77)
  local tests = {
    { "uniform", rng:uniform(-1, 3, { shape = n }), function(x) return (x + 1) / 4 end },
    { "uniform float32", rng:uniform(-1, 3, { shape = n, dtype = "float32" }), function(x) return (x + 1) / 4 end },
    { "normal", rng:normal(5, 2, { shape = n }), function(x) return normal_cdf((x - 5) / 2) end },
    { "exponential", rng:exponential(3, { shape = n }), function(x) return 1 - math.exp(-x / 3) end },
    -- Gamma of shape 1 is exponential, of shape 2 and 3 (Erlang) has a closed form, of shape 1/2 a square of a normal.
    { "gamma 1", rng:gamma(1, 3, { shape = n }), function(x) return 1 - math.exp(-x / 3) end },
    { "gamma 2", rng:gamma(2, { shape = n }), function(x) return 1 - math.exp(-x) * (1 + x) end },
    { "gamma 3", rng:gamma(3, { shape = n }), function(x) return 1 - math.exp(-x) * (1 + x + x * x / 2) end },
    { "gamma 50", rng:gamma(50, 3, { shape = n }), function(x) -- 1 - exp(-y) (1 + y + ... + y^49 / 49!)
      local y, term, sum = x / 3, 1, 0
      for k = 1, 50 do
        sum, term = sum + term, term * y / k
      end
      return 1 - math.exp(-y) * sum
    end },
    { "gamma 1/2", rng:gamma(0.5, 2, { shape = n }), function(x) return 2 * normal_cdf(math.sqrt(x)) - 1 end },
  }
  for _, t in ipairs(tests) do
    lu.assertTrue(kolmogorov(t[2]:totable(), t[3]) < 2.2, t[1])
  end
end

-- Chi-squared over bins that expect 20 or more, as a number of its own deviations above its mean.
local function chi_squared(counts, n, probability)
  local chi, bins, expected, seen, k = 0, 0, 0, 0, 0
  local left, left_seen = n, n
  while left > 20 do
    expected, seen = expected + n * probability(k), seen + (counts[k] or 0)
    if expected >= 20 and left - expected >= 20 or left - expected < 20 then
      if left - expected < 20 then
        expected, seen = left, left_seen
      end
      chi, bins = chi + (seen - expected) ^ 2 / expected, bins + 1
      left, left_seen, expected, seen = left - expected, left_seen - seen, 0, 0
    end
    k = k + 1
  end
  return (chi - (bins - 1)) / math.sqrt(2 * (bins - 1))
end

local function log_factorial(n)
  local sum = 0
  for i = 2, n do
    sum = sum + math.log(i)
  end
  return sum
end

local function tally(a)
  local counts = {}
  for i = 1, a.size do
    counts[a[i]] = (counts[a[i]] or 0) + 1
  end
  return counts
end

function TestRandom:test_poisson_and_binomial()
  local n, rng = 40000, random.generator(78)
  for _, mean in ipairs { 0.2, 1, 3.5, 10, 31.9, 32, 60, 200 } do
    local a = rng:poisson(mean, { shape = n })
    local off = chi_squared(tally(a), n, function(k) return math.exp(k * math.log(mean) - mean - log_factorial(k)) end)
    lu.assertTrue(off < 5, "poisson " .. mean .. ": " .. off)
    lu.assertAlmostEquals(a:mean(), mean, 5 * math.sqrt(mean / n))
  end
  for _, case in ipairs { { 1, 0.3 }, { 20, 0.1 }, { 20, 0.5 }, { 30, 0.9 }, { 100, 0.5 }, { 100, 0.2 }, { 300, 0.95 }, { 80, 0.5 } } do
    local trials, p = case[1], case[2]
    local a = rng:binomial(trials, p, { shape = n })
    local all = log_factorial(trials)
    local off = chi_squared(tally(a), n, function(k)
      return k > trials and 0 or
        math.exp(all - log_factorial(k) - log_factorial(trials - k) + k * math.log(p) + (trials - k) * math.log(1 - p))
    end)
    lu.assertTrue(off < 5, "binomial " .. trials .. " " .. p .. ": " .. off)
    lu.assertTrue(a:min() >= 0 and a:max() <= trials)
  end
  -- Large ones, by mean and variance.
  for _, a in ipairs { rng:poisson(1e12, { shape = n, dtype = "float64" }), rng:binomial(4e12, 0.5, { shape = n, dtype = "float64" }) } do
    local mean, variance = a == nil and 0 or a:mean(), nil
    local centred = a - mean
    variance = (centred * centred):mean()
    local expected = mean > 1.5e12 and { 2e12, 1e12 } or { 1e12, 1e12 }
    lu.assertAlmostEquals(mean, expected[1], 5 * math.sqrt(expected[2] / n))
    lu.assertAlmostEquals(variance / expected[2], 1, 5 * math.sqrt(2 / n))
    lu.assertTrue(kolmogorov((centred / math.sqrt(expected[2])):totable(), normal_cdf) < 2.2)
  end
  lu.assertEquals(rng:poisson(0), 0)
  lu.assertEquals({ rng:binomial(0, 0.5), rng:binomial(7, 0), rng:binomial(7, 1) }, { 0, 0, 7 })
end

function TestRandom:test_threads_do_not_change_numbers()
  local threads = pg.threads()
  local function all()
    local rng = random.generator(15)
    return { rng:uniform({ shape = 100001 }), rng:normal({ shape = { 3, 40000 } }), rng:poisson(20, { shape = 90000 }),
      rng:choice(10, { shape = 50000, p = { 1, 2, 3, 4, 5, 5, 4, 3, 2, 1 } }), rng:uniform({ shape = 1 }) }
  end
  pg.threads(1)
  local one = all()
  for _, count in ipairs { 2, 3, 8 } do
    pg.threads(count)
    for i, a in ipairs(all()) do
      lu.assertTrue(array.equal(a, one[i]), count .. " " .. i)
    end
  end
  pg.threads(threads)
end

function TestRandom:test_integers_of_every_dtype()
  local rng, n = random.generator(41), 2000
  local ranges = {
    bool = { 0, 1 }, int8 = { -128, 127 }, uint8 = { 0, 255 }, int16 = { -2 ^ 15, 2 ^ 15 - 1 }, uint16 = { 0, 2 ^ 16 - 1 },
    int32 = { -2 ^ 31, 2 ^ 31 - 1 }, uint32 = { 0, 2 ^ 32 - 1 }, float32 = { -2 ^ 24, 2 ^ 24 },
    float64 = { -2 ^ 53, 2 ^ 53 },
  }
  for dtype, range in pairs(ranges) do
    local low, high = range[1], range[2]
    local a = rng:integers(low, high, { shape = n, dtype = dtype })
    local width = high - low + 1
    lu.assertEquals(a.dtype, dtype)
    local u = a:astype("float64")
    lu.assertTrue(u:min() >= low and u:min() < low + 0.02 * width, dtype)
    lu.assertTrue(u:max() <= high and u:max() >= high - 0.02 * width, dtype)
    lu.assertAlmostEquals(((u - low + 0.5) / width):mean(), 0.5, 5 * math.sqrt(0.25 / n), dtype)
    for _, wrong in ipairs { { low - 1, high }, { low, high + 1 }, { low - 1, low - 1 } } do
      if dtype ~= "float64" then -- 2^53 + 1 is no number
        lu.assertErrorMsgContains(dtype .. " does not hold all integers from " .. string.format("%.0f to ", wrong[1]),
          rng.integers, rng, wrong[1], wrong[2], { shape = 3, dtype = dtype })
      end
    end
    -- The same numbers in every dtype that holds them.
    low = math.max(low, -100)
    high = math.min(high, 100)
    lu.assertTrue(array.equal(random.generator(7):integers(low, high, { shape = n }),
      random.generator(7):integers(low, high, { shape = n, dtype = dtype }):astype("int64")), dtype)
  end
  -- The whole of int64 and uint64, by cdata bounds.
  local least, most = -9223372036854775807LL - 1, 9223372036854775807LL
  local function quarters(a, dtype)
    local counts = { 0, 0, 0, 0 }
    for i = 1, n do
      local quarter = tonumber(bit.rshift(a[dtype](a, i), 62)) + 1
      counts[quarter] = counts[quarter] + 1
    end
    local chi = 0
    for i = 1, 4 do
      chi = chi + (counts[i] - n / 4) ^ 2 / (n / 4)
    end
    lu.assertTrue(chi < 25, dtype)
  end
  quarters(rng:integers(least, most, { shape = n, dtype = "int64" }), "int64")
  quarters(rng:integers(0, 18446744073709551615ULL, { shape = n, dtype = "uint64" }), "uint64")
  local a = rng:integers(18446744073709551614ULL, 18446744073709551615ULL, { shape = 50, dtype = "uint64" })
  local seen = {}
  for i = 1, 50 do
    seen[tostring(a:uint64(i))] = true
  end
  lu.assertEquals(seen, { ["18446744073709551614ULL"] = true, ["18446744073709551615ULL"] = true })
  lu.assertEquals(tostring(rng:integers(most, most)), "9223372036854775807LL")
  lu.assertEquals(tostring(rng:integers(18446744073709551615ULL, 18446744073709551615ULL)), "18446744073709551615ULL")
  lu.assertEquals(tostring(rng:integers(least, least)), "-9223372036854775808LL")
  lu.assertEquals(rng:integers(5LL, 5ULL, { shape = 1, dtype = "uint8" })[1], 5)
  lu.assertEquals(rng:integers(-5, 5ULL, { shape = 3, dtype = "int8" }).dtype, "int8")
  local function fails(message, ...)
    lu.assertErrorMsgContains(message, rng.integers, rng, ...)
  end
  fails("int64 does not hold all integers from 0 to 9223372036854775808", 0, 9223372036854775808ULL, { shape = 3 })
  fails("uint64 does not hold all integers from -1 to 5", -1, 5, { shape = 3, dtype = "uint64" })
  fails("int32 does not hold all integers from 0 to 2147483648", 0, 2147483648LL, { shape = 3, dtype = "int32" })
  fails("float64 does not hold all integers from 0 to 9007199254740993", 0, 9007199254740993LL,
    { shape = 3, dtype = "float64" })
  fails("low <= high", 1ULL, -1LL)
  fails("low <= high", 5LL, 4)
  fails("cdata such as 9223372036854775807LL), got 0 and 1.84467440737", 0, 2 ^ 64)
end

function TestRandom:test_integers_are_unbiased()
  -- Chi-squared with 5 degrees of freedom; 30 has probability 1.5e-5, and the seed is fixed.
  local rng, count, n = random.generator(2026), { 0, 0, 0, 0, 0, 0 }, 60000
  for _ = 1, n do
    local k = rng:integers(1, 6)
    count[k] = count[k] + 1
  end
  local chi = 0
  for k = 1, 6 do
    chi = chi + (count[k] - n / 6) ^ 2 / (n / 6)
  end
  lu.assertTrue(chi < 30)
end

function TestRandom:test_widest_integer_range()
  local rng, low, high = random.generator(3), 0, 0
  for _ = 1, 10000 do
    local k = rng:integers(-2 ^ 53, 2 ^ 53)
    low, high = math.min(low, k), math.max(high, k)
  end
  lu.assertTrue(low < -0.99 * 2 ^ 53 and low >= -2 ^ 53)
  lu.assertTrue(high > 0.99 * 2 ^ 53 and high <= 2 ^ 53)
  lu.assertEquals(rng:integers(5, 5), 5)
end

function TestRandom:test_moments()
  local rng, n = random.generator(11), 200000
  local u, z = rng:uniform({ shape = n }), rng:normal({ shape = n })
  lu.assertAlmostEquals(u:mean(), 0.5, 5 * math.sqrt(1 / 12 / n))
  lu.assertAlmostEquals(z:mean(), 0, 5 / math.sqrt(n))
  lu.assertAlmostEquals((z * z):mean(), 1, 5 * math.sqrt(2 / n))
  -- Neighbours do not depend on each other, of one kind or of two.
  local mixed, r = 0, random.generator(12)
  for _ = 1, n / 2 do
    local a = r:uniform() - 0.5
    mixed = mixed + a * r:normal()
  end
  lu.assertAlmostEquals(mixed / (n / 2), 0, 5 * math.sqrt(1 / 12 / (n / 2)))
end

function TestRandom:test_streams()
  local rng = random.generator(5)
  local before = rng:stream(3):uniform()
  rng:uniform({ shape = 1000 })
  lu.assertEquals(rng:stream(3):uniform(), before) -- does not depend on the position
  local seen = {}
  for _, g in ipairs { rng:stream(0), rng:stream(1), rng:stream(2 ^ 40), rng:stream(0):stream(0), random.generator(5),
    random.generator(6), random._keyed(5, 0, 1, 0), random._keyed(5, 0, 0, 1) } do
    local u = g:uniform()
    lu.assertNil(seen[u])
    seen[u] = true
  end
end

function TestRandom:test_streams_are_independent()
  local n, rng = 20000, random.generator(5)
  local streams = { rng, rng:stream(0), rng:stream(1), rng:stream(2), rng:stream(1):stream(0), random.generator(6) }
  local draws = {}
  for i, g in ipairs(streams) do
    draws[i] = g:normal({ shape = n })
  end
  for i = 1, #draws do
    for j = 1, i - 1 do
      lu.assertAlmostEquals((draws[i] * draws[j]):mean(), 0, 4.5 / math.sqrt(n))
    end
    -- Neither do neighbours within one depend on each other.
    lu.assertAlmostEquals((draws[i][{ { 1, -2 } }] * draws[i][{ { 2, -1 } }]):mean(), 0, 4.5 / math.sqrt(n))
  end
end

function TestRandom:test_permutation()
  local p = random.generator(8):permutation(100)
  lu.assertEquals(p.dtype, "int64")
  lu.assertEquals(p:totable(), random.generator(8):shuffle(array.range(1, 100)):totable())
  local list = { "a", "b", "c", "d" }
  local permuted = random.generator(8):permutation(list)
  lu.assertEquals(list, { "a", "b", "c", "d" })
  lu.assertEquals(random.generator(8):shuffle(list), permuted)
  local m = array.from { { 1, 2 }, { 3, 4 }, { 5, 6 } }
  local rows = random.generator(3):permutation(m)
  lu.assertEquals(m:totable(), { { 1, 2 }, { 3, 4 }, { 5, 6 } })
  lu.assertEquals(random.generator(3):shuffle { { 1, 2 }, { 3, 4 }, { 5, 6 } }, rows:totable())
  lu.assertEquals(random.generator(1):permutation(0).size, 0)
  -- All 24 orders come up alike.
  local rng, count = random.generator(30), {}
  for _ = 1, 24000 do
    local key = table.concat(rng:permutation { 1, 2, 3, 4 })
    count[key] = (count[key] or 0) + 1
  end
  local chi, orders = 0, 0
  for _, seen in pairs(count) do
    chi, orders = chi + (seen - 1000) ^ 2 / 1000, orders + 1
  end
  lu.assertEquals(orders, 24)
  lu.assertTrue(chi < 60) -- 23 degrees of freedom; 4e-5
end

function TestRandom:test_shuffle_along_the_first_axis()
  local expected = random.generator(9):shuffle(array.range(1, 7)):totable()
  local function rows(a) -- each row holds its number everywhere
    for i = 1, 7 do
      a[i] = i
    end
    return a
  end
  for _, a in ipairs { array.zeros(7, 3), array.zeros(7, 2, 3), array.zeros(3, 7).T, array.zeros(7, 4, 4)[{ {}, { 1, 4, 2 }, { 2, 3 } }],
    array.zeros(7, 3, { dtype = "uint8" }), array.zeros(7, 1) } do
    rows(a)
    lu.assertIs(random.generator(9):shuffle(a), a)
    for i = 1, 7 do
      lu.assertEquals({ a[i]:min(), a[i]:max() }, { expected[i], expected[i] })
    end
  end
  local m = array.from { { 1, 2, 3 }, { 4, 5, 6 } }
  random.generator(2):shuffle(m[2]) -- a row is an array too
  lu.assertEquals(m[1]:totable(), { 1, 2, 3 })
  lu.assertEquals(m[2]:sum(), 15)
end

function TestRandom:test_choice()
  local rng = random.generator(21)
  local list = { "a", "b", "c" }
  local seen = {}
  for _ = 1, 100 do
    seen[rng:choice(list)] = true
    local k = rng:choice(5)
    lu.assertTrue(k >= 1 and k <= 5)
  end
  lu.assertEquals(seen, { a = true, b = true, c = true })
  lu.assertEquals(#rng:choice(list, { shape = 7 }), 7)
  lu.assertEquals(rng:choice(10, { shape = { 2, 3 } }).shape, { 2, 3 })
  lu.assertEquals(random.generator(2):choice(10, { shape = 20 }):totable(),
    random.generator(2):integers(1, 10, { shape = 20 }):totable())
  -- Entries of an array along its first axis.
  local m = array.from { { 1, 10 }, { 2, 20 }, { 3, 30 } }
  local chosen = rng:choice(m, { shape = 50 })
  lu.assertEquals(chosen.shape, { 50, 2 })
  lu.assertTrue(array.equal(chosen[{ {}, 1 }] * 10, chosen[{ {}, 2 }]))
  local v = array.from { 5, 6, 7 }
  lu.assertTrue(rng:choice(v) >= 5)
  lu.assertEquals(rng:choice(v, { shape = 4 }).shape, { 4 })
  -- Without replacement: no entry twice, and every one as likely at every place; few of many and many of few.
  for _, case in ipairs { { 20, 20 }, { 20, 1 }, { 1000, 5 }, { 1000, 600 } } do
    local n, k = case[1], case[2]
    local all = {}
    for _, x in ipairs(rng:choice(n, { shape = k, replace = false }):totable()) do
      lu.assertTrue(x >= 1 and x <= n)
      lu.assertNil(all[x])
      all[x] = true
    end
  end
  lu.assertEquals(random.generator(4):choice(10 ^ 12, { shape = 3, replace = false }).size, 3)
  local firsts = {}
  for _ = 1, 6000 do
    local pair = rng:choice(3, { shape = 2, replace = false })
    local key = pair[1] * 10 + pair[2]
    firsts[key] = (firsts[key] or 0) + 1
  end
  local chi = 0
  for _, count in pairs(firsts) do
    chi = chi + (count - 1000) ^ 2 / 1000
  end
  lu.assertTrue(chi < 30)
  -- Weights, which need not sum to 1.
  local n, weights = 40000, { 1, 0, 2, 5 }
  local counts = tally(rng:choice(4, { shape = n, p = weights }))
  lu.assertNil(counts[2])
  chi = 0
  for k, w in ipairs(weights) do
    if w > 0 then
      chi = chi + (counts[k] - n * w / 8) ^ 2 / (n * w / 8)
    end
  end
  lu.assertTrue(chi < 25)
  -- Weights without replacement: the first as with it, then the same among the rest.
  local first, second = {}, {}
  for _ = 1, 8000 do
    local pair = rng:choice(4, { shape = 2, replace = false, p = array.from(weights) })
    first[pair[1]] = (first[pair[1]] or 0) + 1
    if pair[1] == 4 then
      second[pair[2]] = (second[pair[2]] or 0) + 1
    end
  end
  lu.assertAlmostEquals(first[4], 5000, 5 * math.sqrt(8000 * 5 / 8 * 3 / 8))
  lu.assertAlmostEquals(second[3] / first[4], 2 / 3, 5 * math.sqrt(2 / 9 / 5000))
  lu.assertNil(first[2])
end

function TestRandom:test_shuffle()
  local list, rng = {}, random.generator(8)
  for i = 1, 100 do
    list[i] = i
  end
  lu.assertIs(rng:shuffle(list), list)
  local next_draw = rng:uniform()
  for _, dtype in ipairs { "int32", "float64", "uint8" } do
    local again = random.generator(8)
    lu.assertEquals(again:shuffle(array.range(1, 100):astype(dtype)):totable(), list)
    lu.assertEquals(again:uniform(), next_draw)
  end
  local strided = array.zeros(100, 2)
  strided[{ {}, 2 }] = array.range(1, 100)
  random.generator(8):shuffle(strided[{ {}, 2 }])
  lu.assertEquals(strided[{ {}, 2 }]:totable(), list)
  lu.assertEquals(strided[{ {}, 1 }]:sum(), 0)
  table.sort(list)
  for i = 1, 100 do
    lu.assertEquals(list[i], i)
  end
  lu.assertEquals(rng:shuffle({}), {})
end

function TestRandom:test_errors_name_what_is_legal()
  local rng = random.generator(1)
  local function fails(message, ...)
    lu.assertErrorMsgContains(message, ...)
  end
  fails("the seed must be an integer from 0 to 2^53, got -1", random.generator, -1)
  fails("the seed must be an integer", random.generator, 0.5)
  fails("the seed must be an integer", random.generator)
  fails("low < high, got 2 and 1", rng.uniform, rng, 2, 1)
  fails("low < high", rng.uniform, rng, 0, 0 / 0)
  fails("low < high", rng.uniform, rng, 1, math.huge, { shape = 3 })
  fails("low < high", rng.uniform, rng, 1, { shape = 3 })
  fails("two integers with low <= high", rng.integers, rng, 1, 2.5)
  fails("two integers with low <= high", rng.integers, rng, 1)
  fails("uint8 does not hold all integers from 0 to 256", rng.integers, rng, 0, 256, { shape = 3, dtype = "uint8" })
  fails("integers: the dtype must be one of", rng.integers, rng, 0, 1, { shape = 3, dtype = "complex64" })
  fails("normal: the dtype must be one of float64, float32; got int32", rng.normal, rng, { shape = 3, dtype = "int32" })
  fails("the deviation not negative", rng.normal, rng, 0, -1)
  fails("exponential: the scale must be", rng.exponential, rng, -1)
  fails("gamma: shape and scale must be", rng.gamma, rng)
  fails("poisson: the mean must be a number from 0 to 1e15, got -1", rng.poisson, rng, -1)
  fails("int32 does not hold all results", rng.poisson, rng, 2 ^ 31, { shape = 3, dtype = "int32" })
  fails("binomial: the number of trials", rng.binomial, rng, 2.5, 0.5)
  fails("binomial: the probability must be a number from 0 to 1, got 1.5", rng.binomial, rng, 2, 1.5)
  fails("float32 has too few numbers", rng.uniform, rng, 1e9, 1e9 + 1, { shape = 3, dtype = "float32" })
  fails("uniform: unknown option 'size'; legal are: dtype, out, shape", rng.uniform, rng, { size = 3 })
  fails("the options need a shape", rng.uniform, rng, { dtype = "float32" })
  fails("leave out the options shape and dtype", rng.uniform, rng, { out = array.zeros(3), shape = 3 })
  fails("read-only", rng.uniform, rng, { out = array.zeros(3):as_readonly() })
  fails("call it on a generator, as in rng:uniform(...)", rng.uniform)
  fails("write rng:normal()", function() return rng:randn(3) end)
  fails("it has uniform, integers", function() return rng:weibull(3) end)
  fails("0 dimensions", rng.shuffle, rng, array.full({}, 1))
  fails("read-only", rng.shuffle, rng, array.zeros(3):as_readonly())
  local released = array.zeros(3)
  released:release()
  fails("was released", rng.shuffle, rng, released)
  fails("shuffle takes a list or an array, got 3", rng.shuffle, rng, 3)
  fails("a shape is", rng.uniform, rng, { shape = "x" })
  fails("4 entries are wanted without replacement from 3", rng.choice, rng, 3, { shape = 4, replace = false })
  fails("nothing to choose from", rng.choice, rng, {})
  fails("one weight for each of the 3 entries", rng.choice, rng, 3, { p = { 1, 2 } })
  fails("weight 2 is -1", rng.choice, rng, 3, { p = { 1, -1, 2 } })
  fails("a positive, finite sum", rng.choice, rng, 2, { p = { 0, 0 } })
  fails("only 1 have a positive weight", rng.choice, rng, 3, { shape = 2, replace = false, p = { 0, 1, 0 } })
  fails("permutation: a number of entries", rng.permutation, rng, -1)
end

os.exit(lu.LuaUnit.run(), true)
