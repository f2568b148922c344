-- One after the other, without workers.
local timer = require("perigee").timer

local function prepare(order)
  timer.sleep(order.seconds)
  if order.fails then
    error("order " .. order.a .. " failed")
  end
  return order.a + order.b
end

local function solve(orders)
  local results = {}
  for i, order in ipairs(orders) do
    local ok, value = pcall(prepare, order)
    results[i] = ok and value or tostring(value)
  end
  return results
end

return { solve = solve }
