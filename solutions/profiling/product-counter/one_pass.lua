-- Teaches: half of the way. Counting inside the loop drops the list of all names, its growth and the second pass; what
-- is left is gmatch, which runs in the interpreter.
local function solve(text)
  local counts, names = {}, {}
  for name in text:gmatch("[^\n]+") do
    local n = counts[name]
    if n then
      counts[name] = n + 1
    else
      counts[name] = 1
      names[#names + 1] = name
    end
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
