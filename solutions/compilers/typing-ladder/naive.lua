-- Interpreted: a call of f and eight operations a step.
local array = require "perigee.array"

local function f(x)
  return x * x - x
end

local function integrate(a, b, n)
  local dx, sum = (b - a) / n, 0.0
  for i = 0, n - 1 do
    sum = sum + f(a + i * dx)
  end
  return sum * dx
end

local function solve(a, b, n)
  local result = array.zeros(#a)
  for row = 1, #a do
    result[row] = integrate(a[row], b[row], n[row])
  end
  return result
end

return { solve = solve }
