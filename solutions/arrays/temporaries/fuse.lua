-- The same as text (numexpr's way).
local kernel = require "perigee.kernel"

local function solve(a, b)
  return kernel.fuse("2*a - 4.5*b + 0.5*a*b - b*b + 0.1*a*a*b - 3*a*b*b", { a = a, b = b })
end

return { solve = solve }
