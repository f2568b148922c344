-- Inputs and checks of transpose. size = {n, m}.
local function inputs(rng, size)
  return { rng:uniform(-1, 1, { shape = { size.n, size.m } }):astype("float32") }
end

local function expected(inputs)
  return inputs[1]:transpose():copy()
end

return { inputs = inputs, expected = expected }
