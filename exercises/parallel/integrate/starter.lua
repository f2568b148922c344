-- Integrate x^1.5: right, and on one core. Make it faster; the README has the rules.
-- Try it with:  perigee check parallel/integrate

-- The midpoint rule for x^1.5 cos(kx) from 0 to b with n steps.
local function solve(n, b, k)
  local h, sum = b / n, 0
  for i = 1, n do
    local x = (i - 0.5) * h
    sum = sum + x ^ 1.5 * math.cos(k * x)
  end
  return sum * h
end

return { solve = solve }
