-- One program under a profiler or without: perigee run --trusted program.lua MODE. Prints "seconds CPU-TIME" of the work.
local pg = require "perigee"
local profiler, timer, array = pg.profiler, pg.timer, pg.array
local mode = ...

-- Compiled work: numbers, tables, strings.
local function mixed()
  local t, x = {}, 0
  for _ = 1, 10 do
    for i = 1, 3000000 do
      x = x + math.sqrt(i) * (i % 7)
      t[i % 1000 + 1] = x
    end
    for i = 1, 200000 do
      t[i % 1000 + 1] = tostring(i)
    end
  end
  return x
end

-- Calls and nothing else.
local function fib(n)
  if n < 2 then
    return n
  end
  return fib(n - 1) + fib(n - 2)
end

local function lines(n)
  local x = 0
  for i = 1, n do
    x = x + i
    if x > 1000 then
      x = 0
    end
  end
  return x
end

-- 100000 operations a second or so, 10 us each.
local a, b = array.ones(45000), array.ones(45000)
local out = array.zeros(45000)
local function operations()
  for _ = 1, 20000 do
    array.add(a, b, { out = out })
  end
end

local function timed(fn, ...)
  local start = timer.cpu()
  fn(...)
  return timer.cpu() - start
end

local modes = {
  mixed = function() return timed(mixed) end,
  sample = function() return timed(profiler.sample, mixed) end,
  trace = function() return timed(profiler.trace, fib, 24) end,
  interpreted = function()
    pg.jit("off")
    return timed(lines, 2000000)
  end,
  lines = function() return timed(function() profiler.lines(lines):run(lines, 2000000) end) end,
  operations = function() return timed(operations) end,
  timeline = function() return timed(profiler.timeline, operations) end,
}

if mode == "operations" or mode == "timeline" then
  pg.threads(1)
end
modes[mode]() -- once to warm up, for what is loaded and probed at first use
local best = math.huge
for _ = 1, 3 do
  best = math.min(best, modes[mode]())
end
print(("seconds %.6f"):format(best))
