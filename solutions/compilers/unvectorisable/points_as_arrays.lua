-- Teaches: only the points can be array operations, and they are a third of the work: Amdahl's law.
local function markov(u)
  local state, ones = 1, 0
  for i = 1, #u do
    if state == 1 then
      if u[i] < 0.1 then
        state = 2
      end
    elseif u[i] < 0.2 then
      state = 1
    end
    if state == 1 then
      ones = ones + 1
    end
  end
  return ones / #u
end

local function quadratic(x, n)
  for _ = 1, n do
    x = 3.9 * x * (1 - x)
  end
  return x
end

local function points(u, v)
  return (u * u + v * v):lt(1):count_nonzero()
end

local function solve(u, v, x)
  return { share = markov(u), last = quadratic(x, #u), inside = points(u, v) }
end

return { solve = solve }
