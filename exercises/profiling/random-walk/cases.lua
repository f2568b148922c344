-- Inputs and checks of the random walk. size = {steps, walkers}.
local array = require "perigee.array"

local function inputs(rng, size)
  -- One call of integers makes all coins; an odd dx shows who forgets to multiply.
  return { rng:integers(0, 1, { shape = { size.steps, size.walkers }, dtype = "uint8" }), rng:uniform(0.1, 2) }
end

local function is_vector(a, n)
  return array.is(a) and a.dtype == "float64" and a.ndim == 1 and a.shape[1] == n
end

local function first_difference(name, got, expected, dx)
  for i = 1, expected.shape[1] do
    if not (math.abs(got[i] - expected[i]) <= 1e-9 * dx * math.max(1, math.abs(expected[i]) / dx)) then
      return ("%s[%d] is %.12g, expected %.12g (dx = %.6g)"):format(name, i, got[i], expected[i], dx)
    end
  end
end

local function check(inputs, got, expected)
  local coins, dx = inputs[1], inputs[2]
  local steps, walkers = coins.shape[1], coins.shape[2]
  if type(got) ~= "table" then
    return false, "the result must be a table {rms = ..., last = ...}, not a " .. type(got)
  end
  if not is_vector(got.rms, steps + 1) then
    return false, ("rms must be a float64 array of length steps + 1 = %d: before the first step counts too")
      :format(steps + 1)
  end
  if not is_vector(got.last, walkers) then
    return false, ("last must be a float64 array with the final position of each of the %d walkers"):format(walkers)
  end
  if got.rms[1] ~= 0 then
    return false, ("rms[1] is %.12g, but all walkers start at x = 0"):format(got.rms[1])
  end
  if steps >= 1 and not (math.abs(got.rms[2] - dx) <= 1e-9 * dx) then
    return false, ("after one step every walker is dx = %.6g away from 0, so rms[2] must be %.6g; got %.12g"):format(
      dx, dx, got.rms[2])
  end
  local message = first_difference("last", got.last, expected.last, dx)
    or first_difference("rms", got.rms, expected.rms, dx)
  if message then
    return false, message .. ". Steps are +dx for a 1 and -dx for a 0"
  end
  -- The mean square of `walkers` fair walks has a relative standard deviation of sqrt(2 / walkers): 6 of them leave
  -- room.
  if walkers >= 100 and steps >= 10 then
    local square = (got.rms[steps + 1] / dx) ^ 2 / steps
    if not (math.abs(square - 1) <= 6 * math.sqrt(2 / walkers)) then
      return false, ("the final RMS distance is %.4g dx; fair coins give about sqrt(%d) dx = %.4g dx"):format(
        got.rms[steps + 1] / dx, steps, math.sqrt(steps))
    end
  end
  return true
end

return { inputs = inputs, check = check }
