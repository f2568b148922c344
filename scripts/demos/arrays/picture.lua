-- A picture's histogram, contrast and edges. Run it:  perigee run --trusted scripts/demos/arrays/picture.lua
local pg = require "perigee"
local array = pg.array

-- A dim picture of a ball: brightness from 40 to 120 of 255, with noise.
local n = 64
local axis = array.linspace(-1, 1, n)
local x, y = axis, axis:reshape(n, 1)
local height = array.sqrt(array.maximum(0.7 - x ^ 2 - y ^ 2, 0))
local light = array.maximum(0.5 * height - 0.4 * x - 0.5 * y, 0) * height:gt(0)
local noise = pg.random.generator(9):normal(0, 1.5, { shape = { n, n } })
local picture = array.clip(array.round(40 + 110 * light + noise), 0, 255):astype("uint8")

local function show(p)
  local shades = " .:-=+*#%@"
  for i = 1, n, 4 do
    local line = {}
    for j = 1, n, 2 do
      local s = math.floor(p[i][j] / 256 * #shades) + 1
      line[#line + 1] = shades:sub(s, s)
    end
    print(table.concat(line))
  end
end
local function show_histogram(p)
  local counts, edges = array.histogram(p, { bins = 8, range = { 0, 256 } })
  for i = 1, #counts do
    print(("  %3.0f to %3.0f %5d %s"):format(edges[i], edges[i + 1], counts[i], ("#"):rep(counts[i] / 50)))
  end
end

print "As it is:"
show(picture)
show_histogram(picture)

-- Equalising: each brightness becomes the share of pixels that are darker. The table is indexed with the picture.
local share = array.bincount(picture:ravel(), { minlength = 256 }):cumsum() / picture.size
local equal = share[picture:astype("int64") + 1] * 255
print "\nWith its contrast spread:"
show(equal)
show_histogram(equal)

-- Edges: how fast the brightness changes, after a blur with a kernel of 5 points along each axis.
local kernel = array.from { 1, 4, 6, 4, 1 } / 16
local function blur(p) -- along the rows
  local out, wide = array.zeros(n, n), array.pad(p, { { 0, 0 }, { 2, 2 } }, { mode = "edge" })
  for k = 1, 5 do
    out:add_(kernel[k] * wide[{ {}, { k, n + k - 1 } }])
  end
  return out
end
local smooth = blur(blur(picture:astype("float64")).T).T
local dy, dx = array.gradient(smooth)
local edges = array.hypot(dx, dy)
print "\nIts edges:"
show(edges / edges:max() * 255)
