-- Delayed graph: right, and one call after the other. Make it faster; the README has the rules.
-- Try it with:  perigee check tasks/delayed
local pg = require "perigee"

local function inc(x, seconds)
  pg.timer.sleep(seconds)
  return x + 1
end

local function double(x, seconds)
  pg.timer.sleep(seconds)
  return 2 * x
end

local function add(x, y, seconds)
  pg.timer.sleep(seconds)
  return x + y
end

local function solve(numbers, seconds)
  local total
  for _, x in ipairs(numbers) do
    local y
    if x % 2 == 0 then
      y = double(x, seconds)
    else
      y = inc(x, seconds)
    end
    total = total and add(total, y, seconds) or y
  end
  return total or 0
end

return { solve = solve }
