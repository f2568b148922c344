-- What scripts/bench kernels times of ours: one case a run, named by the first argument, as rival.py and rival.cpp define it.
-- Prints "check VALUE" and "seconds VALUE", the best of a few repeats, compiled before.
local pg = require "perigee"
local kernel, array, timer = pg.kernel, pg.array, pg.timer

local function generator(n, seed)
  local out, state = array.zeros(n), seed
  for i = 1, n do
    state = state * 16807 % 2147483647
    out[i] = state / 2147483647
  end
  return out
end

local function ramp(n, factor)
  return array.range(1, n):astype("float64") * factor % 1
end

local function best(repeats, run)
  local shortest, value = math.huge, nil
  for _ = 1, repeats do
    local start = timer.now()
    value = run()
    shortest = math.min(shortest, timer.now() - start)
  end
  return shortest, value
end

local particles = kernel.jit(function(x, y, w, steps, dt)
  for _ = 1, steps do
    for p = 1, #x do
      local norm = math.sqrt(x[p] * x[p] + y[p] * y[p])
      local vx, vy = -y[p] / norm, x[p] / norm
      x[p] = x[p] + dt * w[p] * vx
      y[p] = y[p] + dt * w[p] * vy
    end
  end
end)

local laplace = kernel.parallel_for(function(i, u, v)
  if i > 1 and i < #u then
    for j = 2, u:dim(2) - 1 do
      v[i][j] = 0.25 * (u[i - 1][j] + u[i + 1][j] + u[i][j - 1] + u[i][j + 1])
    end
  end
end)

local pairwise = kernel.parallel_for(function(i, x, d)
  for j = 1, #x do
    local s = 0.0
    for c = 1, x:dim(2) do
      local t = x[i][c] - x[j][c]
      s = s + t * t
    end
    d[i][j] = math.sqrt(s)
  end
end)

-- The same, where the number of coordinates is a constant of the program.
local coordinates = 3
local pairwise3 = kernel.parallel_for(function(i, x, d)
  for j = 1, #x do
    local s = 0.0
    for c = 1, coordinates do
      local t = x[i][c] - x[j][c]
      s = s + t * t
    end
    d[i][j] = math.sqrt(s)
  end
end)

local integral = kernel.parallel_for(function(i, h) return ((i - 0.5) * h) ^ 1.5 end, { reduce = "sum" })
local cubic = kernel.elementwise(function(x, y) return x ^ 3 + 4 * math.sin(y) end)
local mixed = kernel.elementwise(function(a, b) return 2 * a - 4.5 * b + math.sin(a) + math.cos(b) end)
local polynomial = kernel.elementwise(function(x) return 0.25 * x ^ 3 + 0.75 * x ^ 2 - 1.5 * x - 2 end)

local bubble = kernel.jit(function(a)
  for last = #a - 1, 1, -1 do
    for i = 1, last do
      local x, y = a[i], a[i + 1]
      if x > y then
        a[i], a[i + 1] = y, x
      end
    end
  end
end)

local rows = kernel.jit(function(a, b, n, out)
  for r = 1, #a do
    local s = 0.0
    local dx = (b[r] - a[r]) / n[r]
    for i = 0, n[r] - 1 do
      local x = a[r] + i * dx
      s = s + x * (x - 1)
    end
    out[r] = s * dx
  end
end, { fastmath = true })

local acf = kernel.parallel_for(function(place, mask, out)
  local lag, s = place - 1, 0.0
  for i = 1, #mask - lag do
    s = s + mask[i] * mask[i + lag]
  end
  out[place] = s
end, { fastmath = true })

local fractal = kernel.parallel_for(function(row, n, julia, counts)
  for col = 1, n do
    local re, im = -1.8 + 3.6 * (col - 1) / n, -1.8 + 3.6 * (row - 1) / n
    local cre, cim, zre, zim = re, im, 0.0, 0.0
    if julia then
      cre, cim, zre, zim = -0.62772, -0.42193, re, im
    end
    local k = 0
    while k < 300 and zre * zre + zim * zim < 4 do
      zre, zim = zre * zre - zim * zim + cre, 2 * zre * zim + cim
      k = k + 1
    end
    counts[row][col] = k
  end
end)

local cases = {}

function cases.particles()
  local function run()
    local x, y, w = ramp(1000, 0.31) + 0.1, ramp(1000, 0.73) + 0.1, ramp(1000, 0.17)
    particles(x, y, w, 10000, 1e-5)
    return x[501]
  end
  run()
  return best(3, run)
end

function cases.laplace()
  local u, v = ramp(4096 * 4096, 0.31):reshape { 4096, 4096 }, array.zeros { 4096, 4096 }
  laplace(4096, u, v)
  local seconds = best(8, function() laplace(4096, u, v) end)
  return seconds, v[2001][2001]
end

local function distances(of)
  local x, d = ramp(3000, 0.31):reshape { 1000, 3 }, array.zeros { 1000, 1000 }
  of(1000, x, d)
  local seconds = best(20, function() of(1000, x, d) end)
  return seconds, d[11][901]
end

function cases.pairwise() return distances(pairwise) end
function cases.pairwise3() return distances(pairwise3) end

function cases.integral()
  local n = 1e8
  integral(1000, 1 / n)
  return best(3, function() return integral(n, 1 / n) / n end)
end

function cases.cubic()
  local x, y, out = ramp(1e7, 0.31), ramp(1e7, 0.73), { out = array.zeros(1e7) }
  cubic(x, y, out)
  local seconds = best(5, function() cubic(x, y, out) end)
  return seconds, out.out[5001]
end

function cases.mixed()
  local a, b, out = ramp(1.6e7, 0.31), ramp(1.6e7, 0.73), { out = array.zeros(1.6e7) }
  mixed(a, b, out)
  local seconds = best(5, function() mixed(a, b, out) end)
  return seconds, out.out[5001]
end

function cases.polynomial()
  local x, out = ramp(1e7, 0.31), { out = array.zeros(1e7) }
  polynomial(x, out)
  local seconds = best(5, function() polynomial(x, out) end)
  return seconds, out.out[5001]
end

function cases.bubble()
  local start = generator(999, 1)
  local a, shortest = start:copy(), math.huge
  bubble(a)
  for _ = 1, 50 do
    a[{ {} }] = start
    shortest = math.min(shortest, (best(1, function() bubble(a) end)))
  end
  return shortest, a[500]
end

function cases.rows()
  local a, b, out = generator(1000, 1), generator(1000, 2), array.zeros(1000)
  local n = array.floor(generator(1000, 3) * 900 + 100):astype("int64")
  rows(a, b, n, out)
  local seconds = best(50, function() rows(a, b, n, out) end)
  return seconds, out[501]
end

function cases.acf()
  local mask, out = generator(200000, 5):lt(0.1):astype("float64"), array.zeros(100)
  acf(100, mask, out)
  local seconds = best(5, function() acf(100, mask, out) end)
  return seconds, out[8]
end

local function set(julia)
  local counts = array.zeros({ 1000, 1000 }, { dtype = "int64" })
  fractal(1000, 1000, julia, counts)
  local seconds = best(3, function() fractal(1000, 1000, julia, counts) end)
  return seconds, counts:sum()
end
function cases.mandelbrot() return set(false) end
function cases.julia() return set(true) end

local seconds, check = cases[(...)]()
print(string.format("check %.17g", check))
print(string.format("seconds %.9f", seconds))
