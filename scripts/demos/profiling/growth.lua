-- How does the time grow with the input? Two ways to find duplicates. Run me: perigee run scripts/demos/profiling/growth.lua
local pg = require "perigee"

local function pairs_compared(list)
  local count = 0
  for i = 1, #list do
    for j = 1, i - 1 do
      if list[i] == list[j] then
        count = count + 1
        break
      end
    end
  end
  return count
end

local function looked_up(list)
  local seen, count = {}, 0
  for i = 1, #list do
    if seen[list[i]] then
      count = count + 1
    end
    seen[list[i]] = true
  end
  return count
end

local function numbers(n)
  local list = {}
  for i = 1, n do
    list[i] = i
  end
  return list
end

pg.bench.scaling(pairs_compared, { 100, 200, 400, 800, 1600 }, { setup = numbers, name = "pairs", seconds = 0.5 })
print()
pg.bench.scaling(looked_up, { 1000, 4000, 16000, 64000 }, { setup = numbers, name = "table", seconds = 0.5 })
