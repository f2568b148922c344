-- All calls are delayed, but each sum needs the one before: the critical path has n - 1 sums.
local pg = require "perigee"
local tasks = pg.tasks

local inc = tasks.delayed(function(x, seconds)
  pg.timer.sleep(seconds)
  return x + 1
end, { name = "inc" })

local double = tasks.delayed(function(x, seconds)
  pg.timer.sleep(seconds)
  return 2 * x
end, { name = "double" })

local add = tasks.delayed(function(x, y, seconds)
  pg.timer.sleep(seconds)
  return x + y
end, { name = "add" })

local function solve(numbers, seconds)
  local total
  for _, x in ipairs(numbers) do
    local y = x % 2 == 0 and double(x, seconds) or inc(x, seconds)
    total = total and add(total, y, seconds) or y
  end
  return total and total:compute({ scheduler = "threads", workers = 8 }) or 0
end

return { solve = solve }
