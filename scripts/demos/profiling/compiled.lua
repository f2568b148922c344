-- Why is my loop slow? What the JIT compiler did with each loop, and what kept it from compiling one.
-- Run me: perigee run scripts/demos/profiling/compiled.lua
local pg = require "perigee"

local function sum_of_squares(n)
  local sum = 0
  for i = 1, n do
    sum = sum + i * i
  end
  return sum
end

local function makers(n)
  local list = {}
  for i = 1, n do
    list[i] = function() return i end
  end
  return #list
end

print(pg.profiler.jit(function()
  for _ = 1, 100 do
    sum_of_squares(1000)
    makers(1000)
  end
end))

-- What the compiler is worth here, by turns.
print()
local function interpreted(n)
  local sum = 0
  for i = 1, n do
    sum = sum + i * i
  end
  return sum
end
pg.jit("off", interpreted)
pg.bench.compare({
  compiled = function() return sum_of_squares(10000) end,
  interpreted = function() return interpreted(10000) end,
}, { seconds = 0.3, baseline = "interpreted" })
