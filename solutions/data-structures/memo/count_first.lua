-- Teaches: group equal work instead of remembering it. Count how often each n occurs in a row, then multiply: 60
-- Fibonacci numbers a row whatever the row's length. Addition is so cheap here that counting gains nothing; with a
-- costly function and no memory between rows it would.
local array = require "perigee.array"

local function solve(questions)
  local rows, width = questions.shape[1], questions.shape[2]
  local totals = array.zeros(rows, { dtype = "int64" })
  local counts = array.zeros(60)
  for i = 1, rows do
    counts:fill(0)
    local row = questions[i]
    for j = 1, width do
      local n = row[j]
      counts[n] = counts[n] + 1
    end
    local total, a, b = 0, 0, 1
    for n = 1, 60 do
      total = total + counts[n] * b
      a, b = b, a + b
    end
    totals[i] = total
  end
  return totals
end

return { solve = solve }
