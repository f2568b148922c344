-- Product counter: right, and slower than it need be. Which line takes the time? The README has the task.
-- Try it with:  perigee check profiling/product-counter
local collections = require "perigee.collections"

-- Three ways to count. Which one is the fastest, and does it matter?
local function by_test(list)
  local counts = {}
  for _, name in ipairs(list) do
    if counts[name] == nil then
      counts[name] = 1
    else
      counts[name] = counts[name] + 1
    end
  end
  return counts
end

local function by_default(list)
  local counts = {}
  for _, name in ipairs(list) do
    counts[name] = (counts[name] or 0) + 1
  end
  return counts
end

local function by_counter(list)
  local counts = {}
  for _, pair in ipairs(collections.counter(list):most_common()) do
    counts[pair[1]] = pair[2]
  end
  return counts
end

local count = by_test -- or by_default, or by_counter

-- text: the name of a product a line. Returns {names = {...}, counts = {...}}: most sold first, equal ones by name.
local function solve(text)
  local list = {}
  for name in text:gmatch("[^\n]+") do
    table.insert(list, name)
  end
  local counts = count(list)
  local names = {}
  for name in pairs(counts) do
    table.insert(names, name)
  end
  table.sort(names, function(a, b)
    if counts[a] ~= counts[b] then
      return counts[a] > counts[b]
    end
    return a < b
  end)
  local sold = {}
  for i, name in ipairs(names) do
    sold[i] = counts[name]
  end
  return { names = names, counts = sold }
end

return { solve = solve, by_default = by_default, by_counter = by_counter }
