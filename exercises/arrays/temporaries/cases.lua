-- Inputs and checks of temporaries. size = n.
local array = require "perigee.array"

local function inputs(rng, n)
  return { rng:uniform(-10, 10, { shape = { n } }), rng:uniform(-10, 10, { shape = { n } }) }
end

local function expected(inputs)
  local a, b = inputs[1], inputs[2]
  local n = a.shape[1]
  local want = array.empty(n)
  for i = 1, n do
    local x, y = a[i], b[i]
    want[i] = 2 * x - 4.5 * y + 0.5 * x * y - y * y + 0.1 * x * x * y - 3 * x * y * y
  end
  return want
end

local function check(inputs, got, want)
  local a, b = inputs[1], inputs[2]
  local n = a.shape[1]
  if not array.is(got) then
    return false, "the result must be a float64 array, not a " .. type(got)
  elseif got.dtype ~= "float64" or got.ndim ~= 1 or got.shape[1] ~= n then
    return false, ("the result must be a float64 array of length %d, got %s of shape %s"):format(n, got.dtype,
      table.concat(got.shape, " x "))
  end
  for i = 1, n do
    local x, y = math.abs(a[i]), math.abs(b[i])
    local scale = 2 * x + 4.5 * y + 0.5 * x * y + y * y + 0.1 * x * x * y + 3 * x * y * y + 1
    if not (math.abs(got[i] - want[i]) <= 1e-12 * scale) then
      return false, ("element %d is %.15g, expected %.15g for a[%d] = %.15g, b[%d] = %.15g"):format(i, got[i], want[i], i,
        a[i], i, b[i])
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
