-- What a worker may hold: a task that wants more gets an error, and the worker goes on with the next one.
-- perigee run scripts/demos/parallel/memory_limit.lua
local pg = require "perigee"
local parallel, array = pg.parallel, pg.array

local MiB = 2 ^ 20
local pool = parallel.pool(2, { memory_limit = 32 * MiB })

-- The sum of n squares: all of them in memory at once, or a block at a time.
local function at_once(n)
  local x = array.range(n)
  return (x * x):sum()
end
local function by_blocks(n)
  local total, block = 0, 2 ^ 16
  for first = 1, n, block do
    local x = array.range(first, math.min(n, first + block - 1))
    total = total + (x * x):sum()
  end
  return total
end

local function try(what, fn, n)
  local future = pool:submit(fn, n)
  local failure = future:exception()
  local answer = failure and failure:match("^[^\n]*") or ("%.6g"):format(future:result())
  print(("%-9s of %2d MiB of numbers: %s"):format(what, n * 8 / MiB, answer))
end

try("at once", at_once, 2 ^ 20)
try("at once", at_once, 2 ^ 23)
try("by blocks", by_blocks, 2 ^ 23)

-- The limit is a worker's own: what the script holds, and what it shares with workers, counts for the script.
local shared = array.zeros(2 ^ 23)
pool:parallel_for(1, shared.size, function(i) shared[i] = i end, { grain = 2 ^ 16 })
print(("%d MiB of the script's own, filled by both workers: the last is %d"):format(shared.size * 8 / MiB, shared[-1]))
pool:close()

-- Tables count as well: a worker's Lua heap is a part of it.
local small = parallel.pool(1, { memory_limit = 8 * MiB })
print((tostring(small:submit(function()
  local list = {}
  for i = 1, 1e7 do
    list[i] = i
  end
  return #list
end):exception()):match("^[^\n]*")))
small:close()
