-- Inputs and checks of memo. size = {rows, width, first, low, high}: `first` are the first questions, the others are
-- random between low and high (1 and 60 by default). Where rows or width is missing, it is random up to 99.
local array = require "perigee.array"

-- The sums are computed here from below, independently of any submission.
local fib = { 1, 1 }
for n = 3, 60 do
  fib[n] = fib[n - 1] + fib[n - 2]
end

local function inputs(rng, size)
  local rows, width = size.rows or rng:integers(1, 99), size.width or rng:integers(1, 99)
  local questions = rng:integers(size.low or 1, size.high or 60, { shape = { rows, width }, dtype = "uint8" })
  for k, n in ipairs(size.first or {}) do
    questions[k][1] = n
  end
  return { questions }
end

local function expected(inputs)
  local questions = inputs[1]
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

local function check(inputs, got, want)
  local questions = inputs[1]
  local rows, width = questions.shape[1], questions.shape[2]
  if not array.is(got) then
    return false, "the result must be an int64 array, one sum a row, not a " .. type(got)
  end
  if got.dtype ~= "int64" then
    return false, ("the result must be an int64 array, got %s: int32 ends at 2147483647, and float64 is exact only to 2^53")
      :format(got.dtype)
  end
  if got.ndim ~= 1 or got.shape[1] ~= rows then
    return false, ("the result must have one dimension and %d elements, one a row of questions"):format(rows)
  end
  for i = 1, rows do
    local value = got[i]
    if value ~= want[i] then
      local why = ""
      if width == 1 then
        why = (" for the question fib(%d)"):format(questions[i][1])
      end
      if value == (want[i] + 2 ^ 31) % 2 ^ 32 - 2 ^ 31 then
        why = why .. ": this is the right sum wrapped round to 32 bits"
      end
      return false, ("row %d has the sum %.0f, expected %.0f%s"):format(i, value, want[i], why)
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
