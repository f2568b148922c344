-- A pool for each kind: as many workers as may wait at once, and as many as there are cores.
local pg = require "perigee"

local waiting = pg.parallel.pool(16)
local computing = pg.parallel.pool(pg.threads())

local function wait(job)
  require("perigee").timer.sleep(job.seconds)
  return job.value
end

local function crunch(job)
  local x = job.value
  for _ = 1, job.steps do
    x = x * 16807 % 2147483647
  end
  return x
end

local function solve(jobs)
  local futures, results = {}, {}
  for i, job in ipairs(jobs) do
    futures[i] = job.kind == "wait" and waiting:submit(wait, job) or computing:submit(crunch, job)
  end
  for i, future in ipairs(futures) do
    results[i] = future:result()
  end
  return results
end

return { solve = solve }
