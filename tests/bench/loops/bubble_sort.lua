-- Bubble sort of 999 numbers in an array; bubble_sort.c is its rival.
local array = require "perigee.array"

local n = 999

local function sort(a)
  for last = n - 1, 1, -1 do
    for i = 1, last do
      local x, y = a[i], a[i + 1]
      if x > y then
        a[i], a[i + 1] = y, x
      end
    end
  end
end

-- The same xorshift generator (Marsaglia, J. Stat. Softw. 8, 2003) as the rival's.
local state = 1
local function random()
  state = bit.bxor(state, bit.lshift(state, 13))
  state = bit.bxor(state, bit.rshift(state, 17))
  state = bit.bxor(state, bit.lshift(state, 5))
  return state
end

local a = array.zeros(n)
local best = math.huge
for _ = 1, 200 do
  for i = 1, n do
    a[i] = random()
  end
  local start = os.clock()
  sort(a)
  best = math.min(best, os.clock() - start)
end
for i = 2, n do
  assert(a[i - 1] <= a[i])
end
print(string.format("check %.17g", a[500]))
print(string.format("seconds %.9f", best))
