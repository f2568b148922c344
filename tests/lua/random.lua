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
  lu.assertEquals(random.generator(0):integer(0, 2 ^ 32 - 1), 0xe169c58d)
  lu.assertEquals(random._keyed(0, 0, 0, 0):uniform(), random.generator(0):uniform())
end

-- The same numbers whatever the batching, and whatever kinds of draws are mixed.
local function draws(rng, kind, count)
  local out = {}
  for i = 1, count do
    out[i] = kind == "uniform" and rng:uniform() or kind == "range" and rng:uniform(-3, 5) or kind == "normal" and
      rng:normal() or kind == "scaled" and rng:normal(3, 0.5) or rng:integer(-5, 1000)
  end
  return out
end

local function batch(rng, kind, count)
  if kind == "uniform" then
    return rng:uniform_array(count):totable()
  elseif kind == "range" then
    return rng:uniform_array({ count }, -3, 5):totable()
  elseif kind == "normal" then
    return rng:normal_array(count):totable()
  elseif kind == "scaled" then
    return rng:normal_array({ count }, 3, 0.5):totable()
  end
  return rng:integer_array(count, -5, 1000):totable()
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

function TestRandom:test_shape_and_dtype()
  local rng = random.generator(1)
  local a = rng:uniform_array({ 3, 4 }, 10, 11)
  lu.assertEquals(a.shape, { 3, 4 })
  lu.assertEquals(a.dtype, "float64")
  lu.assertTrue(a:min() >= 10 and a:max() < 11)
  lu.assertEquals(rng:integer_array(5, 1, 6).dtype, "int64")
  for _, dtype in ipairs { "uint8", "int32", "int64", "float32", "float64" } do
    local b = rng:integer_array({ 2, 500 }, 1, 6, dtype)
    lu.assertEquals(b.dtype, dtype)
    lu.assertEquals(b:min(), 1)
    lu.assertEquals(b:max(), 6)
  end
end

function TestRandom:test_integers_are_unbiased()
  -- Chi-squared with 5 degrees of freedom; 30 has probability 1.5e-5, and the seed is fixed.
  local rng, count, n = random.generator(2026), { 0, 0, 0, 0, 0, 0 }, 60000
  for _ = 1, n do
    local k = rng:integer(1, 6)
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
    local k = rng:integer(-2 ^ 53, 2 ^ 53)
    low, high = math.min(low, k), math.max(high, k)
  end
  lu.assertTrue(low < -0.99 * 2 ^ 53 and low >= -2 ^ 53)
  lu.assertTrue(high > 0.99 * 2 ^ 53 and high <= 2 ^ 53)
  lu.assertEquals(rng:integer(5, 5), 5)
end

function TestRandom:test_moments()
  local rng, n = random.generator(11), 200000
  local u, z = rng:uniform_array(n), rng:normal_array(n)
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
  rng:uniform_array(1000)
  lu.assertEquals(rng:stream(3):uniform(), before) -- does not depend on the position
  local seen = {}
  for _, g in ipairs { rng:stream(0), rng:stream(1), rng:stream(2 ^ 40), rng:stream(0):stream(0), random.generator(5),
    random.generator(6), random._keyed(5, 0, 1, 0), random._keyed(5, 0, 0, 1) } do
    local u = g:uniform()
    lu.assertNil(seen[u])
    seen[u] = true
  end
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
  fails("low < high", rng.uniform_array, rng, 3, 1, math.huge)
  fails("two integers between", rng.integer, rng, 1, 2.5)
  fails("two integers between", rng.integer, rng, 1)
  fails("uint8 does not hold all integers from 0 to 256", rng.integer_array, rng, 3, 0, 256, "uint8")
  fails("the dtype must be", rng.integer_array, rng, 3, 0, 1, "bool")
  fails("the deviation not negative", rng.normal, rng, 0, -1)
  fails("call it on a generator, as in rng:uniform(...)", rng.uniform)
  fails("1 dimension, got 2 dimensions", rng.shuffle, rng, array.zeros(2, 2))
  fails("read-only", rng.shuffle, rng, array.zeros(3):as_readonly())
  local released = array.zeros(3)
  released:release()
  fails("was released", rng.shuffle, rng, released)
  fails("a row of an array", rng.shuffle, rng, array.zeros(2, 2)[1])
  fails("got number", rng.shuffle, rng, 3)
  fails("a shape is", rng.uniform_array, rng, "x")
end

os.exit(lu.LuaUnit.run())
