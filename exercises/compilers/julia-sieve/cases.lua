-- Inputs and checks of julia-sieve. size = {n, most, limit, plain: the c of the statement}.
local array = require "perigee.array"

local function inputs(rng, size)
  local re, im = -0.62772, -0.42193
  if not size.plain then
    re, im = rng:uniform(-0.75, -0.55), rng:uniform(-0.5, -0.35)
  end
  local limit = size.limit
  if limit > 2 then
    limit = limit - rng:integers(0, math.floor(limit / 100))
  end
  return { size.n, size.most, re, im, limit }
end

local function expected(inputs)
  local n, most, re, im, limit = inputs[1], inputs[2], inputs[3], inputs[4], inputs[5]
  local counts = array.zeros({ n, n }, { dtype = "int64" })
  for row = 1, n do
    for col = 1, n do
      local zr, zi, k = -1.8 + 3.6 * (col - 1) / n, -1.8 + 3.6 * (row - 1) / n, 0
      while k < most and zr * zr + zi * zi < 4 do
        zr, zi = zr * zr - zi * zi + re, 2 * zr * zi + im
        k = k + 1
      end
      counts[row][col] = k
    end
  end
  local crossed, primes = array.zeros(limit, { dtype = "uint8" }), 0
  for p = 2, limit do
    if crossed[p] == 0 then
      primes = primes + 1
      for multiple = p * p, limit, p do
        crossed[multiple] = 1
      end
    end
  end
  return { counts = counts, primes = primes }
end

local function check(inputs, got, want)
  local n = inputs[1]
  if type(got) ~= "table" then
    return false, "the result must be a table {counts = ..., primes = ...}, not a " .. type(got)
  end
  local counts = got.counts
  if not array.is(counts) then
    return false, "counts must be an int64 array, not a " .. type(counts)
  elseif counts.dtype ~= "int64" or counts.ndim ~= 2 or counts.shape[1] ~= n or counts.shape[2] ~= n then
    return false, ("counts must be an int64 array of shape %d x %d, got %s of shape %s"):format(n, n, counts.dtype,
      table.concat(counts.shape, " x "))
  end
  for row = 1, n do
    for col = 1, n do
      if counts[row][col] ~= want.counts[row][col] then
        return false, ("counts[%d][%d] is %d, expected %d for c = %.17g + %.17g i"):format(row, col, counts[row][col],
          want.counts[row][col], inputs[3], inputs[4])
      end
    end
  end
  if got.primes ~= want.primes then
    return false, ("primes is %s, expected %d: there are so many up to %d"):format(tostring(got.primes), want.primes,
      inputs[5])
  end
  return true
end

return { inputs = inputs, expected = expected, check = check }
