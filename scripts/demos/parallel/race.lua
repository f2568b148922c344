-- Four workers count in one histogram: what goes wrong, how to find it, and four cures.
-- perigee run scripts/demos/parallel/race.lua
local pg = require "perigee"
local parallel, array, timer = pg.parallel, pg.array, pg.timer

local workers, each, bins = 4, 50000, 8

-- Workers see one array: each adds 1 to a bin, over and over. Reading, adding and writing back are three steps, and where
-- two workers take them at once one addition is lost.
local function count_wrongly(_, histogram)
  for i = 1, each do
    local bin = i % bins + 1
    histogram[bin] = histogram[bin] + 1
  end
end

-- Runs fn(worker, histogram) in every worker, and says what is missing and how long it took.
local function try(what, fn)
  local pool = parallel.pool(workers)
  local histogram = array.zeros(bins)
  local start = timer.now()
  local futures = {}
  for worker = 1, workers do
    futures[worker] = pool:submit(fn, worker, histogram)
  end
  for _, future in ipairs(futures) do
    future:result()
  end
  print(("%-28s %6d of %d lost, %6.1f ms"):format(what, workers * each - histogram:sum(), workers * each,
    1000 * (timer.now() - start)))
  pool:shutdown()
end

try("no care at all", count_wrongly) -- as many as luck will have it, even none

-- The race detector says where, whether or not anything was lost this time: it knows what is ordered, not what was lucky.
local pool = parallel.pool(2, { check = "races" })
local histogram = array.zeros(bins)
local function once(i)
  histogram[i % 2 + 1] = histogram[i % 2 + 1] + 1
end
local fine, message = pcall(pool.map, pool, once, { 1, 2, 3, 4 })
print(fine, message)
print(#pool:races(), "races; the first between", pool:races()[1].first.where, "and", pool:races()[1].second.where)
pool:shutdown()

-- Cure 1: a lock around the three steps. Right, and slow where everybody wants it.
local mutex = parallel.mutex()
try("a mutex", function(_, shared)
  for i = 1, each do
    local bin = i % bins + 1
    mutex:lock()
    shared[bin] = shared[bin] + 1
    mutex:unlock()
  end
end)

-- Cure 2: one step. (mutex:with(fn) is the same as above, and unlocks on errors too.)
try("atomic operations", function(_, shared)
  for i = 1, each do
    parallel.atomic_add(shared, i % bins + 1, 1)
  end
end)

-- Cure 3: a histogram of one's own, and a lock once at the end. Nobody waits for anybody.
try("a copy each, then a mutex", function(_, shared)
  local own = array.zeros(bins)
  for i = 1, each do
    local bin = i % bins + 1
    own[bin] = own[bin] + 1
  end
  mutex:with(function() shared:add_(own) end)
end)

-- Cure 4: a row each, and nothing shared until all are done.
local rows = array.zeros({ workers, bins })
local all = parallel.barrier(workers)
try("a row each, no lock at all", function(worker, shared)
  local row = rows[worker]
  for i = 1, each do
    local bin = i % bins + 1
    row[bin] = row[bin] + 1
  end
  all:wait() -- all rows are there
  if worker == 1 then
    shared:add_(rows:sum(1))
  end
end)
