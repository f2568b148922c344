-- Results as they come, put back in the orders' order.
local pg = require "perigee"
local parallel = pg.parallel

local pool = parallel.pool(8)

local function prepare(order)
  require("perigee").timer.sleep(order.seconds)
  if order.fails then
    error("order " .. order.a .. " failed")
  end
  return order.a + order.b
end

local function solve(orders)
  local futures, place, results = {}, {}, {}
  for i, order in ipairs(orders) do
    futures[i] = pool:submit(prepare, order)
    place[futures[i]] = i
  end
  for future in parallel.as_completed(futures) do
    local ok, value = pcall(future.result, future)
    results[place[future]] = ok and value or tostring(value)
  end
  return results
end

return { solve = solve }
