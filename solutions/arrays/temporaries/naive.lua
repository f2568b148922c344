-- Operators on whole arrays: seven temporaries and the result.

local function solve(a, b)
  return 2 * a - 4.5 * b + 0.5 * a * b - b * b
end

return { solve = solve }
