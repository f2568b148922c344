-- Splits the text into a list of all names, then counts the list.
local function solve(text)
  local list = {}
  for name in text:gmatch("[^\n]+") do
    table.insert(list, name)
  end
  local counts = {}
  for _, name in ipairs(list) do
    if counts[name] == nil then
      counts[name] = 1
    else
      counts[name] = counts[name] + 1
    end
  end
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

return { solve = solve }
