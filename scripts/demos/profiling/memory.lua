-- Which line allocates, and what is never given back. Run me: perigee run scripts/demos/profiling/memory.lua
local pg = require "perigee"
local array = pg.array

local seen = {}

local function remember(i)
  seen[#seen + 1] = { number = i, name = "item " .. i } -- nobody ever takes one out
end

local function norm_of_difference(a, b)
  local sum = 0
  for _ = 1, 10 do
    local d = a - b
    sum = sum + (d * d):sum()
  end
  return sum
end

print(pg.profiler.memory(function()
  for i = 1, 20000 do
    remember(i)
  end
  local a, b = array.ones(100000), array.zeros(100000)
  norm_of_difference(a, b)
end))
