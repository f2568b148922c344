-- Teaches: the memo itself. The recursion of the definition, but each answer is kept, so that fib(60) takes 60 calls
-- once and one look-up ever after. Works where the questions are not known in advance.
local array = require "perigee.array"

local memo = { 1, 1 }

local function fib(n)
  local known = memo[n]
  if known then
    return known
  end
  local value = fib(n - 1) + fib(n - 2)
  memo[n] = value
  return value
end

local function solve(questions)
  local rows, width = questions.shape[1], questions.shape[2]
  local totals = array.zeros(rows, { dtype = "int64" })
  for i = 1, rows do
    local row, total = questions[i], 0
    for j = 1, width do
      local n = row[j]
      total = total + (memo[n] or fib(n))
    end
    totals[i] = total
  end
  return totals
end

return { solve = solve }
