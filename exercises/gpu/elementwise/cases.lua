-- Inputs and checks of elementwise. size = n.
local array = require "perigee.array"

local function inputs(rng, n)
  return { rng:uniform(-2, 2, { shape = { n } }):astype("float32") }
end

local function expected(inputs)
  local x = inputs[1]
  local y = array.zeros(#x, { dtype = "float32" })
  for i = 1, #x do
    y[i] = ((0.25 * x[i] + 0.75) * x[i] - 1.5) * x[i] - 2
  end
  return y
end

local function check(inputs, got, want)
  local x = inputs[1]
  if not array.is(got) then
    return false, "the result must be a float32 array, not a " .. type(got)
  elseif got.dtype ~= "float32" or got.ndim ~= 1 or got.shape[1] ~= #x then
    return false, ("the result must be a float32 array of length %d, got %s of shape %s"):format(#x, got.dtype,
      table.concat(got.shape, " x "))
  end
  for i = 1, #x do
    local v = math.abs(x[i])
    if not (math.abs(got[i] - want[i]) <= 2e-6 * (((0.25 * v + 0.75) * v + 1.5) * v + 2)) then
      return false, ("element %d is %.9g, expected %.9g for x = %.9g"):format(i, got[i], want[i], x[i])
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
