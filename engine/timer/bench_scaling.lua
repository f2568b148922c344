-- bench.scaling: how a function's time grows with the size of its input.
local core, kit = ...
local floor, max, min, log, exp, sqrt, huge, abs = math.floor, math.max, math.min, math.log, math.exp, math.sqrt, math.huge,
  math.abs
local format, concat, sort = string.format, table.concat, table.sort

-- The orders that are told apart, simplest first. Each is compared at sizes divided by none: log(f(n)) must not overflow.
local orders = {
  { name = "constant", log_of = function() return 0 end },
  { name = "log n", log_of = function(n) return log(log(n + 1)) end },
  { name = "n", log_of = function(n) return log(n) end },
  { name = "n log n", log_of = function(n) return log(n) + log(log(n + 1)) end },
  { name = "n^2", log_of = function(n) return 2 * log(n) end },
  { name = "n^3", log_of = function(n) return 3 * log(n) end },
  { name = "2^n", log_of = function(n) return n * log(2) end },
}

-- t = a + b f(n) with a >= 0 and b > 0, by least squares of the relative errors; returns a, b (b of f scaled to 1 at the
-- largest n) and the root mean square of the relative errors.
local function fit(sizes, times, order)
  local n = #sizes
  local top = order.log_of(sizes[n])
  local f = {}
  for i = 1, n do
    f[i] = exp(order.log_of(sizes[i]) - top)
  end
  local function errors(a, b)
    local sum = 0
    for i = 1, n do
      sum = sum + ((a + b * f[i]) / times[i] - 1) ^ 2
    end
    return sqrt(sum / n)
  end
  -- Normal equations for the rows (1/t, f/t) with the right side 1.
  local aa, ab, bb, ay, by = 0, 0, 0, 0, 0
  for i = 1, n do
    local u, v = 1 / times[i], f[i] / times[i]
    aa, ab, bb, ay, by = aa + u * u, ab + u * v, bb + v * v, ay + u, by + v
  end
  if order.name == "constant" then
    return 0, ay / aa, errors(0, ay / aa)
  end
  local determinant = aa * bb - ab * ab
  local a, b = 0, by / bb
  if determinant > 1e-12 * aa * bb then
    local free_a, free_b = (ay * bb - by * ab) / determinant, (by * aa - ay * ab) / determinant
    if free_a >= 0 and free_b > 0 then
      a, b = free_a, free_b
    end
  end
  return a, b, errors(a, b)
end

-- Student's t for a two-sided 95% interval (Abramowitz and Stegun, table 26.10).
local student = { 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23 }

-- Slope of log t over log n for the larger half of the sizes (three at least), with the half-width of its 95% interval.
local function exponent(sizes, times)
  local n = #sizes
  local first = min(floor(n / 2) + 1, n - 2)
  local count, x, y = n - first + 1, 0, 0
  for i = first, n do
    x, y = x + log(sizes[i]) / count, y + log(times[i]) / count
  end
  local xx, xy = 0, 0
  for i = first, n do
    xx, xy = xx + (log(sizes[i]) - x) ^ 2, xy + (log(sizes[i]) - x) * (log(times[i]) - y)
  end
  local slope, left = xy / xx, 0
  for i = first, n do
    left = left + (log(times[i]) - y - slope * (log(sizes[i]) - x)) ^ 2
  end
  return slope, (student[count - 2] or 2) * sqrt(left / max(count - 2, 1) / xx)
end

