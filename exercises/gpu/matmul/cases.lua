-- Inputs and checks of matmul. size = {n, k, m}.
local array = require "perigee.array"

local function inputs(rng, size)
  return {
    rng:uniform(-1, 1, { shape = { size.n, size.k } }):astype("float32"),
    rng:uniform(-1, 1, { shape = { size.k, size.m } }):astype("float32"),
  }
end

local function expected(inputs)
  return inputs[1]:astype("float64"):matmul(inputs[2]:astype("float64"))
end

local function check(inputs, got, want)
  local n, m, k = want.shape[1], want.shape[2], inputs[1].shape[2]
  if not array.is(got) then
    return false, "the result must be a float32 array, not a " .. type(got)
  elseif got.dtype ~= "float32" or got.ndim ~= 2 or got.shape[1] ~= n or got.shape[2] ~= m then
    return false, ("the result must be a float32 array of shape %d x %d, got %s of shape %s"):format(n, m, got.dtype,
      table.concat(got.shape, " x "))
  end
  for i = 1, n do
    for j = 1, m do
      if not (math.abs(got[i][j] - want[i][j]) <= 1e-5 * (1 + k / 4)) then
        return false, ("element [%d][%d] is %.9g, expected %.9g"):format(i, j, got[i][j], want[i][j])
      end
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
