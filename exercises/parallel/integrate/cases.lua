-- Inputs of the integration. size = {n, more, plain}: n steps, up to `more` more of them; plain is x^1.5 from 0 to 1.

local function inputs(rng, size)
  local n = size.n + (size.more and rng:integers(0, size.more) or 0)
  if size.plain then
    return { n, 1, 0 }
  end
  -- Some six steps a wave: far from the integral, whatever formula one has for it.
  local b = rng:uniform(0.5, 2)
  return { n, b, n / b * rng:uniform(0.8, 1.2) }
end

return { inputs = inputs }
