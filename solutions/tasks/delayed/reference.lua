-- All calls are delayed, and sums are made in a tree: its critical path is one call and log2(n) sums.
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
  local list = {}
  for i, x in ipairs(numbers) do
    list[i] = x % 2 == 0 and double(x, seconds) or inc(x, seconds)
  end
  while #list > 1 do
    local next = {}
    for i = 1, #list, 2 do
      next[#next + 1] = list[i + 1] and add(list[i], list[i + 1], seconds) or list[i]
    end
    list = next
  end
  return list[1] and list[1]:compute({ scheduler = "threads", workers = 16 }) or 0
end

return { solve = solve }
