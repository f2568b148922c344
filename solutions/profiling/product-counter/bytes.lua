-- Teaches: doing by hand what a compiled function does. A loop over bytes is compiled as well, but it looks at one byte a
-- round where find looks at many.
local byte, sub = string.byte, string.sub

local function solve(text)
  local counts, names = {}, {}
  local from = 1
  for at = 1, #text + 1 do
    local b = byte(text, at)
    if (b == 10 or b == nil) and from < at then
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
