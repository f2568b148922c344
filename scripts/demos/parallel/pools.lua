-- Workers that run at once: maps, loops, reductions, futures, and what happens to errors.
-- perigee run scripts/demos/parallel/pools.lua
local pg = require "perigee"
local parallel, array = pg.parallel, pg.array

local pool = parallel.pool(4)

-- A function goes to the workers with all it needs: `scale` is copied, `heights` is the same memory for all.
local scale = 10
local heights = array.zeros(8)
print(table.concat(pool:map(function(x) return x * scale end, { 1, 2, 3, 4 }), " "))
pool:parallel_for(1, heights.size, function(i) heights[i] = i * i end)
print(heights)

-- The same sum to the last bit, however many workers there are.
local function add(a, b) return a + b end
print(("%.15f"):format(pool:reduce(function(sum, i) return sum + 1 / (i * i) end, parallel.range(1, 1e6), 0,
  { combine = add })))

-- Results as soon as they are there. The first of the list takes longest.
local function slow_square(x)
  pg.timer.sleep((5 - x) / 100)
  return x * x
end
for i, square in pool:imap(slow_square, { 1, 2, 3, 4 }) do
  io.write(("%d -> %d  "):format(i, square))
end
print()

-- One task each, and what became of it.
local futures = {}
for i = 1, 6 do
  futures[i] = pool:submit(function()
    if i == 3 then
      error("three is out of order")
    end
    return i
  end)
end
local sum = 0
for future in parallel.as_completed(futures) do
  local failure = future:exception()
  if failure then
    print("one failed: " .. failure:match("^[^\n]*")) -- the lines below say where in the worker
  else
    sum = sum + future:result()
  end
end
print("the others make " .. sum)

-- Tasks may have tasks of their own: a worker that waits for one runs it.
local function fib(n)
  if n < 10 then
    return n < 2 and n or fib(n - 1) + fib(n - 2)
  end
  local other = pool:submit(fib, n - 1)
  return fib(n - 2) + other:result()
end
print("fib(20) = " .. pool:submit(fib, 20):result())

-- What cannot travel is named.
local thread = coroutine.create(function() end)
print(select(2, pcall(pool.submit, pool, function() return thread end)))
pool:close()
