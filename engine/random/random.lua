-- pg.random: reproducible random numbers from Philox4x32-10. A generator's numbers depend on its seed and on how many
-- draws came before, and on nothing else: an array of n numbers holds what n single draws would give, whatever the
-- number of threads that fill it.
local core = ...
local C, ffi = core.C, core.ffi
local floor, type = math.floor, type

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

-- ------------------------------------------------------------------------------------------------ distributions ------
-- enum pg_distribution
local UNIFORM, INTEGERS, NORMAL, EXPONENTIAL, GAMMA, POISSON, BINOMIAL = 0, 1, 2, 3, 4, 5, 6

local floats = { "float64", "float32" }
local counts = { "int64", "int32", "float64", "float32" }

local int64, uint64 = ffi.typeof("int64_t"), ffi.typeof("uint64_t")

-- What each dtype holds of the integers, as numbers; int64 and uint64 hold cdata integers (5LL, 5ULL) beyond them.
local holds = {
  bool = { 0, 1 },
  int8 = { -128, 127 },
  int16 = { -2 ^ 15, 2 ^ 15 - 1 },
  int32 = { -2 ^ 31, 2 ^ 31 - 1 },
  uint8 = { 0, 255 },
  uint16 = { 0, 2 ^ 16 - 1 },
  uint32 = { 0, 2 ^ 32 - 1 },
  float32 = { -2 ^ 24, 2 ^ 24 },
  float64 = { -exact, exact },
}
local any_integers = { "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool", "float64",
  "float32" }

local known_options = { shape = true, dtype = true, out = true }

local function is_contiguous(a)
  local stride = 1
  for d = a._ndim - 1, 0, -1 do
    if a._shape[d] ~= 1 and a._strides[d] ~= stride then
      return false
    end
    stride = stride * a._shape[d]
  end
  return true
end

-- Of numbers and of cdata integers, which compare as uint64 where one of them is.
local function is_negative(x)
  return not ffi.istype(uint64, x) and x < 0
end

local function is_at_most(a, b)
  if is_negative(a) ~= is_negative(b) then
    return is_negative(a)
  elseif type(a) == "number" and type(b) == "number" then
    return a <= b
  end
  return uint64(int64(a)) <= uint64(int64(b)) -- both positive or both negative, so two's complement keeps the order
end

local function is_bound(x)
  return is_integer(x) or ffi.istype(int64, x) or ffi.istype(uint64, x)
end

local function show_integer(x)
  return type(x) == "number" and string.format("%.0f", x) or (tostring(x):gsub("U?LL$", ""))
end

local function holds_range(dtype, low, high)
  if dtype == "uint64" then
    return not is_negative(low)
  elseif dtype == "int64" then
    return is_at_most(high, 0x7fffffffffffffffLL)
  end
  return is_at_most(holds[dtype][1], low) and is_at_most(high, holds[dtype][2])
end

-- The array that the options describe, filled; its first legal dtype unless they name another.
local function fill(g, name, options, legal, distribution, a, b)
  local array = core.require("array")
  local kit = array._kit
  kit.check_options(name, options, known_options)
  local dtype, out, temporary = options.dtype, options.out, nil
  if out ~= nil then
    if options.shape ~= nil or dtype ~= nil then
      core.fail("%s: an array given as out has its shape and dtype; leave out the options shape and dtype", name)
    end
    out = kit.need_array(name .. ": out", out)
    kit.check_alive(out)
    if out._flags % 2 == 1 then -- PG_ARRAY_READONLY
      kit.read_only()
    end
    dtype = out.dtype
  elseif options.shape == nil then
    core.fail("%s: the options need a shape, as in {shape = {2, 3}}", name)
  end
  local known = dtype == nil
  for i = 1, #legal do
    known = known or dtype == legal[i]
  end
  if not known then
    core.fail("%s: the dtype must be one of %s; got %s", name, table.concat(legal, ", "), show(dtype))
  end
  dtype = dtype or legal[1]
  if distribution == INTEGERS and not holds_range(dtype, a, b) then
    core.fail("%s: %s does not hold all integers from %s to %s", name, dtype, show_integer(a), show_integer(b))
  elseif dtype == "int32" and (distribution == POISSON and a > 2 ^ 30 or distribution == BINOMIAL and a >= 2 ^ 31) then
    core.fail("%s: int32 does not hold all results; use int64", name)
  elseif dtype == "float32" and distribution == UNIFORM and b - a < 2 ^ -20 * math.max(math.abs(a), math.abs(b)) then
    core.fail("%s: float32 has too few numbers from %s to %s; use float64", name, show(a), show(b))
  elseif dtype == "float32" and distribution == UNIFORM and math.max(math.abs(a), math.abs(b)) > 3e38 then
    core.fail("%s: float32 does not hold numbers from %s to %s; use float64", name, show(a), show(b))
  end
  if out == nil then
    temporary = array.empty(options.shape, { dtype = dtype })
  elseif is_contiguous(out) then
    temporary = out
  else
    temporary = array.empty(out.shape, { dtype = dtype })
  end
  if distribution == INTEGERS then
    core.check(C.pg_random_integers(g, temporary, a, b))
  else
    core.check(C.pg_random_fill(g, temporary, distribution, a, b))
  end
  if out == nil then
    return temporary
  elseif temporary ~= out then
    core.check(C.pg_array_assign(out, temporary))
  end
  return options.out
