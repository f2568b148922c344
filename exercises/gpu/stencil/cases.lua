-- Inputs and checks of stencil. size = {n, m, steps}.
local array = require "perigee.array"

local function inputs(rng, size)
  return { rng:uniform(-1, 1, { shape = { size.n, size.m } }):astype("float32"), size.steps }
end

local function expected(inputs)
  local u = inputs[1]:astype("float64")
  local v, n, m = u:copy(), u.shape[1], u.shape[2]
  for _ = 1, inputs[2] do
    for i = 2, n - 1 do
      for j = 2, m - 1 do
        v[i][j] = 0.25 * (u[i - 1][j] + u[i + 1][j] + u[i][j - 1] + u[i][j + 1])
      end
    end
    u, v = v, u
  end
  return u
end

local function check(inputs, got, want)
  local n, m = want.shape[1], want.shape[2]
  if not array.is(got) then
    return false, "the result must be a float32 array, not a " .. type(got)
  elseif got.dtype ~= "float32" or got.ndim ~= 2 or got.shape[1] ~= n or got.shape[2] ~= m then
    return false, ("the result must be a float32 array of shape %d x %d, got %s of shape %s"):format(n, m, got.dtype,
      table.concat(got.shape, " x "))
  end
  for i = 1, n do
    for j = 1, m do
      if not (math.abs(got[i][j] - want[i][j]) <= 1e-5) then
        return false, ("cell [%d][%d] is %.9g, expected %.9g after %d steps"):format(i, j, got[i][j], want[i][j], inputs[2])
      end
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
