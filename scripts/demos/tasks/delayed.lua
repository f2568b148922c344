-- Calls that are put off: a graph of what depends on what, computed with each call once. Run me: perigee run
-- scripts/demos/tasks/delayed.lua
local pg = require "perigee"
local tasks, array = pg.tasks, pg.array

-- Ten stations with a reading each minute of a week. Wrapping a function is all that it takes.
local measure = tasks.delayed(function(station)
  return pg.random.generator(station):normal(10 + station, 3, { shape = { 10080 } })
end, { name = "measure" })

local mean = tasks.delayed(array.mean, { name = "mean" })
local warmest = tasks.delayed(function(means)
  local best = 1
  for station = 2, #means do
    if means[station] > means[best] then
      best = station
    end
  end
  return best
end, { name = "warmest" })

local means = {}
for station = 1, 10 do
  means[station] = mean(measure(station)) -- nothing is computed here
end
local best = warmest(means)
local spread = means[10] - means[1] -- operators of delayed values are delayed as well

-- Both need the same means, which are computed once.
local station, degrees, report = tasks.compute(best, spread, { report = true })
print(("warmest: station %d; between the last and the first lie %.1f degrees\n"):format(station, degrees))
print(report)

print("\nThe graph of `spread`, as Graphviz draws it (spread:visualize{file = \"spread.svg\"}):")
print(spread:visualize())

-- A call that fails says which one it is, and what needed it.
local parse = tasks.delayed(function(text)
  return tonumber(text) or error("'" .. text .. "' is no number")
end, { name = "parse" })
local _, message = pcall(tasks.compute, parse("12") + parse("a dozen"))
print(message)