end

-- Moves a table of options that stands in place of a left-out parameter to its own.
local function options_last(a, b, options)
  if type(a) == "table" then
    return nil, nil, a
  elseif type(b) == "table" then
    return a, nil, b
  end
  return a, b, options
end

local function check_uniform(low, high)
  if not (is_number(low) and is_number(high) and low < high and is_number(high - low)) then
    core.fail("uniform: the range needs two finite numbers with low < high, got %s and %s", show(low), show(high))
  end
end

-- rng:uniform([low, high] [, options]) -> a number in [low, high), by default [0, 1). Multiples of 2^-53, scaled.
function methods.uniform(g, low, high, options)
  check_self("uniform", g)
  if low == nil and high == nil and options == nil then
    local index = g._next
    if index == 64 then
      C.pg_random_refill(g)
      index = 0
    end
    g._next = index + 1
    return g._uniform[index]
  end
  low, high, options = options_last(low, high, options)
  if low == nil and high == nil then
    low, high = 0, 1
  end
  check_uniform(low, high)
  if options then
    return fill(g, "uniform", options, floats, UNIFORM, low, high)
  end
  return C.pg_random_draw(g, UNIFORM, low, high)
end

-- rng:integers(low, high [, options]) -> an integer in [low, high], both included, each equally likely. Bounds beyond
-- 2^53 are cdata integers (-9223372036854775808LL, 18446744073709551615ULL); then a single draw is cdata too.
function methods.integers(g, low, high, options)
  check_self("integers", g)
  if not (is_integer(low) and is_integer(high) and low <= high) and not (is_bound(low) and is_bound(high) and
      is_at_most(low, high)) then
    core.fail("integers: the range needs two integers with low <= high, between -2^53 and 2^53 (or cdata such as "
      .. "9223372036854775807LL), got %s and %s", show(low), show(high))
  end
  if options then
    return fill(g, "integers", options, any_integers, INTEGERS, low, high)
  elseif type(low) == "number" and type(high) == "number" then
    return C.pg_random_draw(g, INTEGERS, low, high)
  end
  local dtype = holds_range("int64", low, high) and "int64" or "uint64"
  local one = fill(g, "integers", { shape = 1, dtype = dtype }, any_integers, INTEGERS, low, high)
  return one[dtype](one, 1)
end

-- rng:normal([mean, deviation] [, options]) -> a normally distributed number, by default with mean 0 and deviation 1.
function methods.normal(g, mean, deviation, options)
  check_self("normal", g)
  mean, deviation, options = options_last(mean, deviation, options)
  mean, deviation = mean == nil and 0 or mean, deviation == nil and 1 or deviation
  if not (is_number(mean) and is_number(deviation) and deviation >= 0) then
    core.fail("normal: mean and deviation must be finite numbers, the deviation not negative; got %s and %s", show(mean),
      show(deviation))
  end
  if options then
    return fill(g, "normal", options, floats, NORMAL, mean, deviation)
  end
  return C.pg_random_draw(g, NORMAL, mean, deviation)
end

