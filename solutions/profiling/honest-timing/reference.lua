-- A small stopwatch function does the measuring, and the job list only says what to measure. The CPU clock costs about
-- a microsecond a reading, so it is read around all repeats and not inside the runs that are timed.
local timer = require "perigee.timer"

local function run(job)
  local sum
  for _ = 1, job.rounds do
    sum = 0
    for i = 0, job.n - 1 do
      sum = sum + i * i
    end
  end
  timer.sleep(job.rest)
  return sum
end

-- The best wall time of `repeats` calls of f(x) in seconds, the share of CPU time in all of them, and f's result. One
-- call more comes first, untimed: it lets the JIT compile and the caches fill.
local function stopwatch(f, x, repeats)
  local result = f(x)
  local best = math.huge
  local wall0, cpu0 = timer.now(), timer.cpu()
  for _ = 1, repeats do
    local start = timer.now()
    result = f(x)
    best = math.min(best, timer.now() - start)
  end
  return best, (timer.cpu() - cpu0) / (timer.now() - wall0), result
end

local function solve(jobs, repeats)
  local wall0, cpu0 = timer.now(), timer.cpu()
  local results = {}
  for i, job in ipairs(jobs) do
    local best, share, sum = stopwatch(run, job, repeats)
    results[i] = { sum = sum, best = best, bound = share > 0.05 and "cpu" or "io" }
  end
  return { wall = timer.now() - wall0, cpu = timer.cpu() - cpu0, jobs = results }
end

return { solve = solve }
