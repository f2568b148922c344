-- What a global interpreter lock does: threads that compute gain nothing, threads that wait gain all the same.
-- perigee run scripts/demos/parallel/interpreter_lock.lua
local pg = require "perigee"
local parallel, timer = pg.parallel, pg.timer

local function compute(n)
  local sum = 0
  for i = 1, n do
    sum = sum + i % 7
  end
  return sum
end

local function wait(seconds)
  pg.timer.sleep(seconds)
end

local function seconds(pool, fn, list)
  local start = timer.now()
  pool:map(fn, list, { chunksize = 1 })
  return timer.now() - start
end

-- Workers under one lock, as CPython's threads are: whoever runs holds it, and hands it on every 5 ms. Both pools run
-- without the JIT compiler (compiled code could not hand on a lock), so that only the lock differs.
local function no_jit()
  pg.jit("off")
end
local pools = {
  { "one lock", parallel.pool(2, { gil = true }) },
  { "no lock", parallel.pool(2, { initializer = no_jit }) },
}
print(("two workers, %d cores: what two tasks take, in times of one task"):format(pg.threads()))
for _, entry in ipairs(pools) do
  local name, pool = entry[1], entry[2]
  seconds(pool, compute, { 1000, 1000 }) -- the workers are there
  local alone, both = math.huge, math.huge
  for _ = 1, 3 do
    alone = math.min(alone, seconds(pool, compute, { 2e6 }))
    both = math.min(both, seconds(pool, compute, { 2e6, 2e6 }))
  end
  seconds(pool, wait, { 0, 0 })
  local one_nap, two_naps = seconds(pool, wait, { 0.1 }), seconds(pool, wait, { 0.1, 0.1 })
  print(("  %-10s computing %.2f   sleeping %.2f"):format(name, both / alone, two_naps / one_nap))
  pool:shutdown()
end
print("Under the lock, two tasks that compute take twice as long as one: only one of them runs at a time. Two that sleep")
print("take as long as one: whoever waits lets go of the lock. Without it, both gain, where there are two cores.")
