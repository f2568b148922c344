-- Inputs and checks of pairwise distance. size = {points, dimensions, twins}; with `twins` points coincide or nearly
-- do.
local array = require "perigee.array"

local relative = 1e-12

local function inputs(rng, size)
  local n, d = size.points, size.dimensions
  -- A random scale and offset, so that results do not resemble each other between calls.
  local scale, offset = 10 ^ rng:uniform(-1, 1), rng:uniform(-5, 5)
  local points = rng:uniform(offset - scale, offset + scale, { shape = { n, d } })
  if size.twins then
    for k = 1, d do
      points[2][k] = points[1][k]
      points[n][k] = points[n - 1][k]
      points[4][k] = points[3][k] + 1e-7 * scale * k
    end
  end
  return { points }
end

local function check(inputs, got, expected)
  local points = inputs[1]
  local n = points.shape[1]
  if not array.is(got) then
    return false, "the result must be a float64 array of shape n x n, not a " .. type(got)
  end
  if got.dtype ~= "float64" or got.ndim ~= 2 or got.shape[1] ~= n or got.shape[2] ~= n then
    return false, ("the result must be a float64 array of shape %d x %d, got %s of shape %s"):format(n, n, got.dtype,
      table.concat(got.shape, " x "))
  end
  for i = 1, n do
    local mine, theirs = got[i], expected[i]
    for j = 1, n do
      local value, want = mine[j], theirs[j]
      if not (math.abs(value - want) <= relative * want) then
        local hint = ""
        if i == j then
          hint = ": a point has the distance 0 from itself"
        elseif value == -want then
          hint = ": a distance is not negative"
        elseif math.abs(value - want * want) <= 1e-9 * want * want then
          hint = ": this is its square"
        elseif math.abs(value - want) <= 1e-5 * want + 1e-7 then
          hint = ": close, but digits are lost; sum the squares of the differences instead of |p|^2 + |q|^2 - 2 p.q"
        elseif value == 0 and got[j][i] ~= 0 then
          hint = ("; it is at (%d, %d): fill both triangles"):format(j, i)
        end
        return false, ("the distance of points %d and %d is %.15g, expected %.15g%s"):format(i, j, value, want, hint)
      end
    end
  end
  return true
end

return { inputs = inputs, check = check }
