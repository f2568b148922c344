-- Clusters of points by k-means: broadcasting, argmin, masks. Run it:  perigee run --trusted scripts/demos/arrays/kmeans.lua
local pg = require "perigee"
local array = pg.array

local rng = pg.random.generator(3)
local true_centres = array.from { { 0, 0 }, { 6, 5 }, { 0, 6 } }
local clouds = {}
for i = 1, 3 do
  clouds[i] = rng:normal(0, 1, { shape = { 200, 2 } }) + true_centres[i]
end
local points = array.concatenate(clouds) -- (600, 2)

local k = 3
local centres = points[rng:choice(600, { shape = { k }, replace = false })] -- an index array picks rows
local label
for round = 1, 50 do
  -- (600, 1, 2) - (1, 3, 2) is (600, 3, 2): every point against every centre.
  local apart = points:expand_dims(2) - centres:expand_dims(1)
  label = (apart * apart):sum(3):argmin(2)
  local moved = array.empty(k, 2)
  for j = 1, k do
    moved[j] = points[label:eq(j)]:mean(1)
  end
  local shift = array.abs(moved - centres):max()
  centres = moved
  print(("round %d: the centres moved by up to %.4f"):format(round, shift))
  if shift < 1e-9 then
    break
  end
end

print "\nThe centres found, and how many points they have:"
local _, counts = array.unique(label, { counts = true })
for j = 1, k do
  print(("  (%5.2f, %5.2f)  %d"):format(centres[j][1], centres[j][2], counts[j]))
end
local apart = array.abs(array.sort(centres:sum(2)) - array.sort(true_centres:sum(2))):max()
assert(apart < 0.5, "as the points were made")
