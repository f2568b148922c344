-- Teaches: a memo that forgets. An answer is good for 3000 questions (a server would say: for a minute) and is computed
-- again afterwards. With 30 different questions an answer is used about 100 times before it expires: 99% hits, and most
-- of the speed. `hits` and `misses` count them, as functools.lru_cache does in Python.
local array = require "perigee.array"

local time_to_live = 3000

local function compute(n)
  local a, b = 0, 1
  for _ = 2, n do
    a, b = b, a + b
  end
  return b
end

local function solve(questions)
  local rows, width = questions.shape[1], questions.shape[2]
  local totals = array.zeros(rows, { dtype = "int64" })
  local values, expires = array.zeros(60), array.zeros(60)
  local hits, misses = 0, 0
  local clock = 0
  for i = 1, rows do
    local row, total = questions[i], 0
    for j = 1, width do
      local n = row[j]
      clock = clock + 1
      if expires[n] < clock then
        values[n], expires[n] = compute(n), clock + time_to_live
        misses = misses + 1
      else
        hits = hits + 1
      end
      total = total + values[n]
    end
    totals[i] = total
  end
  return totals
end

return { solve = solve }
