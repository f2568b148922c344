-- Inputs of the orders. size = {orders, longest, fail, fixed}: the longest takes `longest` seconds, the others two to four
-- fifths of it; so many of them fail; fixed: the sums are 13, 3, 9, 7 and an error.

local sums = { 13, 3, 9, 7 }

local function inputs(rng, size)
  local orders = {}
  for i = 1, size.orders do
    local a = rng:integers(1, 1000)
    local b = size.fixed and (sums[i] or 0) - a or rng:integers(1, 1000)
    orders[i] = { a = a, b = b, seconds = size.longest * rng:uniform(0.4, 0.8), fails = i > size.orders - (size.fail or
      size.fixed and 1 or 0) }
  end
  if orders[1] then
    orders[rng:integers(1, #orders)].seconds = size.longest
  end
  if not size.fixed then
    rng:shuffle(orders)
  end
  return { orders }
end

local function check(inputs, got, _, info)
  local orders, longest = inputs[1], 0
  if type(got) ~= "table" or #got ~= #orders then
    return false, ("the result must be a list with an item for each of the %d orders"):format(#orders)
  end
  for i, order in ipairs(orders) do
    longest = math.max(longest, order.seconds)
    local item = got[i]
    if order.fails then
      if type(item) ~= "string" or not item:find("order " .. order.a .. " failed", 1, true) then
        return false, ("order %d fails: its item must be the error's message, which holds \"order %d failed\", got %s"):format(
          i, order.a, tostring(item))
      end
    elseif item ~= order.a + order.b then
      return false, ("item %d is %s, expected %d"):format(i, tostring(item), order.a + order.b)
    end
  end
  if info and info.wall and info.wall < longest then
    return false, ("all was done after %.1f ms, but one order takes %.1f ms: wait, as prepare does"):format(
      info.wall * 1e3, longest * 1e3)
  end
  return true
end

return { inputs = inputs, check = check }
