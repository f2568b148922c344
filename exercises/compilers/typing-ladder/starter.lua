-- Typing ladder: interpreted, and one step too many. The README has the task.
-- Try it with:  perigee check compilers/typing-ladder
local array = require "perigee.array"

local function f(x)
  return x * x - x
end

local function integrate(a, b, n)
  local dx, sum = (b - a) / n, 0.0
  for i = 0, n do
    sum = sum + f(a + i * dx)
  end
  return sum * dx
end

-- a, b: float64 arrays, n: int64 array, one entry a row. Returns the float64 array of the integrals.
local function solve(a, b, n)
  local result = array.zeros(#a)
  for row = 1, #a do
    result[row] = integrate(a[row], b[row], n[row])
  end
  return result
end

return { solve = solve }
