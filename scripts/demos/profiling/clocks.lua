-- Two clocks, and why one measurement is none. Run it:  perigee run --trusted scripts/demos/profiling/clocks.lua
local timer = require "perigee.timer"

local function crunch()
  local sum = 0
  for i = 1, 1e7 do
    sum = sum + i % 7
  end
  return sum
end

local function stopwatch(what, f)
  local wall, cpu = timer.now(), timer.cpu()
  f()
  wall, cpu = timer.now() - wall, timer.cpu() - cpu
  print(("%-28s wall %7.1f ms   CPU %7.1f ms   %s"):format(what, wall * 1e3, cpu * 1e3,
    cpu > 0.2 * wall and "computes" or "waits"))
end

stopwatch("ten million remainders", crunch)
stopwatch("sleep for 0.05 s", function() timer.sleep(0.05) end)
stopwatch("a bit of both", function()
  crunch()
  timer.sleep(0.05)
end)

print "\nThe same loop, ten times, 1000 rounds each. The first run includes compiling it:"
local function short()
  local sum = 0
  for i = 1, 1000 do
    sum = sum + i * i
  end
  return sum
end
for run = 1, 10 do
  local start = timer.now()
  short()
  print(("  run %2d: %7.2f us"):format(run, (timer.now() - start) * 1e6))
end
print(("one reading of the clock costs about %.0f ns"):format(timer.resolution() * 1e9))
