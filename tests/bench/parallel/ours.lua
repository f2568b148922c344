-- What scripts/bench parallel times of ours: one case a run, named by the first argument. Prints "check VALUE" and
-- "seconds VALUE", the best of a few repeats (each case says of what).
local pg = require "perigee"
local parallel, array, tasks, timer = pg.parallel, pg.array, pg.tasks, pg.timer

local function best(repeats, run)
  local shortest, value = math.huge, nil
  for _ = 1, repeats do
    local start = timer.now()
    value = run()
    shortest = math.min(shortest, timer.now() - start)
  end
  return shortest, value
end

local function square(x)
  return x * x
end

local function midpoints(first, last, n)
  local h, total = 1 / n, 0
  for i = first, last do
    total = total + ((i - 0.5) * h) ^ 1.5
  end
  return total * h
end

-- x^1.5 over [0, 1] by 1e8 midpoints in 64 equal parts, taken as workers are free: a core that something else has for a
-- while gets fewer.
local function integral(workers)
  local pool, n, count = parallel.pool(workers), 1e8, 64
  local parts = {}
  for part = 0, count - 1 do
    parts[#parts + 1] = { part * n / count + 1, (part + 1) * n / count, n }
  end
  pool:starmap(midpoints, { { 1, 1000, 1000 }, { 1, 1000, 1000 } })
  return best(3, function()
    local total = 0
    for _, x in ipairs(pool:starmap(midpoints, parts, { chunksize = 1 })) do
      total = total + x
    end
    return total
  end)
end

local cases = {}

cases["integral-1"] = function() return integral(1) end
cases["integral-2"] = function() return integral(2) end

-- a[i] = 2 i over 1e7 doubles.
cases["parallel-for"] = function()
  local pool, a = parallel.pool(2), array.zeros(1e7)
  local function fill(i)
    a[i] = 2 * i
  end
  local seconds = best(10, function() pool:parallel_for(1, #a, fill, { grain = 10000 }) end)
  return seconds, a[5e6 + 1]
end

cases["pool-start"] = function()
  return best(5, function()
    local pool = parallel.pool(2)
    local value = pool:submit(square, 3):result()
    pool:close()
    return value
  end)
end

-- 1e5 squares, the pool's start left out.
cases["tiny-map"] = function()
  local pool, values = parallel.pool(2), {}
  for i = 1, 1e5 do
    values[i] = i - 1
  end
  pool:map(square, values)
  return best(100, function()
    local total, squares = 0, pool:map(square, values)
    for i = 1, #squares do
      total = total + squares[i]
    end
    return total
  end)
end

-- 1e4 tasks submitted and their results; the time of one.
cases["task"] = function()
  local pool = parallel.pool(2)
  local function run()
    local futures, total = {}, 0
    for i = 0, 9999 do
      futures[i + 1] = pool:submit(square, i)
    end
    for i = 1, #futures do
      total = total + futures[i]:result()
    end
    return total
  end
  run()
  local seconds, value = best(10, run)
  return seconds / 1e4, value
end

-- 1000 round trips of one task to a process; the time of one.
cases["process-task"] = function()
  local pool = parallel.processes(2)
  local function run()
    local total = 0
    for i = 0, 999 do
      total = total + pool:submit(square, i):result()
    end
    return total
  end
  run()
  local seconds, value = best(3, run)
  return seconds / 1000, value
end

-- A graph of 1e4 independent nodes and their sum; the time of one node.
cases["delayed"] = function()
  local function sum(values)
    local total = 0
    for i = 1, #values do
      total = total + values[i]
    end
    return total
  end
  local seconds, value = best(3, function()
    local nodes = {}
    for i = 0, 9999 do
      nodes[i + 1] = tasks.delayed(square)(i)
    end
    return (tasks.compute(tasks.delayed(sum)(nodes), { scheduler = "threads", workers = 2 }))
  end)
  return seconds / 1e4, value
end

-- Sleeps of 1, 3, 1 and 7 seconds on four workers: the longest decides.
cases["sleep"] = function()
  local pool = parallel.pool(4)
  pool:map(square, { 1, 2, 3, 4 })
  local seconds = best(1, function() pool:map(timer.sleep, { 1, 3, 1, 7 }, { chunksize = 1 }) end)
  return seconds, 0
end

local seconds, check = cases[(...)]()
print(string.format("check %.17g", check))
print(string.format("seconds %.9f", seconds))
