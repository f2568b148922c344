-- Searching a list against looking up in a table: the time of one question as n doubles.
-- Run it:  perigee run --trusted scripts/demos/data-structures/lookup.lua
local timer = require "perigee.timer"

local function in_list(list, wanted)
  for i = 1, #list do
    if list[i] == wanted then
      return i
    end
  end
end

-- Seconds for one call of f(x), from as many calls as fill 20 ms.
local function seconds(f)
  f(100)
  local calls = 100
  while true do
    local start = timer.now()
    f(calls)
    local took = timer.now() - start
    if took > 0.02 then
      return took / calls
    end
    calls = calls * 2
  end
end

print("      n    list (us)   table (us)")
local n = 125
while n <= 16000 do
  local list, set = {}, {}
  for i = 1, n do
    list[i] = "key" .. i
    set[list[i]] = i
  end
  local found = 0
  local by_list = seconds(function(calls)
    for k = 1, calls do
      found = found + in_list(list, list[k * 7919 % n + 1])
    end
  end)
  local by_table = seconds(function(calls)
    for k = 1, calls do
      found = found + set[list[k * 7919 % n + 1]]
    end
  end)
  print(("%7d %11.3f %12.4f"):format(n, by_list * 1e6, by_table * 1e6))
  n = n * 2
end
print "\nThe list doubles with n; the table does not notice (until it outgrows a cache)."
