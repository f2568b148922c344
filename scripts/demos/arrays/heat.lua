-- Heat in a plate: a stencil written with slices. Run it:  perigee run --trusted scripts/demos/arrays/heat.lua
local array = require "perigee.array"

local n, alpha, steps = 80, 0.2, 400
local function plate()
  local u = array.zeros(n, n)
  u[1] = 100                       -- the upper edge is hot,
  u[{ { 30, 50 }, { 30, 50 } }] = 60 -- and so is the middle at first
  return u
end

-- Views of the four neighbours of each inner point, and of the points themselves. They are made once: a view sees what
-- is written into its array.
local function views(u)
  return u[{ { 2, -2 }, { 2, -2 } }], u[{ { 1, -3 }, { 2, -2 } }], u[{ { 3, -1 }, { 2, -2 } }],
    u[{ { 2, -2 }, { 1, -3 } }], u[{ { 2, -2 }, { 3, -1 } }]
end

-- As one would write it down: each operation makes an array.
local u = plate()
local inner, up, down, left, right = views(u)
local function step_plainly()
  inner:add_(alpha * (up + down + left + right - 4 * inner))
end

-- The same into one array that is made beforehand.
local w = plate()
local inner_w, up_w, down_w, left_w, right_w = views(w)
local change = array.empty(n - 2, n - 2)
local function step_in_place()
  array.add(up_w, down_w, { out = change })
  change:add_(left_w)
  change:add_(right_w)
  change:multiply_(alpha)
  inner_w:multiply_(1 - 4 * alpha)
  inner_w:add_(change)
end

for _ = 1, steps do
  step_plainly()
  step_in_place()
end
assert(u:allclose(w, { rtol = 1e-12, atol = 1e-12 }), "both ways give the same")
print("arrays made in a step: " .. array.count_allocations(step_plainly) .. " as written down, " ..
  array.count_allocations(step_in_place) .. " in place")

local shades = " .:-=+*#%@"
for i = 1, n, 5 do
  local line = {}
  for j = 1, n, 2 do
    local k = math.min(math.floor(u[i][j] / 100 * #shades) + 1, #shades)
    line[#line + 1] = shades:sub(k, k)
  end
  print(table.concat(line))
end
