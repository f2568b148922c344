-- A table filled from below before the first question: fib(n) is then one load. Only 60 questions exist, so all are
-- answered in advance.
local array = require "perigee.array"

local largest = 60

local function solve(questions)
  local rows, width = questions.shape[1], questions.shape[2]
  local totals = array.zeros(rows, { dtype = "int64" })
  local fib = array.ones(largest)
  for n = 3, largest do
    fib[n] = fib[n - 1] + fib[n - 2]
  end
  for i = 1, rows do
    local row, total = questions[i], 0
    for j = 1, width do
      total = total + fib[row[j]]
    end
    totals[i] = total
  end
  return totals
end

return { solve = solve }
