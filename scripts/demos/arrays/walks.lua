-- Random walks without a loop: running sums, statistics. Run it:  perigee run --trusted scripts/demos/arrays/walks.lua
local pg = require "perigee"
local array = pg.array

local walkers, steps = 5000, 400
local rng = pg.random.generator(7)
local moves = rng:integers(0, 1, { shape = { walkers, steps } }) * 2 - 1 -- -1 or 1
local place = moves:cumsum(2)                                            -- a row for each walker

local last = place[{ {}, -1 }]
print(("after %d steps: mean %.2f, standard deviation %.2f; the square root of %d is %.2f"):format(steps, last:mean(),
  last:std(), steps, math.sqrt(steps)))

print "\nWhere the walks end:"
local counts, edges = array.histogram(last, array.range(-70, 70, 10))
for i = 1, #counts do
  print(("  %4d to %3d %5d %s"):format(edges[i], edges[i + 1], counts[i], ("#"):rep(counts[i] / 20)))
end

-- The first step at which a walk is 30 away: argmax finds the first true one.
local far = array.abs(place):ge(30)
local ever = far:any(2)
local first = far:argmax(2)[ever]
print(("\n%.1f%% of the walks have been 30 away, first after %.0f steps on average"):format(100 * ever:mean(), first:mean()))

-- How often a walk is back where it began.
local home = place:eq(0):count_nonzero(2)
local times, walks = array.unique(home, { counts = true })
print(("%d of %d walks never came back; the longest list of returns has %d"):format(times[1] == 0 and walks[1] or 0, walkers,
  times[-1]))
print(("the returns of a walk and how far it ends: correlation %.2f"):format(
  array.corrcoef(home:astype("float64"), array.abs(last):astype("float64"))[1][2]))
