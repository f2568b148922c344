-- Waiting on an event loop, in this thread; computing on a pool. The futures are asked for when all waits are over.
local pg = require "perigee"
local async = pg.async

local pool = pg.parallel.pool(pg.threads())

local function crunch(job)
  local x = job.value
  for _ = 1, job.steps do
    x = x * 16807 % 2147483647
  end
  return x
end

local function solve(jobs)
  local results, futures, waits = {}, {}, {}
  for i, job in ipairs(jobs) do
    if job.kind == "crunch" then
      futures[i] = pool:submit(crunch, job)
    else
      waits[#waits + 1] = function()
        async.sleep(job.seconds)
        results[i] = job.value
      end
    end
  end
  if #waits > 0 then
    async.run(async.gather, waits)
  end
  for i, future in pairs(futures) do
    results[i] = future:result()
  end
  return results
end

return { solve = solve }
