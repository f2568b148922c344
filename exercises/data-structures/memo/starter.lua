-- Memo and overflow: follows the definition. The README has the task.
-- Try it with:  perigee check data-structures/memo
local array = require "perigee.array"

local function fib(n)
  if n <= 2 then
    return 1
  end
  return fib(n - 1) + fib(n - 2)
end

-- questions: uint8 array rows x width of n from 1 to 60. Returns the sum of fib(n) over each row as an int64 array.
local function solve(questions)
  local rows, width = questions.shape[1], questions.shape[2]
  local totals = array.zeros(rows, { dtype = "int32" })
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
