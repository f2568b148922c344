-- Grids for the heat equation. size = {rows, more, columns, steps}: up to `more` more rows.

local function inputs(rng, size)
  local rows = size.rows + (size.more and rng:integers(0, size.more) or 0)
  return { rng:uniform(-1, 1, { shape = { rows, size.columns } }), size.steps }
end

return { inputs = inputs }
