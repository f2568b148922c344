-- What each array operation takes, and how near this machine's limits it is: the roofline. A timeline shows when.
-- Run me: perigee run scripts/demos/profiling/operations.lua
local pg = require "perigee"
local array, profiler = pg.array, pg.profiler

print(profiler.roofline())

local a, b = array.ones(2000000), array.ones(2000000)
local m = array.ones(300, 300)
local function work()
  for _ = 1, 5 do
    local c = a + b       -- 24 bytes moved for one addition: memory is the limit
    array.matmul(m, m)    -- each number is used 600 times: arithmetic is
  end
end
array.matmul(m, m) -- linear algebra loads at first use

print()
print(profiler.ops(work))

print()
print(profiler.timeline(function()
  profiler.span("first half", work)
  profiler.mark("half time")
  profiler.span("second half", work)
end))
-- timeline:write("x.json") makes a file for ui.perfetto.dev.
