-- Concentrations in a river. size = {rows, more, columns, steps}: up to `more` more rows.

local function inputs(rng, size)
  local rows = size.rows + (size.more and rng:integers(0, size.more) or 0)
  return { rng:uniform(0, 1, { shape = { rows, size.columns } }), size.steps }
end

return { inputs = inputs }
