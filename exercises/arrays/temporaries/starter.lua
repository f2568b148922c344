-- Fuse temporaries: every operator makes an array, and a sign is wrong. The README has the task.
-- Try it with:  perigee check arrays/temporaries
-- a, b: float64 arrays of one length. Returns the array of 2 a - 4.5 b + 0.5 a b - b b + 0.1 a a b - 3 a b b.
local function solve(a, b)
  return 2 * a - 4.5 * b + 0.5 * a * b + b * b + 0.1 * a * a * b - 3 * a * b * b
end

return { solve = solve }
