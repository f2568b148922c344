-- The Mandelbrot set: complex arrays and masks. Run it:  perigee run --trusted scripts/demos/arrays/mandelbrot.lua
local array = require "perigee.array"

local width, height, most = 76, 31, 100
local re = array.linspace(-2.1, 0.7, width)
local im = array.linspace(-1.2, 1.2, height):reshape(height, 1) -- a column: with the row re it makes a plane
local c = array.complex(re, im)

-- Only points that have not escaped go on. A mask chooses them: c[mask] is a vector of the chosen elements.
local steps = array.zeros({ height, width }, "int32")
local z, left, where = c:ravel(), c:ravel(), array.range(c.size, "int64")
local flat = steps:reshape(-1) -- a view: what is written into it is in `steps`
for _ = 1, most do
  local inside = array.abs(z):le(2)
  z, left, where = z[inside], left[inside], where[inside]
  flat[where] = flat[where] + 1
  z = z * z + left
end

local shades = " .,:;i1tfLG08@#"
for i = 1, height do
  local line = {}
  for j = 1, width do
    local k = math.floor(math.log(steps[i][j] + 1) / math.log(most + 1) * (#shades - 1)) + 1
    line[j] = shades:sub(k, k)
  end
  print(table.concat(line))
end
local members = steps:eq(most):sum()
print(("%d of %d points have not escaped after %d steps: an area of %.2f"):format(members, steps.size, most,
  members / steps.size * 2.8 * 2.4))
