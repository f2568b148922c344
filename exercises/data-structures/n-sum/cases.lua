-- Inputs and checks of n-sum. size = {n, count, kind}; kind says what is planted:
--   none    any target: a planted answer or none, with equal chances (the default for count 3 and 4, with repeats)
--   half    target is twice a number that occurs once: pairing it with itself is wrong
--   twice   target is twice a number that occurs exactly twice
--   end     the only pair is at the last two positions
--   late    a planted pair at random positions, or none: half and half
local array = require "perigee.array"

local large = 1e12

local function inputs(rng, size)
  local n, count, kind = size.n, size.count, size.kind
  local range = count == 2 and large or 40 * n
  local numbers = rng:integers(-range, range, { shape = { n }, dtype = "int64" })
  local target = rng:integers(-range, range)
  if n < count then
    target = n == 1 and 2 * numbers[1] or target
  elseif kind == "half" or kind == "twice" then
    local i = rng:integers(1, n)
    target = 2 * numbers[i]
    if kind == "twice" then
      local j = rng:integers(1, n - 1)
      numbers[j < i and j or j + 1] = numbers[i]
    end
  elseif kind == "end" then
    target = numbers[n - 1] + numbers[n]
  elseif rng:integers(0, 1) == 1 then
    -- `count` different positions: the first of a shuffled list, or two drawn directly where the list would be long.
    target = 0
    local positions = {}
    if count == 2 then
      local i, j = rng:integers(1, n), rng:integers(1, n - 1)
      positions = { i, j < i and j or j + 1 }
    else
      for i = 1, n do
        positions[i] = i
      end
      rng:shuffle(positions)
    end
    for k = 1, count do
      target = target + numbers[positions[k]]
    end
  elseif count > 2 then
    -- Three or four numbers from a small range nearly always reach a small target; this one is out of reach or rare.
    target = (count - 0.25) * range
    target = target - target % 1
  end
  return { numbers, target, count }
end

local function check(inputs, got, expected)
  local numbers, target, count = inputs[1], inputs[2], inputs[3]
  local n = numbers.shape[1]
  if type(got) ~= "table" then
    return false, ("the result must be a list of %d positions, or {} where there is no answer; got %s")
      :format(count, type(got))
  end
  if next(got) == nil then
    if next(expected) ~= nil then
      return false, ("no answer was found, but positions %s hold numbers that add up to %.0f"):format(
        table.concat(expected, ", "), target)
    end
    return true
  end
  if #got ~= count then
    return false, ("the result must hold %d positions, got %d"):format(count, #got)
  end
  local sum, before = 0, 0
  for k = 1, count do
    local position = got[k]
    if type(position) ~= "number" or position % 1 ~= 0 or position < 1 or position > n then
      return false, ("entry %d of the result is %s, which is not a position from 1 to %d")
        :format(k, tostring(position), n)
    end
    if position == before then
      return false, ("position %d is used twice: a number may be used once, unless it occurs twice"):format(position)
    end
    if position < before then
      return false, ("positions must increase: %d comes after %d"):format(position, before)
    end
    before = position
    sum = sum + numbers[position]
  end
  if sum ~= target then
    return false, ("the numbers at positions %s add up to %.0f, not to %.0f")
      :format(table.concat(got, ", "), sum, target)
  end
  return true
end

return { inputs = inputs, check = check }
