-- What was called, with what, and what came back: a log of calls and its tree. Run me: perigee run --trusted
-- scripts/demos/profiling/log.lua
local log = require("perigee").log

local path = os.tmpname()
log.open(path)

local halve, steps_to_one

halve = log.wrap("halve", function(n)
  return n / 2
end)

steps_to_one = log.wrap("steps_to_one", function(n)
  if n == 1 then
    return 0
  elseif n % 2 == 0 then
    return 1 + steps_to_one(halve(n))
  end
  log.message("odd", { n = n })
  return 1 + steps_to_one(3 * n + 1)
end)

steps_to_one(6)
log.close()

print(log.tree(path)) -- `perigee log tree FILE` prints the same
os.remove(path)
