-- How a loop is cut into pieces, and who takes them: four partitioners, and when each is the right one.
-- perigee run scripts/demos/parallel/partitioners.lua
local pg = require "perigee"
local parallel, array, timer = pg.parallel, pg.array, pg.timer

local workers, n = 3, 48
local pool = parallel.pool(workers)

-- The later an index, the more there is to do: a loop over a triangle.
local function work(i)
  timer.sleep(i * 2e-5)
end

-- Who has done what: a letter for each index, that of the worker.
local function picture(options)
  local who = array.zeros(n, { dtype = "int32" })
  local start = timer.now()
  pool:parallel_for(1, n, function(i)
    work(i)
    who[i] = parallel.worker()
  end, options)
  local letters = {}
  for i = 1, n do
    letters[i] = string.char(96 + who[i])
  end
  return table.concat(letters), timer.now() - start
end

pool:map(work, { 1, 1, 1 }, { chunksize = 1 }) -- the workers are there, and know the function
for _, row in ipairs {
  { "auto", nil, "some pieces for each worker, taken as they are free" },
  { "static", nil, "one piece for each: the least to hand out, and whoever has the last third is late" },
  { "simple", 2, "pieces of exactly `grain`: evens out best, and costs the most" },
  { "affinity", nil, "a share for each, in pieces; who is done early helps the others" },
} do
  local letters, seconds = picture { partitioner = row[1], grain = row[2] }
  print(("%-8s %s %5.1f ms  %s"):format(row[1], letters, seconds * 1e3, row[3]))
end

-- Affinity pays off where loops come again: the same workers begin with the same indices each time, whose data their caches
-- still hold. (Each also finds its share of the memory near, on machines where that lies at several processors.)
print("\nthe same loop three times, pieces of one index, equal work:")
local a = array.zeros(n)
for _, partitioner in ipairs { "simple", "affinity" } do
  local first, stayed = nil, 0
  for _ = 1, 3 do
    local who = array.zeros(n, { dtype = "int32" })
    pool:parallel_for(1, n, function(i)
      timer.sleep(2e-4)
      a[i] = a[i] + 1
      who[i] = parallel.worker()
    end, { partitioner = partitioner })
    if first then
      for i = 1, n do
        stayed = stayed + (who[i] == first[i] and 1 or 0)
      end
    end
    first = first or who
  end
  print(("%-8s %3.0f %% of the indices came back to the worker that had them first"):format(partitioner,
    100 * stayed / (2 * n)))
end
assert(a:min() == 6 and a:max() == 6)
pool:close()