-- rng:exponential([scale] [, options]) -> an exponentially distributed number with mean `scale`, by default 1.
function methods.exponential(g, scale, options)
  check_self("exponential", g)
  if type(scale) == "table" then
    scale, options = nil, scale
  end
  scale = scale == nil and 1 or scale
  if not (is_number(scale) and scale >= 0) then
    core.fail("exponential: the scale must be a finite number, 0 or more, got %s", show(scale))
  end
  if options then
    return fill(g, "exponential", options, floats, EXPONENTIAL, scale, 0)
  end
  return C.pg_random_draw(g, EXPONENTIAL, scale, 0)
end

-- rng:gamma(k [, scale] [, options]) -> a gamma-distributed number of shape k and scale 1 or `scale`; its mean is their
-- product.
function methods.gamma(g, k, scale, options)
  check_self("gamma", g)
  if type(scale) == "table" then
    scale, options = nil, scale
  end
  scale = scale == nil and 1 or scale
  if not (is_number(k) and is_number(scale) and k >= 0 and scale >= 0) then
    core.fail("gamma: shape and scale must be finite numbers, 0 or more, got %s and %s", show(k), show(scale))
  end
  if options then
    return fill(g, "gamma", options, floats, GAMMA, k, scale)
  end
  return C.pg_random_draw(g, GAMMA, k, scale)
end

-- rng:poisson([mean] [, options]) -> how many events happen where `mean` (by default 1) are expected.
function methods.poisson(g, mean, options)
  check_self("poisson", g)
  if type(mean) == "table" then
    mean, options = nil, mean
  end
  mean = mean == nil and 1 or mean
  if not (is_number(mean) and mean >= 0 and mean <= 1e15) then
    core.fail("poisson: the mean must be a number from 0 to 1e15, got %s", show(mean))
  end
  if options then
    return fill(g, "poisson", options, counts, POISSON, mean, 0)
  end
  return C.pg_random_draw(g, POISSON, mean, 0)
end

-- rng:binomial(n, p [, options]) -> how many of n trials succeed, each with probability p.
function methods.binomial(g, n, p, options)
  check_self("binomial", g)
  if not (is_integer(n) and n >= 0) then
    core.fail("binomial: the number of trials must be an integer from 0 to 2^53, got %s", show(n))
  elseif not (is_number(p) and p >= 0 and p <= 1) then
    core.fail("binomial: the probability must be a number from 0 to 1, got %s", show(p))
  end
  if options then
    return fill(g, "binomial", options, counts, BINOMIAL, n, p)
  end
  return C.pg_random_draw(g, BINOMIAL, n, p)
end

-- --------------------------------------------------------------------------------------------- orders and choices ----
local function shuffle_list(g, x)
  for last = #x, 2, -1 do
    local other = C.pg_random_draw(g, INTEGERS, 1, last)
    x[last], x[other] = x[other], x[last]
  end
  return x
end

-- rng:shuffle(x) -> x, a list or an array, whose entries (along the first axis) it puts in random order, in place. A list
-- and an array of the same length are permuted alike.
function methods.shuffle(g, x)
  check_self("shuffle", g)
  if type(x) == "table" then
    return shuffle_list(g, x)
  end
  local kit = core.require("array")._kit
  local a = kit.as_array(x)
  if not a then
    core.fail("shuffle takes a list or an array, got %s", kit.kind_of(x))
  end
  kit.check_alive(a)
  core.check(C.pg_random_shuffle(g, a))
  return x
end

local function is_count(n)
  return is_integer(n) and n >= 0
end

-- rng:permutation(n) -> int64 array of 1 to n in random order; rng:permutation(x) -> a shuffled copy of a list or array.
function methods.permutation(g, x)
  check_self("permutation", g)
  local array = core.require("array")
  if type(x) == "number" then
    if not is_count(x) then
      core.fail("permutation: a number of entries is an integer, 0 or more, got %s", show(x))
    end
    local out = array.empty(x, { dtype = "int64" })
    core.check(C.pg_random_permutation(g, out))
    return out
  elseif type(x) == "table" then
    local copy = {}
    for i = 1, #x do
      copy[i] = x[i]
    end
    return shuffle_list(g, copy)
  elseif not array.is(x) then
    core.fail("permutation takes a number, a list or an array, got %s", array._kit.kind_of(x))
  end
  return methods.shuffle(g, x:copy())
