-- Teaches: one kernel for all three loops reads u once, and lets the processor work on the chain, the map and the points at the
-- same time; but the counting of points is no vector any more.
local kernel = require "perigee.kernel"

local all = kernel.jit(function(u, v, x)
  local state, ones, inside = 1, 0, 0
  for i = 1, #u do
    if state == 1 then
      state = u[i] < 0.1 and 2 or 1
    else
      state = u[i] < 0.2 and 1 or 2
    end
    ones = ones + (state == 1 and 1 or 0)
    x = 3.9 * x * (1 - x)
    inside = inside + (u[i] * u[i] + v[i] * v[i] < 1 and 1 or 0)
  end
  return ones / #u, x, inside
end)

local function solve(u, v, x)
  local share, last, inside = all(u, v, x)
  return { share = share, last = last, inside = inside }
end

return { solve = solve }
