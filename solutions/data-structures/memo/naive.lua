-- Each question from scratch: a loop of n additions. No recursion, but nothing is remembered either.
local array = require "perigee.array"

local function fib(n)
  local a, b = 0, 1
  for _ = 2, n do
    a, b = b, a + b
  end
  return b
end

local function solve(questions)
  local rows, width = questions.shape[1], questions.shape[2]
  local totals = array.zeros(rows, { dtype = "int64" })
  for i = 1, rows do
    local total = 0
    for j = 1, width do
      total = total + fib(questions[i][j])
    end
    totals[i] = total
  end
  return totals
end

return { solve = solve }
