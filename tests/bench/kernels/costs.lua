-- What compiling and calling cost: "first SECONDS cached SECONDS call SECONDS". PERIGEE_CACHE names a folder of this run's.
local pg = require "perigee"
local kernel, array, timer = pg.kernel, pg.array, pg.timer

-- LLVM is loaded by another kernel.
kernel.jit(function(x) return x end)(1)

-- Twenty lines, of which `n` makes each its own.
local function source(n)
  return ([[
return function(x, y, a)
  local total, largest = 0.0, x[1]
  for i = 1, #x do
    local v = x[i]
    if v > largest then
      largest = v
    end
    total = total + v * a
  end
  local mean = total / #x
  for i = 2, #x - 1 do
    local left, right = x[i - 1], x[i + 1]
    y[i] = 0.5 * x[i] + 0.25 * (left + right) - mean
    if y[i] < 0 then
      y[i] = %d
    end
  end
  y[1], y[#y] = 0, math.sqrt(largest)
  return total, largest
end]]):format(n)
end

local function first_call(n)
  local k = kernel.jit(load(source(n), "costs " .. n)(), { cache = true })
  local x, y = array.ones(100), array.zeros(100)
  local start = timer.now()
  k(x, y, 2)
  return timer.now() - start, k:specializations()[1].cached
end

local first, cached = math.huge, math.huge
for n = 1, 5 do
  local seconds, from_cache = first_call(n)
  assert(not from_cache, "the cache is not empty: set PERIGEE_CACHE to a new folder")
  first = math.min(first, seconds)
end
for n = 1, 5 do
  local seconds, from_cache = first_call(n)
  assert(from_cache)
  cached = math.min(cached, seconds)
end

local k = kernel.jit(function(x, y, a) y[1] = a * x[1] end)
local x, y, call = array.ones(2), array.zeros(2), math.huge
for _ = 1, 20 do
  local start = timer.now()
  for i = 1, 1e5 do
    k(x, y, i)
  end
  call = math.min(call, (timer.now() - start) / 1e5)
end
print(string.format("first %.9f cached %.9f call %.9g", first, cached, call))
