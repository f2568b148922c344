-- Teaches: the ready-made tool is shorter, and is not the hot line. collections.counter counts as the hand-written table
-- does; beside the list it costs little.
local collections = require "perigee.collections"

local function solve(text)
  local list = {}
  for name in text:gmatch("[^\n]+") do
    list[#list + 1] = name
  end
  local counter = collections.counter(list)
  local names = counter:keys():totable()
  table.sort(names, function(a, b)
    local m, n = counter:count(a), counter:count(b)
    if m ~= n then
      return m > n
    end
    return a < b
  end)
  local sold = {}
  for i, name in ipairs(names) do
    sold[i] = counter:count(name)
  end
  return { names = names, counts = sold }
end

return { solve = solve }