-- Times over sizes, both axes logarithmic: * measured, . the fit.
local function plot(r)
  local width, height = 64, 14
  local x0, x1 = log(r.sizes[1]), log(r.sizes[#r.sizes])
  local y0, y1 = huge, -huge
  for i in ipairs(r.sizes) do
    y0, y1 = min(y0, log(r.times[i])), max(y1, log(r.times[i]))
  end
  if y1 - y0 < 0.7 then -- a constant is a line in the middle, not noise in full height
    y0, y1 = (y0 + y1) / 2 - 0.7, (y0 + y1) / 2 + 0.7
  end
  local cells = {}
  for row = 1, height do
    cells[row] = {}
    for column = 1, width do
      cells[row][column] = " "
    end
  end
  local function put(n, t, mark)
    local column = floor((log(n) - x0) / (x1 - x0) * (width - 1) + 1.5)
    local row = height - floor((log(t) - y0) / (y1 - y0) * (height - 1) + 0.5)
    if row >= 1 and row <= height and column >= 1 and column <= width then
      cells[row][column] = mark
    end
  end
  for column = 0, width - 1 do
    local n = exp(x0 + (x1 - x0) * column / (width - 1))
    put(n, r:predict(n), ".")
  end
  for i, n in ipairs(r.sizes) do
    put(n, r.times[i], "*")
  end
  local lines = {}
  for row = 1, height do
    local label = row == 1 and kit.show_time(exp(y1)) or row == height and kit.show_time(exp(y0)) or ""
    lines[row] = format("%9s |%s", label, (concat(cells[row]):gsub("%s+$", "")))
  end
  lines[#lines + 1] = (" "):rep(10) .. "+" .. ("-"):rep(width)
  local last = format("%g", r.sizes[#r.sizes])
  lines[#lines + 1] = (" "):rep(11) .. format("%g", r.sizes[1]) .. (" "):rep(width - #format("%g", r.sizes[1]) - #last) ..
    last
  return concat(lines, "\n")
end

local Scaling = {}
Scaling.__index = Scaling

--- result:predict(n) -> seconds that the fitted order gives for size n.
function Scaling:predict(n)
  return self.offset + self.factor * exp(self._log_of(n) - self._log_of(self.sizes[#self.sizes]))
end

function Scaling:__tostring()
  local lines = {}
  local next_best = self.fits[2]
  lines[1] = format("%sgrows as %s%s", self.name and self.name .. ": " or "", self.order, self.clear and
    format(" (its error is %.1f%%, of the next best, %s, %.1f%%)", self.error * 100, next_best.order,
      next_best.error * 100) or
    format(", or as %s: errors of %.1f%% and %.1f%%; larger sizes tell them apart", next_best.order, self.error * 100,
      next_best.error * 100))
  lines[2] = format("time ~ n^%.2f at the largest sizes (95%% interval %.2f to %.2f)", self.exponent,
    self.exponent - self.uncertainty, self.exponent + self.uncertainty)
  lines[3] = format("%12s  %9s  %9s", "n", "time", "fit")
  for i, n in ipairs(self.sizes) do
    lines[#lines + 1] = format("%12g  %9s  %9s", n, kit.show_time(self.times[i]), kit.show_time(self:predict(n)))
  end
  lines[#lines + 1] = plot(self)
  lines[#lines + 1] = self.note
  return concat(lines, "\n")
end

local checkers = { clock = kit.clock_name, seconds = kit.seconds, setup = kit.of_type "function",
  name = kit.of_type "string", quiet = kit.of_type "boolean" }

--- bench.scaling(fn, sizes [, options]): times fn(n) for each n in `sizes` (at least four numbers above 1, ascending) and
--- fits the order of growth: constant, log n, n, n log n, n^2, n^3 or 2^n, with a constant part. Prints the result and
--- returns {order, clear (no other order fits half as well), error (root mean square of the fit's relative errors),
--- exponent and uncertainty (slope of log time over log n at the larger half of the sizes, half-width of its 95%
--- interval), sizes, times (the best of each, in seconds), offset, factor, fits (all orders, best first), note}.
--- Options: setup(n) makes the argument for fn outside of the clock; seconds (2): how long to measure; clock = "cpu"
--- (default) or "wall"; name; quiet = true: do not print. Sizes whose one call does not fit into the time are left out.
return function(fn, sizes, options)
  if type(fn) ~= "function" then
    core.fail("bench.scaling: a function is expected, got %s", kit.describe(fn))
  elseif type(sizes) ~= "table" or #sizes < 4 then
    core.fail("bench.scaling: at least four sizes are expected, as in {1000, 2000, 4000, 8000}, got %s",
      type(sizes) == "table" and format("%d", #sizes) or kit.describe(sizes))
  end
  for i, n in ipairs(sizes) do
    if type(n) ~= "number" or not (n > 1 and n < huge) or i > 1 and n <= sizes[i - 1] then
      core.fail("bench.scaling: sizes must be ascending numbers above 1; size %d is %s", i, kit.describe(n))
    end
  end
  options = kit.read_options("bench.scaling", options, checkers, { clock = "cpu", seconds = 2 })
  local read, setup = kit.readers[options.clock], options.setup
  local started = kit.now()

  -- One call of each, the smallest first, tells how many fit.
  local used, calls, times, functions, left_out = {}, {}, {}, {}, nil
  for i, n in ipairs(sizes) do
    local argument = n
    if setup then
      argument = setup(n)
    end
    local call = function() return fn(argument) end
    local cost = max(kit.time(call, 1, read), 1e-9)
    if kit.now() - started > options.seconds and i > 4 then
      left_out = n
      break
    end
    used[i], functions[i], times[i] = n, call, huge
    calls[i] = max(1, floor(5e-3 / cost))
  end
  -- Rounds over all sizes, so that a change of the machine hits them alike.
  local rounds = 0
  repeat
    for i in ipairs(used) do
      local t = kit.time(functions[i], calls[i], read) / calls[i]
      times[i] = min(times[i], max(t, 1e-10))
      calls[i] = max(calls[i], min(1e7, floor(5e-3 / times[i]))) -- the first call was cold
    end
    rounds = rounds + 1
  until rounds >= 3 and kit.now() - started > options.seconds or rounds == 50

  local fits = {}
  for i, order in ipairs(orders) do
    local a, b, err = fit(used, times, order)
    fits[i] = { order = order.name, error = err, offset = a, factor = b, rank = i, log_of = order.log_of }
  end
  sort(fits, function(x, y)
    -- What fits as well to a tenth is the simpler.
    if abs(x.error - y.error) > 0.1 * min(x.error, y.error) then
      return x.error < y.error
    end
    return x.rank < y.rank
  end)
  for i, one in ipairs(fits) do -- what changes by less than 5% over all sizes is noise
    if one.order == "constant" and one.error < 0.05 then
      table.insert(fits, 1, table.remove(fits, i))
    end
  end
  local best = fits[1]
  local slope, width = exponent(used, times)
  local result = setmetatable({ name = options.name, order = best.order, error = best.error, offset = best.offset,
    factor = best.factor, clear = fits[2].error > 2 * best.error, fits = fits, exponent = slope, uncertainty = width,
    sizes = used, times = times, clock = options.clock, _log_of = best.log_of,
    note = left_out and format("Sizes from %g on were left out: they take longer than seconds = %g allows.", left_out,
      options.seconds) }, Scaling)
  if not options.quiet then
    core.env.print(tostring(result))
  end
  return result
end
