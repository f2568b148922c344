-- All orders are submitted before the first result is asked for; an error stays with its order.
local pg = require "perigee"

local pool = pg.parallel.pool(8)

local function prepare(order)
  require("perigee").timer.sleep(order.seconds)
  if order.fails then
    error("order " .. order.a .. " failed")
  end
  return order.a + order.b
end

local function solve(orders)
  local futures, results = {}, {}
  for i, order in ipairs(orders) do
    futures[i] = pool:submit(prepare, order)
  end
  for i, future in ipairs(futures) do
    local ok, value = pcall(future.result, future)
    results[i] = ok and value or tostring(value)
  end
  return results
end

return { solve = solve }
