local array = require "perigee.array"

local function solve(questions)
  local fib = array.ones(60)
  for n = 3, 60 do
    fib[n] = fib[n - 1] + fib[n - 2]
  end
  local rows, width = questions.shape[1], questions.shape[2]
  local totals = array.zeros(rows, { dtype = "int64" })
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
