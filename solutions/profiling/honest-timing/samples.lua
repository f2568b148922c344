-- Teaches: keep every sample. With the list of times in hand, best, median and spread are all there, and a warm-up that
-- was not long enough shows as a first sample that is larger than the others.
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

local function samples_of(f, x, repeats)
  local wall, cpu = {}, {}
  local result = f(x) -- warm-up
  for k = 1, repeats do
    local w, c = timer.now(), timer.cpu()
    result = f(x)
    wall[k], cpu[k] = timer.now() - w, timer.cpu() - c
  end
  return wall, cpu, result
end

local function solve(jobs, repeats)
  local wall0, cpu0 = timer.now(), timer.cpu()
  local results = {}
  for i, job in ipairs(jobs) do
    local wall, cpu, sum = samples_of(run, job, repeats)
    -- The median share is not moved by one run that was interrupted.
    local shares = {}
    for k = 1, repeats do
      shares[k] = cpu[k] / wall[k]
    end
    table.sort(wall)
    table.sort(shares)
    local share = shares[math.ceil(repeats / 2)]
    results[i] = { sum = sum, best = wall[1], bound = share > 0.05 and "cpu" or "io" }
  end
  return { wall = timer.now() - wall0, cpu = timer.cpu() - cpu0, jobs = results }
end

return { solve = solve }
