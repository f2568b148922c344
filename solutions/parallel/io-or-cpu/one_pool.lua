-- One pool for both kinds, with more workers than cores: simple, and the computing jobs take turns on the cores.
local pg = require "perigee"

local pool = pg.parallel.pool(16)

local function work(job)
  if job.kind == "wait" then
    require("perigee").timer.sleep(job.seconds)
    return job.value
  end
  local x = job.value
  for _ = 1, job.steps do
    x = x * 16807 % 2147483647
  end
  return x
end

local function solve(jobs)
  return pool:map(work, jobs, { chunksize = 1 })
end

return { solve = solve }
