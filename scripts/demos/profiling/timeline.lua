-- What happened when, on which thread: a timeline for ui.perfetto.dev (or chrome://tracing).
-- Run me: perigee run scripts/demos/profiling/timeline.lua
local pg = require "perigee"
local profiler, array, parallel = pg.profiler, pg.array, pg.parallel

-- Four tasks on two workers; each works on an array of its own.
local function simulate(seed)
  local array = require "perigee.array"
  local x = require("perigee.random").generator(seed):normal(0, 1, { shape = { 20000 } })
  for _ = 1, 20 do
    x = array.sin(x) * 0.5 + x
  end
  return x:mean()
end

local timeline = profiler.timeline(function()
  -- A large operation is shared by the threads of pg.threads().
  local a = profiler.span("prepare", function()
    return array.ones(2000000):exp()
  end)
  profiler.mark("prepared")
  local pool = parallel.pool(2)
  profiler.span("simulate", pool.map, pool, simulate, { 1, 2, 3, 4 })
  pool:shutdown()
  profiler.span("tidy up", function()
    a = nil
    collectgarbage()
  end)
  for step = 1, 5 do
    profiler.counter("step", step)
  end
end)
print(timeline)
-- timeline:write("x.json") makes the file for ui.perfetto.dev.
