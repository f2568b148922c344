-- pg.random: reproducible random numbers from Philox4x32-10. A generator's numbers depend on its seed and on how many
-- draws came before, and on nothing else: an array of n numbers holds what n single draws would give.
local core = ...
local C, ffi = core.C, core.ffi
local floor = math.floor

local random = {}
local methods = {}

local exact = 2 ^ 53 -- integers up to here are exact Lua numbers

local function is_number(x)
  return type(x) == "number" and x == x and x ~= math.huge and x ~= -math.huge
end

local function is_integer(x)
  return type(x) == "number" and floor(x) == x and x >= -exact and x <= exact
end

local show = tostring

local function check_range(name, low, high)
  if not (is_number(low) and is_number(high) and low < high and is_number(high - low)) then
    core.fail("%s: the range needs two finite numbers with low < high, got %s and %s", name, show(low), show(high))
  end
end

local function check_integers(name, low, high)
  if not (is_integer(low) and is_integer(high) and low <= high) then
    core.fail("%s: the range needs two integers between -2^53 and 2^53 with low <= high, got %s and %s", name, show(low),
      show(high))
  end
end

local function check_normal(name, mean, deviation)
  if not (is_number(mean) and is_number(deviation) and deviation >= 0) then
    core.fail("%s: mean and deviation must be finite numbers, the deviation not negative; got %s and %s", name, show(mean),
      show(deviation))
  end
end

local generator_type = ffi.typeof("pg_random")

local function check_self(name, g)
  if not ffi.istype(generator_type, g) then
    core.fail("%s: call it on a generator, as in rng:%s(...)", name, name)
  end
end

-- random.generator(seed): the same seed, an integer from 0 to 2^53, gives the same numbers on every machine.
function random.generator(seed)
  if not is_integer(seed) or seed < 0 then
    core.fail("random.generator: the seed must be an integer from 0 to 2^53, got %s", show(seed))
  end
  local g = generator_type()
  C.pg_random_init(g, seed % 2 ^ 32, floor(seed / 2 ^ 32), 0, 0)
  return g
end

-- For the grader: a generator with a 128-bit key, as four integers from 0 to 2^32 - 1.
function random._keyed(k0, k1, k2, k3)
  local g = generator_type()
  C.pg_random_init(g, k0, k1, k2, k3)
  return g
end

-- rng:uniform([low, high]) -> a float64 in [low, high), by default [0, 1). Multiples of 2^-53, scaled.
function methods.uniform(g, low, high)
  check_self("uniform", g)
  if low == nil and high == nil then
    local index = g._next
    if index == 64 then
      C.pg_random_refill(g)
      index = 0
    end
    g._next = index + 1
    return g._uniform[index]
  end
  check_range("uniform", low, high)
  return C.pg_random_uniform(g, low, high)
end

-- rng:integer(low, high) -> an integer in [low, high], both included, each equally likely.
function methods.integer(g, low, high)
  check_self("integer", g)
  check_integers("integer", low, high)
  return C.pg_random_integer(g, low, high)
end

-- rng:normal([mean, deviation]) -> a normally distributed number, by default with mean 0 and deviation 1.
function methods.normal(g, mean, deviation)
  check_self("normal", g)
  if mean == nil and deviation == nil then
    return C.pg_random_normal(g, 0, 1)
  end
  check_normal("normal", mean, deviation)
  return C.pg_random_normal(g, mean, deviation)
end

local function new_array(shape, dtype)
  return core.require("array").empty(shape, { dtype = dtype })
end

-- rng:uniform_array(shape [, low, high]) -> float64 array of numbers in [low, high). shape: a number or a table.
function methods.uniform_array(g, shape, low, high)
  check_self("uniform_array", g)
  if low == nil and high == nil then
    low, high = 0, 1
  end
  check_range("uniform_array", low, high)
  local a = new_array(shape, "float64")
  core.check(C.pg_random_fill_uniform(g, a, low, high))
  return a
end

-- What each dtype holds of the integers.
local holds = {
  uint8 = { 0, 255 },
  int32 = { -2 ^ 31, 2 ^ 31 - 1 },
  int64 = { -exact, exact },
  float32 = { -2 ^ 24, 2 ^ 24 },
  float64 = { -exact, exact },
}

-- rng:integer_array(shape, low, high [, dtype]) -> array of integers in [low, high], int64 unless dtype says otherwise
-- ("uint8", "int32", "int64", "float32", "float64").
function methods.integer_array(g, shape, low, high, dtype)
  check_self("integer_array", g)
  check_integers("integer_array", low, high)
  dtype = dtype == nil and "int64" or dtype
  local limits = holds[dtype]
  if not limits then
    core.fail("integer_array: the dtype must be uint8, int32, int64, float32 or float64, got %s", show(dtype))
  end
  if low < limits[1] or high > limits[2] then
    core.fail("integer_array: %s does not hold all integers from %.0f to %.0f", dtype, low, high)
  end
  local a = new_array(shape, dtype)
  core.check(C.pg_random_fill_integer(g, a, low, high))
  return a
end

-- rng:normal_array(shape [, mean, deviation]) -> float64 array of normally distributed numbers.
function methods.normal_array(g, shape, mean, deviation)
  check_self("normal_array", g)
  if mean == nil and deviation == nil then
    mean, deviation = 0, 1
  end
  check_normal("normal_array", mean, deviation)
  local a = new_array(shape, "float64")
  core.check(C.pg_random_fill_normal(g, a, mean, deviation))
  return a
end

-- rng:shuffle(x) -> x, a list or an array of 1 dimension, in random order; works in place. A list and an array of the
-- same length are permuted alike.
function methods.shuffle(g, x)
  check_self("shuffle", g)
  if type(x) == "table" then
    for last = #x, 2, -1 do
      local other = C.pg_random_integer(g, 1, last)
      x[last], x[other] = x[other], x[last]
    end
    return x
  end
  if not ffi.istype("pg_array", x) then
    core.fail("shuffle takes a list or an array of 1 dimension, got %s", ffi.istype("pg_row", x) and
      "a row of an array (shuffle a copy of it)" or type(x))
  end
  if x._block == nil and x._data == nil then
    core.fail("shuffle: this array was released and has no elements any more")
  end
  core.check(C.pg_random_shuffle(g, x))
  return x
end

-- rng:stream(k) -> another generator, independent of this one and of its other streams: one for each thread, rank or
-- task. k: an integer from 0 to 2^53. It depends on this generator's seed and on k, not on what was drawn before.
function methods.stream(g, k)
  check_self("stream", g)
  if not is_integer(k) or k < 0 then
    core.fail("stream: the stream's number must be an integer from 0 to 2^53, got %s", show(k))
  end
  local stream = generator_type()
  C.pg_random_stream(g, k, stream)
  return stream
end

ffi.metatype(generator_type, {
  __index = methods,
  __tostring = function()
    return "random generator (Philox4x32-10)"
  end,
})

return random
