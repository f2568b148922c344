-- One job after the other.
local timer = require("perigee").timer

local function wait(job)
  timer.sleep(job.seconds)
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
  local results = {}
  for i, job in ipairs(jobs) do
    results[i] = job.kind == "wait" and wait(job) or crunch(job)
  end
  return results
end

return { solve = solve }
