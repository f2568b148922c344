-- Two-sum to n-sum: tries all pairs, and knows only count = 2. The README has the task.
-- Try it with:  perigee check data-structures/n-sum

-- numbers: int64 array; returns a list of `count` increasing positions whose numbers add up to target, or {}.
local function solve(numbers, target, count)
  local n = numbers.shape[1]
  if count ~= 2 then
    error("three and four numbers: to do")
  end
  for i = 1, n - 1 do
    for j = i + 1, n do
      if numbers[i] + numbers[j] == target then
        return { i, j }
      end
    end
  end
  return {}
end

return { solve = solve }
