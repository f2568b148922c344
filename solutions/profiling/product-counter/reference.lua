-- One pass and no list: each name is counted where it is found. find with plain text and sub are compiled by LuaJIT,
-- gmatch is not; so the whole loop is machine code.
local find, sub = string.find, string.sub

local function solve(text)
  local counts, names = {}, {}
  local from, length = 1, #text
  while from <= length do
    local at = find(text, "\n", from, true) or length + 1
    local name = sub(text, from, at - 1)
    local n = counts[name]
    if n then
      counts[name] = n + 1
    else
      counts[name] = 1
      names[#names + 1] = name
    end
    from = at + 1
  end
  table.sort(names, function(a, b)
    local m, n = counts[a], counts[b]
    if m ~= n then
      return m > n
    end
    return a < b
  end)
  local sold = {}
  for i = 1, #names do
    sold[i] = counts[names[i]]
  end
  return { names = names, counts = sold }
end

return { solve = solve }
