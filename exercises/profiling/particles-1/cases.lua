-- Inputs and checks of the particle simulator. size = {particles, steps, dt, known}; with `known` the first three
-- particles are those of the statement.
local array = require "perigee.array"

local known = { { 0.3, 0.5, 1 }, { 0, -0.5, -1 }, { -0.1, -0.4, 3 } }
local after = { { 0.210269, 0.543863 }, { -0.099334, -0.490034 }, { 0.191358, -0.365227 } }

local function inputs(rng, size)
  local particles = array.zeros(size.particles, 3)
  for i = 1, size.particles do
    local row = particles[i]
    if size.known and i <= 3 then
      row[1], row[2], row[3] = known[i][1], known[i][2], known[i][3]
    else
      local r, angle = rng:uniform(0.2, 1.0), rng:uniform(0, 2 * math.pi)
      row[1], row[2] = r * math.cos(angle), r * math.sin(angle)
      row[3] = rng:uniform(0.5, 4) * (rng:integers(0, 1) * 2 - 1)
    end
  end
  return { particles, size.dt, size.steps }
end

local function check(inputs, got, expected)
  local n = inputs[1].shape[1]
  if not array.is(got) then
    return false, "the result must be an array of shape n x 2, not a " .. type(got)
  end
  if got.dtype ~= "float64" or got.ndim ~= 2 or got.shape[1] ~= n or got.shape[2] ~= 2 then
    return false, ("the result must be a float64 array of shape %d x 2, one row (x, y) a particle; got %s of shape %s")
      :format(n, got.dtype, table.concat(got.shape, " x "))
  end
  for i = 1, n do
    for j = 1, 2 do
      local value = got[i][j]
      if not (math.abs(value - expected[i][j]) <= 1e-9) then
        local p = inputs[1][i]
        return false, ("particle %d (x = %.4g, y = %.4g, w = %.4g) has %s = %.10g after %d steps of %g s; "
          .. "expected %.10g%s"):format(i, p[1], p[2], p[3], j == 1 and "x" or "y", value, inputs[3], inputs[2],
          expected[i][j],
          math.abs(value - expected[i][j]) < 1e-2 and ". Is y computed from the new x instead of the old one?" or "")
      end
    end
  end
  local p = inputs[1]
  if n >= 3 and p[1][1] == 0.3 and p[1][2] == 0.5 and inputs[3] == 10000 then
    for i = 1, 3 do
      for j = 1, 2 do
        if not (math.abs(got[i][j] - after[i][j]) <= 1e-5) then
          return false, ("known particle %d must end at (%.6f, %.6f) within 1e-5"):format(i, after[i][1], after[i][2])
        end
      end
    end
  end
  return true
end

return { inputs = inputs, check = check }
