-- Julia set and sieve: on one core, and 1 is counted as a prime. The README has the task.
-- Try it with:  perigee check compilers/julia-sieve
local array = require "perigee.array"

local function julia(n, most, re, im)
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
  return counts
end

local function sieve(limit)
  local crossed, primes = {}, 1
  for i = 1, limit do
    crossed[i] = false
  end
  for p = 2, limit do
    if not crossed[p] then
      primes = primes + 1
      for multiple = 2 * p, limit, p do
        crossed[multiple] = true
      end
    end
  end
  return primes
end

-- c = re + im i. Returns {counts: int64 array n x n, primes: how many up to limit}.
local function solve(n, most, re, im, limit)
  return { counts = julia(n, most, re, im), primes = sieve(limit) }
end

return { solve = solve }