end

local choice_options = { shape = true, replace = true, p = true }

-- int64 array of places, 1 to n.
local function places(g, n, shape, replace, weights)
  local array = core.require("array")
  local out = array.empty(shape, { dtype = "int64" })
  if n == 0 and out._size > 0 then
    core.fail("choice: there is nothing to choose from")
  elseif not replace and out._size > n then
    core.fail("choice: %d entries are wanted without replacement from %d; allow repetitions with {replace = true}",
      tonumber(out._size), n)
  end
  if weights ~= nil then
    weights = type(weights) == "table" and array.from(weights) or array._kit.need_array("choice: p", weights)
    array._kit.check_alive(weights)
    if weights._ndim ~= 1 or weights._size ~= n then
      core.fail("choice: p needs one weight for each of the %d entries, got an array of %d dimension(s) and %d elements", n,
        weights._ndim, tonumber(weights._size))
    end
    weights = weights:astype("float64")
    core.check(C.pg_random_choose(g, out, weights, replace and 1 or 0))
  elseif replace then
    if n > 0 then
      core.check(C.pg_random_fill(g, out, INTEGERS, 1, n))
    end
  else
    core.check(C.pg_random_sample(g, out, n))
  end
  return out
end

-- rng:choice(x [, options]) -> one entry of x (a list, an array along its first axis, or 1 to x if it is a number), or
-- with {shape = s} that many. replace = false: no entry twice; p: a weight for each entry.
function methods.choice(g, x, options)
  check_self("choice", g)
  local array = core.require("array")
  local kit = array._kit
  options = options or {}
  if type(options) ~= "table" then
    core.fail("choice: options are a table such as {shape = 3}, got %s", kit.kind_of(options))
  end
  kit.check_options("choice", options, choice_options)
  local replace = options.replace
  if replace == nil then
    replace = true
  elseif type(replace) ~= "boolean" then
    core.fail("choice: replace is true or false, got %s", kit.kind_of(replace))
  end
  local n
  if type(x) == "number" then
    if not is_count(x) then
      core.fail("choice: a number of entries is an integer, 0 or more, got %s", show(x))
    end
    n = x
  elseif type(x) == "table" or array.is(x) then
    n = #x
  else
    core.fail("choice takes a number, a list or an array, got %s", kit.kind_of(x))
  end
  local chosen = places(g, n, options.shape == nil and 1 or options.shape, replace, options.p)
  if options.shape == nil then
    local place = chosen[1]
    return type(x) == "number" and place or x[place]
  elseif type(x) == "number" then
    return chosen
  elseif type(x) == "table" then
    if chosen._ndim ~= 1 then
      core.fail("choice: from a list comes a list, so the shape is a number; got %d dimensions", chosen._ndim)
    end
    local list = {}
    for i = 1, #chosen do
      list[i] = x[chosen[i]]
    end
    return list
  end
  return x[chosen]
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

-- Names that scripts may look for.
local elsewhere = {
  integer = "integers(low, high)", random = "uniform()", randint = "integers(low, high)", rand = "uniform()",
  randn = "normal()", standard_normal = "normal()", standard_exponential = "exponential()", sample = "choice(x)",
  uniform_array = "uniform(low, high, {shape = s})", normal_array = "normal(mean, deviation, {shape = s})",
  integer_array = "integers(low, high, {shape = s})",
}
random._methods = methods -- for tests/lua/annotations.lua

-- random.uniform()
function random._missing(key)
  local hint = rawget(methods, key) and key or elsewhere[key] and elsewhere[key]:match("^%w+")
  return hint and ("; generators have it: random.generator(seed):%s(...)"):format(hint) or
    core.did_you_mean(key, random, methods)
end

setmetatable(methods, {
  __index = function(_, name)
    if elsewhere[name] then
      core.fail("a generator has no '%s'; write rng:%s", name, elsewhere[name])
    end
    core.fail("a generator has no '%s'; it has uniform, integers, normal, exponential, gamma, poisson, binomial, choice, "
      .. "shuffle, permutation and stream", show(name))
  end,
})

ffi.metatype(generator_type, {
  __index = methods,
  __tostring = function()
    return "random generator (Philox4x32-10)"
  end,
})

return random
