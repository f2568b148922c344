-- Where does the time go? Three profiles of one program, from the one that disturbs least to the one that counts most.
-- Run me: perigee run scripts/demos/profiling/profile.lua
local pg = require "perigee"
local profiler = pg.profiler

local function distance(a, b)
  local dx, dy = a.x - b.x, a.y - b.y
  return math.sqrt(dx * dx + dy * dy)
end

local function closest(points)
  local best = math.huge
  for i = 1, #points do
    for j = i + 1, #points do
      best = math.min(best, distance(points[i], points[j]))
    end
  end
  return best
end

local function random_points(n)
  local rng, points = pg.random.generator(1), {}
  for i = 1, n do
    points[i] = { x = rng:uniform(0, 1), y = rng:uniform(0, 1) }
  end
  return points
end

local function work()
  local total = 0
  for _ = 1, 20 do
    total = total + closest(random_points(1000))
  end
  return total
end

-- 1. The run as it is, compiled: a sample of the stack every millisecond.
print((profiler.sample(work)))

-- 2. Every call, interpreted: exact counts, who calls whom.
print()
print(profiler.trace(function()
  closest(random_points(100))
end))

-- 3. Every line of one function.
print()
local lines = profiler.lines(closest)
lines:run(closest, random_points(60))
print(lines)

-- profile:write("x.svg") draws a flame graph, "x.html" a page with all of it; `perigee profile` does the same for a file.
