-- Worker processes: memory of their own, shared arrays where it is wanted, and crashes that cost one task.
local pg = require "perigee"
local parallel, array, timer = pg.parallel, pg.array, pg.timer

-- The interface is that of a pool of threads.
local pool = parallel.processes(4)
print("squares:", table.concat(pool:map(function(x) return x * x end, { 1, 2, 3, 4, 5 }), " "))

-- A worker has memory of its own: it gets a copy of an array, and what it writes is seen by nobody else.
local ordinary = array.zeros(4)
pool:parallel_for(1, 4, function(i) ordinary[i] = i end)
print("an ordinary array afterwards:", ordinary)

-- A shared array is the same memory in all processes, and nothing is copied.
local shared = parallel.shared_array(4)
pool:parallel_for(1, 4, function(i) shared[i] = i end)
print("a shared array afterwards:   ", shared)

-- What that is worth: 8 MB there, once as a copy and once by reference.
local large, large_shared = array.ones(1e6), parallel.shared_array(array.ones(1e6))
local function sum(x) return x:sum() end
for name, x in pairs { copied = large, shared = large_shared } do
  pool:submit(sum, x):result() -- the first time it is mapped
  local start = timer.now()
  for _ = 1, 5 do
    pool:submit(sum, x):result()
  end
  print(("  8 MB, %s: %.2f ms a task"):format(name, (timer.now() - start) / 5 * 1e3))
end

-- The race of all lessons on parallelism, between processes: += is a read, an addition and a write.
local counter, mutex = parallel.shared_array(1), parallel.mutex()
pool:for_each(function() for _ = 1, 20000 do counter[1] = counter[1] + 1 end end, { 1, 2, 3, 4 }, { chunksize = 1 })
print(("without a lock: %d of 80000 increments"):format(counter[1]))
counter[1] = 0
pool:for_each(function()
  for _ = 1, 100 do -- fewer: a lock of another process takes a call
    mutex:with(function() counter[1] = counter[1] + 1 end)
  end
end, { 1, 2, 3, 4 }, { chunksize = 1 })
print(("with a lock: %d of 400"):format(counter[1]))
local atomic = parallel.shared_array(1, "int64")
pool:for_each(function() for _ = 1, 20000 do parallel.atomic_add(atomic, 1, 1) end end, { 1, 2, 3, 4 }, { chunksize = 1 })
print(("by atomic additions: %d of 80000"):format(atomic[1]))

-- One worker dies. Its task says so; the others, and the pool, go on.
local futures = {}
for i = 1, 5 do
  futures[i] = pool:submit(function(x) if x == 3 then os.exit(1) end return x * 10 end, i)
end
for i, future in ipairs(futures) do
  local fine, result = pcall(future.result, future)
  print("task " .. i, fine and result or "error: " .. result)
end
pool:close()
