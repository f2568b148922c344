-- All pairs; for three and four numbers, all triples and quadruples: n^count / count! sums.
local function search(numbers, from, target, count)
  local n = numbers.shape[1]
  if count == 2 then
    for i = from, n - 1 do
      local wanted = target - numbers[i]
      for j = i + 1, n do
        if numbers[j] == wanted then
          return { i, j }
        end
      end
    end
    return nil
  end
  for i = from, n - count + 1 do
    local rest = search(numbers, i + 1, target - numbers[i], count - 1)
    if rest then
      table.insert(rest, 1, i)
      return rest
    end
  end
  return nil
end

local function solve(numbers, target, count)
  return search(numbers, 1, target, count) or {}
end

return { solve = solve }
