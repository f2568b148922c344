-- Loops that do not vectorise: interpreted, and the chain is counted before its step. The README has the task.
-- Try it with:  perigee check compilers/unvectorisable
local function markov(u)
  local state, ones = 1, 0
  for i = 1, #u do
    if state == 1 then
      ones = ones + 1
    end
    if state == 1 then
      if u[i] < 0.1 then
        state = 2
      end
    elseif u[i] < 0.2 then
      state = 1
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
  local inside = 0
  for i = 1, #u do
    if u[i] ^ 2 + v[i] ^ 2 < 1 then
      inside = inside + 1
    end
  end
  return inside
end

-- u, v: float64 arrays, x: a number. Returns {share, last, inside}.
local function solve(u, v, x)
  return { share = markov(u), last = quadratic(x, #u), inside = points(u, v) }
end

return { solve = solve }
