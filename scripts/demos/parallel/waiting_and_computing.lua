-- An event loop waits for much at once, but computes one thing at a time: what computes goes to the workers of a pool.
-- perigee run scripts/demos/parallel/waiting_and_computing.lua
local pg = require "perigee"
local async, parallel, timer = pg.async, pg.parallel, pg.timer

local function integral(n) -- of x^1.5 from 0 to 1
  local sum = 0
  for i = 1, n do
    sum = sum + ((i - 0.5) / n) ^ 1.5
  end
  return sum / n
end

-- The longest time that a task which wants to run every 2 ms had to wait.
local function longest_pause(work)
  local longest, last = 0, timer.now()
  local watch = async.create_task(function()
    while true do
      async.sleep(0.002)
      longest, last = math.max(longest, timer.now() - last), timer.now()
    end
  end)
  async.sleep(0.01)
  local result = work()
  async.sleep(0.01)
  watch:cancel()
  return longest, result
end

local pool = parallel.pool(2)
async.run(function()
  local pause, result = longest_pause(function() return integral(1e7) end)
  print(("in the task:  %.6f, others waited up to %3.0f ms"):format(result, pause * 1000))
  pause, result = longest_pause(function() return async.run_in_pool(pool, integral, 1e7) end)
  print(("in a worker:  %.6f, others waited up to %3.0f ms"):format(result, pause * 1000))
  -- Futures of a pool stand wherever tasks can.
  local halves = async.gather { pool:submit(integral, 1e6), pool:submit(integral, 2e6) }
  print(("two at once:  %.6f and %.6f"):format(halves[1], halves[2]))
end)
