-- Inputs and checks of typing-ladder. size = rows.
local array = require "perigee.array"

local function inputs(rng, rows)
  local a = rng:uniform(-1, 1, { shape = { rows } })
  local b = rng:uniform(-1, 1, { shape = { rows } })
  local n = rng:integers(rows == 1 and 1 or 100, rows == 1 and 1 or 1000, { shape = { rows }, dtype = "int64" })
  return { a, b, n }
end

-- The sum in closed form: x = a + i dx gives n (a^2 - a) + (2 a - 1) dx S1 + dx^2 S2, with S1 and S2 the sums of i and i^2.
local function expected(inputs)
  local a, b, n = inputs[1], inputs[2], inputs[3]
  local want = array.empty(#a)
  for i = 1, #a do
    local count, low = n[i], a[i]
    local dx = (b[i] - low) / count
    local first, second = count * (count - 1) / 2, (count - 1) * count * (2 * count - 1) / 6
    want[i] = (count * (low * low - low) + (2 * low - 1) * dx * first + dx * dx * second) * dx
  end
  return want
end

local function check(inputs, got, want)
  local a, b, n = inputs[1], inputs[2], inputs[3]
  if not array.is(got) then
    return false, "the result must be a float64 array, not a " .. type(got)
  elseif got.dtype ~= "float64" or got.ndim ~= 1 or got.shape[1] ~= #a then
    return false, ("the result must be a float64 array of length %d, got %s of shape %s"):format(#a, got.dtype,
      table.concat(got.shape, " x "))
  end
  for i = 1, #a do
    if not (math.abs(got[i] - want[i]) <= 1e-9 * 2 * math.abs(b[i] - a[i]) + 1e-300) then
      return false, ("row %d is %.15g, expected %.15g for a = %.15g, b = %.15g, n = %d"):format(i, got[i], want[i], a[i],
        b[i], n[i])
    end
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
