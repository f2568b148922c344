-- Conway's game of life, the edges joined: roll and masks. Run it:  perigee run --trusted scripts/demos/arrays/life.lua
local array = require "perigee.array"

local function neighbours(world)
  local count = array.zeros_like(world)
  for di = -1, 1 do
    for dj = -1, 1 do
      if di ~= 0 or dj ~= 0 then
        count:add_(array.roll(world, { di, dj }, { 1, 2 }))
      end
    end
  end
  return count
end

-- A cell with 3 neighbours lives, one with 2 stays as it is.
local function step(world)
  local count = neighbours(world)
  local lives = array.logical_or(count:eq(3), array.logical_and(count:eq(2), world:eq(1)))
  return lives:astype("uint8")
end

local function show(world)
  for i = 1, #world do
    local line = {}
    for j = 1, #world[i] do
      line[j] = world[i][j] == 1 and "#" or "."
    end
    print(table.concat(line, " "))
  end
end

local world = array.zeros({ 12, 16 }, "uint8")
world[{ { 1, 3 }, { 1, 3 } }] = array.from({ { 0, 1, 0 }, { 0, 0, 1 }, { 1, 1, 1 } }, "uint8") -- a glider
world[{ 3, { 12, 14 } }] = 1                                                                   -- a blinker
print "At first:"
show(world)

local start = world
for _ = 1, 24 do
  world = step(world)
end
print "\nAfter 24 steps the glider is 6 rows and 6 columns further, and the blinker as it was:"
show(world)

local glider, blinker = { { 1, 3 }, { 1, 3 } }, { 3, { 12, 14 } }
assert(array.equal(world[{ { 7, 9 }, { 7, 9 } }], start[glider]) and array.equal(world[blinker], start[blinker]))
assert(world:sum() == start:sum())
