-- Inputs and checks of reduction. size = n.
local function inputs(rng, n)
  return { rng:integers(-1000, 1000, { shape = { n }, dtype = "int32" }) }
end

local function expected(inputs)
  local x, sum = inputs[1], 0
  for i = 1, #x do
    sum = sum + x[i]
  end
  return sum
end

local function check(_, got, want)
  if type(got) ~= "number" then
    return false, "the result must be a number, not a " .. type(got)
  elseif got ~= want then
    return false, ("the sum is %d, expected %d"):format(got, want)
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
