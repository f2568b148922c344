-- Teaches: what the kernels are worth without threads: the sieve gains much, the set little, since LuaJIT compiles it as well.
local array, kernel = require "perigee.array", require "perigee.kernel"

local julia = kernel.parallel_for(function(row, n, most, re, im, counts)
  for col = 1, n do
    local zr, zi = -1.8 + 3.6 * (col - 1) / n, -1.8 + 3.6 * (row - 1) / n
    local k = 0
    while k < most and zr * zr + zi * zi < 4 do
      zr, zi = zr * zr - zi * zi + re, 2 * zr * zi + im
      k = k + 1
    end
    counts[row][col] = k
  end
end, { tile = 4 }):on("simd")

-- crossed[i] is for the odd number 2 i + 1; 2 is a prime by itself.
local sieve = kernel.jit(function(crossed)
  local primes = 1
  for i = 1, #crossed do
    if crossed[i] == 0 then
      primes = primes + 1
      local p = 2 * i + 1
      for multiple = (p * p - 1) / 2, #crossed, p do
        crossed[multiple] = 1
      end
    end
  end
  return primes
end)

local function solve(n, most, re, im, limit)
  local counts = array.zeros({ n, n }, { dtype = "int64" })
  julia(n, n, most, re, im, counts)
  local odd = math.floor((limit - 1) / 2)
  local primes = limit < 2 and 0 or odd < 1 and 1 or sieve(array.zeros(odd, { dtype = "uint8" }))
  return { counts = counts, primes = primes }
end

return { solve = solve }
