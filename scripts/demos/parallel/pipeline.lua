-- Producers and consumers: a bounded queue between the stages of a pipeline.
-- perigee run scripts/demos/parallel/pipeline.lua
local pg = require "perigee"
local parallel, array = pg.parallel, pg.array

local pool = parallel.pool(4)
local blocks = parallel.queue(4) -- a producer waits while four blocks wait for a consumer
local results = parallel.queue()
local made = parallel.atomic(0)

-- Stage 1: two producers make blocks of numbers. Arrays go through queues by reference: nothing is copied.
local function produce(producer)
  for block = 1, 10 do
    blocks:put { producer = producer, block = block, values = array.range(1000) * producer }
    made:add(1)
  end
  return "producer " .. producer .. " is done"
end

-- Stage 2: two consumers reduce them, until the queue is closed and empty.
local function consume()
  local count = 0
  for item in blocks:values() do
    results:put { item.producer, item.values:mean() }
    count = count + 1
  end
  return count
end

local consumers = { pool:submit(consume), pool:submit(consume) }
local producers = { pool:submit(produce, 1), pool:submit(produce, 2) }
for _, future in ipairs(producers) do
  print(future:result())
end
blocks:close() -- no more will come: what is there is still taken
print("blocks per consumer:", consumers[1]:result(), consumers[2]:result())
results:close()

local sums = {}
for item in results:values() do
  sums[item[1]] = (sums[item[1]] or 0) + item[2]
end
print("made:", made:get(), "means of the producers:", sums[1] / 10, sums[2] / 10)

-- Meeting points: a barrier where all wait for each other, more than there are cores.
local n = 4 * pg.threads()
local crowd, barrier = parallel.pool(n), parallel.barrier(n)
local places = crowd:map(function() return barrier:wait() end, parallel.range(1, n), { chunksize = 1 })
print(n .. " tasks met; the last to come was number", math.max(unpack(places)))

-- Who waits for ever is told, with who waits for what and where.
local lonely = parallel.barrier(n + 1)
local fine, message = pcall(crowd.map, crowd, function()
  lonely:wait()
end, parallel.range(1, 2), { chunksize = 1 })
print(fine, message:match("worker %d+ waits for a barrier.-%)"))
