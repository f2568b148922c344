-- The same graph by two schedulers, what each call took, and the chain of calls that bounds them all. Run me: perigee run
-- scripts/demos/tasks/schedulers.lua
local pg = require "perigee"
local tasks = pg.tasks

-- Some milliseconds of arithmetic.
local simulate = tasks.delayed(function(seed, steps)
  local x = seed
  for _ = 1, steps do
    x = x * 16807 % 2147483647
  end
  return x
end, { name = "simulate" })

local merge = tasks.delayed(function(a, b)
  return (a + b) % 2147483647
end, { name = "merge" })

-- Sixteen simulations, one of them four times as long, merged in a tree.
local list = {}
for i = 1, 16 do
  list[i] = simulate(i, i == 7 and 400000 or 100000)
end
while #list > 1 do
  local next = {}
  for i = 1, #list, 2 do
    next[#next + 1] = merge(list[i], list[i + 1])
  end
  list = next
end
local result = list[1]

local path = tasks.critical_path(result)
print(("%d calls stand on the longest chain, from %s to %s\n"):format(#path.nodes, path.nodes[1].call,
  path.nodes[#path.nodes].call))

for _, scheduler in ipairs { "serial", "threads" } do
  tasks.scheduler(scheduler)
  result:compute() -- the first time, workers start and compile
  local value, report = result:compute { report = true }
  print(value)
  print(report)
  print()
end

-- A call that fails now and then is tried again.
local attempts = pg.parallel.atomic(0)
local flaky = tasks.delayed(function(x)
  if attempts:add(1) < 2 then
    error("the server does not answer")
  end
  return x
end, { name = "flaky", retries = { count = 3, delay = 0.01 } })
print("after some attempts: " .. flaky(42):compute() .. ", the attempts: " .. attempts:get())

-- What failed does not take the rest with it where it should not.
local parse = tasks.delayed(function(text)
  return tonumber(text) or error("'" .. text .. "' is no number")
end, { name = "parse" })
local values = { tasks.compute(parse("1"), parse("two"), parse("3"), { return_exceptions = true }) }
for i, value in ipairs(values) do
  print(i, tasks.is_failure(value) and "failed: " .. value.message or value)
end
