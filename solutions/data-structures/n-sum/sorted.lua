-- Teaches: sort once, then walk from both ends. The sum of the smallest and the largest says which end to move; n log n
-- for two numbers, no hash table, and for more numbers the sorted list is used again.
local function search(values, from, target, count, picked)
  if count == 2 then
    local i, j = from, #values
    while i < j do
      local sum = values[i] + values[j]
      if sum == target then
        picked[#picked + 1], picked[#picked + 2] = i, j
        return true
      elseif sum < target then
        i = i + 1
      else
        j = j - 1
      end
    end
    return false
  end
  for i = from, #values - count + 1 do
    picked[#picked + 1] = i
    if search(values, i + 1, target - values[i], count - 1, picked) then
      return true
    end
    picked[#picked] = nil
  end
  return false
end

local function solve(numbers, target, count)
  local values = numbers:totable()
  table.sort(values)
  local picked = {}
  if not search(values, 1, target, count, picked) then
    return {}
  end
  -- The answer is in values; find a position for each, a different one for each of equal values.
  local wanted = {}
  for _, i in ipairs(picked) do
    wanted[values[i]] = (wanted[values[i]] or 0) + 1
  end
  local positions = {}
  for j = 1, numbers.shape[1] do
    local value = numbers[j]
    if (wanted[value] or 0) > 0 then
      wanted[value] = wanted[value] - 1
      positions[#positions + 1] = j
    end
  end
  return positions
end

return { solve = solve }
