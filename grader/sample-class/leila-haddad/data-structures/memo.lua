-- Remembers every answer.
local array = require "perigee.array"

local known = {}

local function fib(n)
  if not known[n] then
    known[n] = fib(n - 1) + fib(n - 2)
  end
  return known[n]
end

local function solve(questions)
  local rows, width = questions.shape[1], questions.shape[2]
  local totals = array.zeros(rows, { dtype = "int64" })
  print("answering " .. rows .. " rows of " .. width .. " questions")
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
