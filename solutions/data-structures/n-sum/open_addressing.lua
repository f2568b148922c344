-- Teaches: what a hash table is made of. Slots in two arrays, at least twice as many as numbers so that chains stay
-- short; a number goes to the slot its remainder names, or to the next free one. It never grows and allocates twice,
-- while a Lua table is copied each time it doubles.
local array = require "perigee.array"

local function pair(numbers, from, target)
  local n = numbers.shape[1]
  local slots = 16
  while slots < 2 * (n - from + 1) do
    slots = slots * 2
  end
  local values = array.empty(slots)
  local positions = array.zeros(slots, { dtype = "int32" }) -- 0: free
  local prime = slots - 1 -- odd: spreads values that share their low digits
  for j = from, n do
    local value = numbers[j]
    local wanted = target - value
    local slot = wanted % prime + 1
    while positions[slot] ~= 0 do
      if values[slot] == wanted then
        return { positions[slot], j }
      end
      slot = slot == slots and 1 or slot + 1
    end
    slot = value % prime + 1
    while positions[slot] ~= 0 and values[slot] ~= value do
      slot = slot == slots and 1 or slot + 1
    end
    values[slot], positions[slot] = value, j
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
