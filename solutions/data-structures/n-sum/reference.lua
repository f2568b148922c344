-- Two-sum with a hash table: one pass, each number looks its partner up among the numbers before it. More numbers: fix
-- the first and solve for the rest behind it, n^(count - 1) look-ups in all.
local function pair(numbers, from, target)
  local seen = {}
  for j = from, numbers.shape[1] do
    local value = numbers[j]
    local i = seen[target - value]
    if i then
      return { i, j }
    end
    seen[value] = j
  end
  return nil
end

local function search(numbers, from, target, count)
  if count == 2 then
    return pair(numbers, from, target)
  end
  for i = from, numbers.shape[1] - count + 1 do
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
