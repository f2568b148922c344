-- Inputs and checks of histogram. size = n. Half of the elements are of a few values.
local array = require "perigee.array"

local function inputs(rng, n)
  local x = rng:integers(0, 255, { shape = { n }, dtype = "uint8" })
  local common = rng:integers(0, 252)
  for i = 1, n, 2 do
    x[i] = common + i % 3
  end
  return { x }
end

local function expected(inputs)
  local x, counts = inputs[1], array.zeros(256, { dtype = "int32" })
  for i = 1, #x do
    counts[x[i] + 1] = counts[x[i] + 1] + 1
  end
  return counts
end

return { inputs = inputs, expected = expected }
