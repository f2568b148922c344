-- 1000 particles on circles, 10000 time steps, one array a coordinate; particles.c is its rival.
local array = require "perigee.array"
local sqrt = math.sqrt

local n, steps, dt = 1000, 10000, 1e-5

local function evolve(x, y, omega)
  for _ = 1, steps do
    for i = 1, n do
      local xi, yi = x[i], y[i]
      local scale = dt * omega[i] / sqrt(xi * xi + yi * yi)
      x[i] = xi - yi * scale
      y[i] = yi + xi * scale
    end
  end
end

local x, y, omega = array.zeros(n), array.zeros(n), array.zeros(n)
local best = math.huge
for _ = 1, 3 do
  for i = 1, n do
    x[i], y[i], omega[i] = i / n, 1 - i / n, (i % 7) - 3
  end
  local start = os.clock()
  evolve(x, y, omega)
  best = math.min(best, os.clock() - start)
end
print(string.format("check %.17g", x:sum()))
print(string.format("seconds %.9f", best))
