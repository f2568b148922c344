-- Inputs and checks of streams. size = {n}.
local array = require "perigee.array"

local function inputs(rng, size)
  return { rng:uniform(-3, 3, { shape = { size.n } }):astype("float32") }
end

local function expected(inputs)
  local a = inputs[1]:astype("float64")
  return a / (1 + array.abs(a))
end

local function check(_, got, want)
  local n = want.size
  if not array.is(got) then
    return false, "the result must be a float32 array, not a " .. type(got)
  elseif got.dtype ~= "float32" or got.ndim ~= 1 or got.size ~= n then
    return false, ("the result must be a float32 array of %d elements, got %s of shape %s"):format(n, got.dtype,
      table.concat(got.shape, " x "))
  end
  for i = 1, n do
    if not (math.abs(got[i] - want[i]) <= 1e-6) then
      return false, ("element %d is %.9g, expected %.9g"):format(i, got[i], want[i])
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
