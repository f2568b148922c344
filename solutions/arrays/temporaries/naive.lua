-- Operators on whole arrays: fifteen temporaries and the result.

local function solve(a, b)
  return 2 * a - 4.5 * b + 0.5 * a * b - b * b + 0.1 * a * a * b - 3 * a * b * b
end

return { solve = solve }
