-- Honest timing: this stopwatch is broken in four ways. The README has the task.
-- Try it with:  perigee check profiling/honest-timing
local timer = require "perigee.timer"

-- The job. Leave it as it is.
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

-- jobs: list of {n, rounds, rest (seconds)}. Returns {wall, cpu, jobs = {{sum, best, bound}, ...}}, times in seconds.
local function solve(jobs, repeats)
  local results = {}
  local start = timer.cpu()
  for i, job in ipairs(jobs) do
    local before = timer.cpu()
    local sum = run(job)
    results[i] = { sum = sum, best = timer.cpu() - before, bound = "cpu" }
  end
  local elapsed = timer.cpu() - start
  return { wall = elapsed, cpu = elapsed, jobs = results }
end

return { solve = solve }
